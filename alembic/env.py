"""Alembic's entry: with the connection that app.infra.migrate holds, or, from the command line, with one of our own."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine

import app
from app.config import settings
from app.infra.db import Base

_PARTITION = re.compile(r"_(p\d{8}|default)$")


def _import_models() -> None:
    """Make every domain's tables known, for comparison with the database (`make revision`)."""
    for path in sorted(Path(app.__file__).parent.glob("*/models.py")):
        importlib.import_module(f"app.{path.parent.name}.models")


def _is_declared(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions are made by a task, not by migrations."""
    return kind != "table" or name is None or not _PARTITION.search(name)


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transaction_per_migration=True,
        compare_type=True,
        include_name=_is_declared,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        _run(given)
        return
    _import_models()
    engine = create_engine(settings().database(), poolclass=NullPool)
    with engine.connect() as connection:
        _run(connection)


main()
