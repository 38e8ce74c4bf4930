"""Tables partitioned by day over a UUIDv7 `id`: made ahead, filled by time, dropped by age.

Each such table has a DEFAULT partition, so that a row never fails for want of a partition; what landed there is moved
when its day's partition is made. Making and dropping lock a table against everybody: each partition is a transaction
of its own that waits two seconds at most, for whoever comes after it waits too.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from app.infra import ids
from app.infra.apart import Steps
from app.infra.db import UnitOfWork, unit_of_work

DAYS_AHEAD = 7
BATCH = 5000
"""Rows deleted by one transaction."""


def name_of(table: str, day: date) -> str:
    """`jobs` on 2026-11-21 is `jobs_p20261121`."""
    return f"{table}_p{day:%Y%m%d}"


def ensure(table: str, today: date, days_ahead: int = DAYS_AHEAD) -> list[str]:
    """Make the missing partitions from yesterday to `days_ahead`; the names of those made. Two at once take turns.

    Raises Transient that names the days that could not be made, after trying all.
    """
    made = []
    steps = Steps()
    # The days to come first: nobody writes to them yet, and without them the trouble only grows.
    for offset in (*range(1, days_ahead + 1), 0, -1):
        day = today + timedelta(days=offset)
        with steps.step(name_of(table, day)):
            if _create(table, day):
                made.append(name_of(table, day))
    steps.conclude()
    return made


def drop_old(table: str, today: date, keep_days: int, *, counts: str) -> list[str]:
    """Drop the partitions whose whole day is older than `keep_days`, and such rows of the DEFAULT one; their names.

    A row's age is that of its column `counts`, which may be later than its id: what is not old enough yet moves from
    its day to the DEFAULT partition. Raises Transient that names what could not be dropped, after trying all.
    """
    oldest = today - timedelta(days=keep_days)
    bound = _midnight(oldest)
    with unit_of_work() as uow:
        old = [name for name, day in _existing(uow, table).items() if day < oldest]
    dropped = []
    steps = Steps()
    for name in old:
        with steps.step(name):
            if _drop(table, name, counts, bound):
                dropped.append(name)
    with steps.step(f"{table}_default"):
        delete_in_batches(f"{table}_default", counts, bound)
    steps.conclude()
    return dropped


def delete_in_batches(table: str, column: str, before: datetime) -> int:
    """Delete the rows whose `column` is earlier than `before`, a transaction for each few thousand; how many."""
    deleted = 0
    while True:
        with unit_of_work() as uow:
            batch: int = uow.execute(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
                f"SELECT ctid FROM {table} WHERE {column} < :before LIMIT :batch FOR UPDATE SKIP LOCKED))",
                before=before,
                batch=BATCH,
            ).rowcount
        deleted += batch
        if batch < BATCH:
            return deleted


def _create(table: str, day: date) -> bool:
    """Make one day's partition and move the day's rows there; False when it exists."""
    low, high = ids.floor(_midnight(day)), ids.floor(_midnight(day + timedelta(days=1)))
    name = name_of(table, day)
    with unit_of_work() as uow:
        _take_turns(uow, table)
        if name in _existing(uow, table):
            return False
        uow.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        # Before the rows are moved: one more of this day, committed in between, would make ATTACH fail.
        uow.execute(f"LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE")
        uow.execute(
            f"WITH moved AS (DELETE FROM {table}_default WHERE id >= :low AND id < :high RETURNING *)"
            f" INSERT INTO {name} SELECT * FROM moved",
            low=low,
            high=high,
        )
        uow.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')")
    return True


def _drop(table: str, name: str, counts: str, bound: datetime) -> bool:
    """Drop one partition, but move the rows that are not older than `bound`; False when another has dropped it.

    DETACH … CONCURRENTLY is not to be had: PostgreSQL refuses it where there is a DEFAULT partition.
    """
    with unit_of_work() as uow:
        _take_turns(uow, table)
        if name not in _existing(uow, table):
            return False
        # The long part, reading the whole day, keeps out only writers to this one old day. The parent is locked after.
        uow.execute(f"LOCK TABLE ONLY {name} IN SHARE ROW EXCLUSIVE MODE")
        uow.execute(
            f"CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM {name} WHERE {counts} >= :bound", bound=bound
        )
        uow.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
        uow.execute(f"INSERT INTO {table} SELECT * FROM kept")
        uow.execute(f"DROP TABLE {name}")
    return True


def _take_turns(uow: UnitOfWork, table: str) -> None:
    """Wait for our turn at this table's partitions; every lock after that is waited for shortly."""
    uow.execute("SELECT pg_advisory_xact_lock(hashtext('partitions:' || :table))", table=table)
    uow.execute("SET LOCAL lock_timeout = '2s'")


def _existing(uow: UnitOfWork, table: str) -> dict[str, date]:
    rows = uow.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass(:parent) AND c.relname LIKE :pattern ORDER BY 1",
        parent=table,
        pattern=f"{table}\\_p________",
    )
    return {name: datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date() for (name,) in rows}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
