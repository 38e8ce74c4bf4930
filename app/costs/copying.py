"""Calls into Postgres: by COPY where all of them are new, else by way of a temporary table that every connection keeps.

Rows come as text for COPY (app/costs/packing.py) and go in by the order of their ids: two orders are a deadlock.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.errors import UniqueViolation
from psycopg2.extras import execute_values
from sqlalchemy.exc import DBAPIError

from app.costs import rollups
from app.costs.packing import COLUMNS, values_of
from app.infra.db import UnitOfWork

STAGED = "cost_staging"
_COLUMNS = ", ".join(COLUMNS)
_ID = 36
"""Characters of the id, with which every row begins."""

# Sorting twenty thousand rows, and adding them up, in memory: some 16 MB.
_READY = f"""
    SET LOCAL work_mem = '32MB';
    CREATE TEMPORARY TABLE IF NOT EXISTS {STAGED} (LIKE cost_tracking) ON COMMIT DELETE ROWS"""

_INSERTED = f"""
    INSERT INTO cost_tracking ({_COLUMNS}) SELECT {_COLUMNS} FROM {STAGED} ORDER BY id
    ON CONFLICT DO NOTHING RETURNING {rollups.NEEDED}"""
_ADD_STAGED = rollups.added_from(f"SELECT {rollups.NEEDED} FROM {STAGED}")
_ADD_INSERTED = rollups.added_from(_INSERTED)

_READ_BYTES = 1 << 18

# Texts that come as VALUES have to be told what they are.
_TYPES = {"id": "uuid", "at": "timestamptz", "price_id": "uuid", "latency_ms": "int", "tags": "jsonb"}
_TYPES |= dict.fromkeys((column for column in COLUMNS if column.endswith(("_tokens", "_usd"))), "bigint")
_TYPED = "(" + ", ".join(f"%s::{_TYPES.get(column, 'text')}" for column in COLUMNS) + ")"


def lines_of(payloads: Iterable[bytes]) -> list[bytes]:
    """Rows by their ids, each id once: the first one, which is what budgets counted."""
    found = {line[:_ID]: line for payload in reversed([*payloads]) for line in reversed(payload.split(b"\n")) if line}
    return [found[identifier] for identifier in sorted(found)]


def stage(uow: UnitOfWork, lines: Sequence[bytes]) -> None:
    """Put rows into the temporary table, where this transaction may still change them."""
    with _cursor(uow) as cursor:
        cursor.execute(_READY)
        _copy(cursor, STAGED, lines)


def insert(uow: UnitOfWork, lines: Sequence[bytes], *, expect_new: bool) -> int:
    """Insert the staged rows that are not there yet and add them to their roll-ups; how many they were.

    `expect_new`: `lines`, which are the staged rows unchanged, are tried by COPY first, as all of them may be new.
    """
    with _cursor(uow) as cursor:
        if expect_new and _tried(cursor, lambda: _copy(cursor, "cost_tracking", lines)):
            cursor.execute(_ADD_STAGED)
        else:
            cursor.execute(_ADD_INSERTED)
        found: int = cursor.fetchone()[0]
    return found


def _tried(cursor: Any, work: Callable[[], None]) -> bool:
    """Do it; False, and nothing done, where a row is there already."""
    cursor.execute("SAVEPOINT all_new")
    try:
        work()
    except UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT all_new")
        return False
    cursor.execute("RELEASE SAVEPOINT all_new")
    return True


def _copy(cursor: Any, table: str, lines: Sequence[bytes]) -> None:
    if extensions.get_wait_callback() is not None:  # COPY is not possible where waits are bounded: app/infra/dbwait.py
        rows = [values_of(line) for line in lines]
        execute_values(cursor, f"INSERT INTO {table} ({_COLUMNS}) VALUES %s", rows, _TYPED, page_size=len(rows))
        return
    text = io.BytesIO(b"\n".join([*lines, b""]))
    cursor.copy_expert(f"COPY {table} ({_COLUMNS}) FROM STDIN", text, size=_READ_BYTES)


@contextmanager
def _cursor(uow: UnitOfWork) -> Iterator[Any]:
    """The driver's own cursor in this transaction, for COPY; its errors are raised as SQLAlchemy's."""
    connection = uow.session.connection()
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except psycopg2.Error as error:
        is_lost = bool(cursor.connection.closed)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, psycopg2.Error, hide_parameters=True, connection_invalidated=is_lost
        ) from error
    finally:
        cursor.close()
