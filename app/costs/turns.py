"""Who may write calls down, and when nobody may: locks of Postgres that are let go with the connection that holds them.

They are held across transactions, for what was committed is taken out of the stream after its commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.infra import db
from app.infra.db import UnitOfWork, unit_of_work

_DRAIN = "hashtext('costs: drain')"
_WRITE = "hashtext('costs: write')"


@contextmanager
def draining() -> Iterator[Connection | None]:
    """The connection of the only one of all processes that drains; None where another does. Raises Transient."""
    with db.transient_errors(), db.engine().connect() as connection:
        is_ours = bool(_said(connection, f"SELECT pg_try_advisory_lock({_DRAIN})"))
        try:
            yield connection if is_ours else None
        finally:
            if is_ours:
                _let_go(connection, f"SELECT pg_advisory_unlock({_DRAIN})")


@contextmanager
def connected() -> Iterator[Connection]:
    """A connection for one who writes beside the drain. Raises Transient."""
    with db.transient_errors(), db.engine().connect() as connection:
        yield connection


@contextmanager
def writing(connection: Connection) -> Iterator[None]:
    """Write calls down, and take them out of the stream: beside others who do. Raises Transient."""
    with db.transient_errors():
        _said(connection, f"SELECT pg_advisory_lock_shared({_WRITE})")
        try:
            yield
        finally:
            _let_go(connection, f"SELECT pg_advisory_unlock_shared({_WRITE})")


def beside(uow: UnitOfWork) -> None:
    """Change calls and their roll-ups in this transaction: beside others who do, and while nobody is alone."""
    uow.execute(f"SELECT pg_advisory_xact_lock_shared({_WRITE})")


@contextmanager
def alone() -> Iterator[UnitOfWork]:
    """One transaction during which nobody writes or prices calls, or takes any out of the stream.

    Waits for those who are at it, as long as the lock time-out allows. Raises Transient.
    """
    with unit_of_work() as uow:
        uow.execute(f"SELECT pg_advisory_xact_lock({_WRITE})")
        yield uow


def _said(connection: Connection, statement: str) -> object:
    """A statement that is a transaction by itself."""
    found: object = connection.execute(text(statement)).scalar()
    connection.commit()
    return found


def _let_go(connection: Connection, statement: str) -> None:
    """A connection that cannot do it is closed, which lets go as well."""
    try:
        connection.rollback()
        _said(connection, statement)
    except DBAPIError:
        connection.invalidate()
