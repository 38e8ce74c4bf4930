"""The schema against the code."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.errors import Misconfigured
from app.infra import migrate
from app.infra.db import unit_of_work
from tests.fixtures.servers import Servers


def _set_version(revision: str) -> None:
    with unit_of_work() as uow:
        uow.session.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


def test_a_migrated_database_is_what_the_code_expects(database: str) -> None:
    assert migrate.current() == migrate.head()
    assert migrate.is_current()
    migrate.require_current()


def test_upgrading_twice_changes_nothing(database: str) -> None:
    assert migrate.upgrade() == (migrate.head(), migrate.head())


def test_an_empty_database_has_no_version(servers: Servers, home: object) -> None:
    assert migrate.current(servers.database_url.replace("postgresql://", "postgresql+psycopg2://")) is None


def test_a_newer_schema_is_refused_by_name_and_tolerated_by_a_running_worker(database: str) -> None:
    _set_version("9999")
    with pytest.raises(Misconfigured, match=f"schema is at 9999, this code knows up to {migrate.head()}"):
        migrate.upgrade()
    migrate.require_current()


def test_an_older_schema_is_refused_with_the_command_that_helps(database: str) -> None:
    with unit_of_work() as uow:
        uow.execute("DELETE FROM alembic_version")
    with pytest.raises(Misconfigured, match=rf"expected {migrate.head()}: run smm-admin migrate"):
        migrate.require_current()
