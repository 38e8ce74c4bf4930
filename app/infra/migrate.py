"""The schema's version: what the code expects, what the database has, and the way from one to the other.

Migrations are files of `alembic/versions`; their revisions are read from their text, so that a worker can check the
schema at its start without loading Alembic.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from sqlalchemy import Connection, NullPool, create_engine, text

from app.config import resource, settings
from app.errors import Misconfigured, Transient
from app.infra.db import transient_errors

log = logging.getLogger(__name__)

LOCK = 0x534D4D_41444D
"""Key of the advisory lock under which migrations run ("SMMADM")."""

_LOCK_WAIT_SECONDS = 600
_REVISION = re.compile(r"^(revision|down_revision)(?::[^=\n]*)?\s*=\s*(?:[\"']([^\"']+)[\"']|None)\s*$", re.MULTILINE)


@lru_cache(maxsize=1)
def revisions() -> dict[str, str | None]:
    """Every revision this code knows, with the one before it."""
    known: dict[str, str | None] = {}
    for path in sorted((resource("alembic") / "versions").glob("*.py")):
        found = {name: value or None for name, value in _REVISION.findall(path.read_text())}
        if revision := found.get("revision"):
            known[revision] = found.get("down_revision")
    return known


def head() -> str | None:
    """The revision this code expects; None when there are no migrations."""
    known = revisions()
    heads = [revision for revision in known if revision not in known.values()]
    if len(heads) > 1:
        raise Misconfigured(f"migrations have more than one head: {', '.join(heads)}")
    return heads[0] if heads else None


def current(url: str | None = None) -> str | None:
    """The revision of the database; None when it is empty. Raises Transient when it cannot be reached."""
    with _connection(url) as connection:
        return _current(connection)


def is_current(url: str | None = None) -> bool:
    """Is the database exactly what this code expects?"""
    return current(url) == head()


def require_current() -> None:
    """Raise Misconfigured when the schema is older than this code.

    A newer one is only logged: migrations first expand, so that old workers run on while new ones start.
    """
    at, expected = current(), head()
    if at == expected:
        return
    if at is not None and at not in revisions():
        log.warning("schema is at %s, this code knows up to %s", at, expected)
        return
    raise Misconfigured(f"schema is at {at or 'nothing'}, expected {expected}: run smm-admin migrate")


def upgrade(url: str | None = None) -> tuple[str | None, str | None]:
    """Bring the schema to this code's head, one migration at a time; returns (before, after).

    Raises Misconfigured when the schema is newer than this code. Two at once wait for each other.
    """
    with _connection(url) as connection, _locked(connection):
        before, expected = _current(connection), head()
        if before is not None and before not in revisions():
            raise Misconfigured(f"schema is at {before}, this code knows up to {expected}: install the newer smm-admin")
        if before != expected:
            _run(connection)
        return before, _current(connection)


def _run(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - workers only compare versions
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(resource("alembic")).replace("%", "%%"))
    command.upgrade(config, "head")


@contextmanager
def _connection(url: str | None) -> Iterator[Connection]:
    """A connection without a statement time-out: a migration takes as long as its tables are large."""
    engine = create_engine(
        url or settings().database(),
        poolclass=NullPool,
        connect_args={
            "connect_timeout": settings().db_connect_timeout_seconds,
            "application_name": "smm-admin migrate",
            "options": "-c statement_timeout=0 -c lock_timeout=60000 -c timezone=UTC",
        },
    )
    with transient_errors(), engine.connect() as connection:
        yield connection


@contextmanager
def _locked(connection: Connection) -> Iterator[None]:
    """Hold the advisory lock, which its holder's death releases."""
    connection.execute(text(f"SET lock_timeout = '{_LOCK_WAIT_SECONDS}s'"))
    with _named("another migration has been running for 10 minutes"):
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    connection.execute(text("SET lock_timeout = '60s'"))
    connection.commit()
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
            connection.commit()


@contextmanager
def _named(message: str) -> Iterator[None]:
    try:
        with transient_errors():
            yield
    except Transient as error:
        if "lock timeout" in str(error):
            raise Transient(message) from error
        raise


def _current(connection: Connection) -> str | None:
    present = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar()
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if present else None
    connection.rollback()
    return None if found is None else str(found)
