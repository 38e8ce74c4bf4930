"""Postgres through SQLAlchemy: the declarative base, one engine a process, and the unit of work.

Nothing connects at import. A forked worker child calls `after_fork` and gets an engine of its own; the parent's
connections are left open for the parent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, DateTime, Engine, MetaData, TextClause, create_engine, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry

from app import clock
from app.config import Settings, settings
from app.errors import Transient
from app.infra.logging import get_logger


class Base(DeclarativeBase):
    """Every table's base; names of constraints are fixed so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(timezone=True)}


@lru_cache(maxsize=1024)
def _prepared(statement: str) -> TextClause:
    """Parsed once: a ledger says the same few sentences all day."""
    return text(statement)


class UnitOfWork:
    """One transaction. `session` runs SQL in it; what is given to `after_commit` runs once it is durable."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._after_commit: list[Callable[[], None]] = []

    def execute(self, statement: str, /, **parameters: Any) -> Any:
        """Run one textual SQL statement with named parameters."""
        return self.session.execute(_prepared(statement), parameters)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call `action` after COMMIT, never after a rollback. What it raises is logged: the work is already durable."""
        self._after_commit.append(action)


_REST_SECONDS = 1.0

log = get_logger(__name__)

_engine: Engine | None = None
_pool_size: int | None = None
_application_name = "smm-admin"
_replaced: WeakSet[Engine] = WeakSet()
"""Engines that are no longer used: what comes back to their pools is closed."""


def make_engine(config: Settings, *, pool_size: int, application_name: str = "smm-admin") -> Engine:
    """An engine whose every wait is bounded: connect, pool, statement, lock, dead peer."""
    statement_ms = int(config.db_statement_timeout_seconds * 1000)
    lock_ms = int(config.db_lock_timeout_seconds * 1000)
    made = create_engine(
        config.database(),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=config.db_connect_timeout_seconds,
        pool_recycle=1800,
        hide_parameters=True,  # an error's text is stored and shown; its parameters may be secrets
        connect_args={
            "connect_timeout": config.db_connect_timeout_seconds,
            "application_name": application_name,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "options": f"-c statement_timeout={statement_ms} -c lock_timeout={lock_ms}"
            f" -c idle_in_transaction_session_timeout={statement_ms} -c timezone=UTC"
            " -c jit=off",  # compiling our short queries takes longer than they do
        },
    )
    event.listen(made, "checkin", functools.partial(_remember_use, made))
    event.listen(made, "checkout", functools.partial(_ping_when_idle, made))
    return made


def _remember_use(made: Engine, _connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = clock.monotonic()
    if made in _replaced:
        record.invalidate()


def _ping_when_idle(made: Engine, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """A connection that rested may be dead, and is tried first; one used a moment ago is not worth a round trip."""
    if clock.monotonic() - record.info.get("used_at", clock.monotonic()) < _REST_SECONDS:
        return
    try:
        made.dialect.do_ping(connection)
    except made.dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error


def use_pool_size(size: int) -> None:
    """Say how many connections this process keeps; before the first query."""
    global _pool_size
    _pool_size = size


def present_as(name: str) -> None:
    """Say how this process's sessions are named in pg_stat_activity; before the first query."""
    global _application_name
    _application_name = name


def engine() -> Engine:
    """The process's engine, made at first use."""
    global _engine
    if _engine is None:
        _engine = _make()
    return _engine


def _make() -> Engine:
    config = settings()
    return make_engine(config, pool_size=_pool_size or config.db_pool_size, application_name=_application_name)


def resize_pool(size: int) -> None:
    """Keep `size` connections from now on, while others work: what is in use is finished on its old connection."""
    global _engine
    use_pool_size(size)
    if _engine is not None:
        old, _engine = _engine, _make()
        _replaced.add(old)
        old.dispose()


def after_fork(*, pool_size: int) -> None:
    """In a forked child: forget the parent's connections without closing them, and keep `pool_size` of our own."""
    global _engine
    if _engine is not None:
        _engine.dispose(close=False)
    _engine = None
    use_pool_size(pool_size)


def dispose() -> None:
    """Close every pooled connection of this process."""
    global _engine
    if _engine is not None:
        _engine.dispose()
    _engine = None


@contextmanager
def unit_of_work(connection: Connection | None = None) -> Iterator[UnitOfWork]:
    """One transaction, on a connection of the pool or on this one: committed at the end, rolled back when it raises.

    Trouble of the connection (refused, lost, timed out, deadlocked) is raised as Transient.
    """
    with transient_errors():
        session = Session(connection or engine(), expire_on_commit=False)
        with session:
            uow = UnitOfWork(session)
            yield uow
            session.commit()
    for action in uow._after_commit:
        try:
            action()
        except Exception:
            log.exception("what was to follow a commit failed; the commit stands")


def execute_once(statement: str, /, **parameters: Any) -> list[Any]:
    """One statement that is a transaction by itself: a single round trip; its rows. Troubles as in `unit_of_work`."""
    with transient_errors(), engine().connect() as connection:
        result = connection.execution_options(isolation_level="AUTOCOMMIT").execute(_prepared(statement), parameters)
        return list(result) if result.returns_rows else []


@contextmanager
def read_only() -> Iterator[Session]:
    """A session for queries; nothing is committed."""
    with transient_errors(), Session(engine(), expire_on_commit=False) as session:
        yield session


class TooSlow(Transient):
    """A query was ended because it took longer than its reader waits."""


@contextmanager
def read_within(seconds: float) -> Iterator[Session]:
    """A session for queries of which none takes longer than `seconds`. Raises TooSlow when one would."""
    with read_only() as session:
        session.execute(_prepared(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}"))
        try:
            yield session
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) == _QUERY_CANCELED:
                raise TooSlow(f"the query took longer than {seconds:g} s") from error
            raise


_QUERY_CANCELED = "57014"

# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection trouble, insufficient resources (a full
# disk is 53100), operator intervention, and the two ways in which a transaction is told to try again.
_TRANSIENT_CLASSES = ("08", "53", "57", "58")
_TRANSIENT_CODES = ("40001", "40P01", "55P03", "25P03", "25006")
# A row on its way to a DEFAULT partition while its own is attached: the next try finds the new one. The server has one
# code for this and for a CHECK constraint, so only its words tell them apart (lc_messages of another language: it is
# not recognised, and the job's own retry has to do).
_CHECK_VIOLATION = "23514"
_MOVED_AWAY = "partition constraint"


@contextmanager
def transient_errors() -> Iterator[None]:
    """Raise the database's passing troubles as Transient; everything else as it is."""
    try:
        yield
    except PoolTimeout as error:
        raise Transient("every database connection of this process is in use") from error
    except DBAPIError as error:
        if is_transient(error):
            raise Transient(f"database: {describe(error)}") from error
        raise


def is_transient(error: DBAPIError) -> bool:
    """Is this the connection's or the server's passing trouble, rather than the statement's fault?"""
    code = getattr(error.orig, "pgcode", None)
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    if code == _CHECK_VIOLATION:
        return _MOVED_AWAY in describe(error)
    return code.startswith(_TRANSIENT_CLASSES) or code in _TRANSIENT_CODES


def describe(error: DBAPIError) -> str:
    """The server's own first line: never the statement, never its parameters."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
