"""The SQL of counters that are written down: states, open windows, closed ones. Nothing here commits but `turn`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row

from app.infra.db import UnitOfWork, unit_of_work
from app.infra.ids import uuid7_named
from app.infra.text import json_safe

Key = tuple[str, str, datetime]
"""Of a window: subject, limit, start."""

# Whoever read later, or read a later revision, has the last word: a loss takes revisions back, and a clock may be set
# back, but not both between two snapshots.
_IS_NEWER = "({table}.version < excluded.version OR {table}.taken_at < excluded.taken_at)"

_STATES = f"""
    INSERT INTO limit_states (subject, state, version, taken_at, expires_at)
    SELECT r.subject, r.state, r.version, r.taken_at, r.expires_at
      FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS r(subject text, state text, version bigint, taken_at timestamptz, expires_at timestamptz)
     ORDER BY r.subject
    ON CONFLICT (subject) DO UPDATE SET state = excluded.state, version = excluded.version,
        taken_at = excluded.taken_at, expires_at = excluded.expires_at
     WHERE {_IS_NEWER.format(table="limit_states")}"""

_FIGURES = "end_at, capacity, used, refused, deferred, share, version, taken_at"
_WINDOW = (
    "subject text, limit_name text, start_at timestamptz, end_at timestamptz, capacity bigint, used bigint,"
    " peak bigint, refused bigint, deferred bigint, share float8, version bigint, taken_at timestamptz"
)

# Every statement takes the locks of windows in the order of their keys: two orders are a deadlock.
_WINDOWS = f"""
    INSERT INTO limit_windows (subject, limit_name, start_at, peak, {_FIGURES})
    SELECT subject, limit_name, start_at, peak, {_FIGURES} FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_WINDOW})
     ORDER BY subject, limit_name, start_at
    ON CONFLICT (subject, limit_name, start_at) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _FIGURES.split(", "))},
        peak = greatest(limit_windows.peak, excluded.peak)
     WHERE {_IS_NEWER.format(table="limit_windows")}"""

_KEYS = (
    "unnest(CAST(:subjects AS text[]), CAST(:limits AS text[]), CAST(:starts AS timestamptz[]))"
    " AS k(subject, limit_name, start_at)"
)
_SAME = "w.subject = k.subject AND w.limit_name = k.limit_name AND w.start_at = k.start_at"
_LOCK = f"""
    SELECT w.* FROM limit_windows w JOIN {_KEYS} USING (subject, limit_name, start_at)
     ORDER BY w.subject, w.limit_name, w.start_at FOR UPDATE OF w"""

_TOLD = f"""
    INSERT INTO limit_windows (subject, limit_name, start_at, peak, told_at, told_level, {_FIGURES})
    SELECT subject, limit_name, start_at, peak, told_at, told_level, {_FIGURES}
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_WINDOW}, told_at timestamptz, told_level smallint)
     ORDER BY subject, limit_name, start_at
    ON CONFLICT (subject, limit_name, start_at) DO UPDATE SET
        told_at = excluded.told_at, told_level = excluded.told_level"""

_LOG_COLUMNS = (
    "id uuid, subject text, limit_name text, start_at timestamptz, end_at timestamptz, capacity bigint, used bigint,"
    ' peak bigint, refused bigint, deferred bigint, "full" boolean, full_in_a_row int'
)
_LOG_NAMES = ", ".join(column.rpartition(" ")[0] for column in _LOG_COLUMNS.split(", "))
_LOG = f"""
    INSERT INTO rate_limit_log ({_LOG_NAMES})
    SELECT {_LOG_NAMES} FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_LOG_COLUMNS}) ORDER BY id
    ON CONFLICT (id) DO NOTHING RETURNING id"""


_TURN_SECONDS = 120
"""How long somebody's turn lasts at most; then it is the next one's."""


class StateRow(NamedTuple):
    """A subject's state as it was read from Redis. Its texts are such that Postgres can keep them."""

    subject: str
    state: str
    version: int
    taken_at: datetime
    expires_at: datetime


class WindowRow(NamedTuple):
    """An open window as it was read from Redis, likewise."""

    subject: str
    limit_name: str
    start_at: datetime
    end_at: datetime | None
    capacity: int
    used: int
    peak: int
    refused: int
    deferred: int
    version: int
    taken_at: datetime

    @property
    def key(self) -> Key:
        return (self.subject, self.limit_name, self.start_at)

    def row(self) -> dict[str, Any]:
        """Its columns."""
        return {**self._asdict(), "share": self.used / self.capacity if self.capacity else 1.0}


@contextmanager
def turn(name: str, *, wait: bool = False) -> Iterator[bool]:
    """Be the only one, of all processes, who does what `name` says; False where somebody else is at it.

    `wait`: wait until they are done, as long as the lock time-out allows. Raises Transient. Transactions inside the
    block are others than the one that holds the lock, and may commit.
    """
    with unit_of_work() as uow:
        uow.execute(f"SET LOCAL idle_in_transaction_session_timeout = {_TURN_SECONDS * 1000}")
        if wait:
            uow.execute("SELECT pg_advisory_xact_lock(hashtext('limits: ' || :name))", name=name)
            yield True
        else:
            yield bool(
                uow.execute("SELECT pg_try_advisory_xact_lock(hashtext('limits: ' || :name))", name=name).scalar()
            )


def write_states(uow: UnitOfWork, rows: Sequence[StateRow]) -> None:
    """Keep what is newer than what is kept."""
    uow.execute(_STATES, rows=json.dumps([row._asdict() for row in rows], default=str))


def write_windows(uow: UnitOfWork, rows: Sequence[WindowRow]) -> None:
    """The same of open windows; a peak never falls."""
    uow.execute(_WINDOWS, rows=json.dumps([row.row() for row in rows], default=str))


def log_id(subject: str, limit: str, start: datetime) -> UUID:
    """The id that a window has once it is closed."""
    return uuid7_named(start, f"{subject}|{limit}")


def closed(uow: UnitOfWork, ids: Sequence[UUID]) -> Mapping[UUID, Row[Any]]:
    """Those of these windows that are closed: their ends, and how many in a row were full."""
    if not ids:
        return {}
    rows = uow.execute("SELECT id, end_at, full_in_a_row FROM rate_limit_log WHERE id = ANY(:ids)", ids=list(ids))
    return {row.id: row for row in rows}


def states(uow: UnitOfWork, subjects: Sequence[str], now: datetime) -> Sequence[Row[Any]]:
    """What is kept of these subjects and has not expired."""
    query = "SELECT subject, state, taken_at, expires_at FROM limit_states WHERE subject = ANY(:subjects)"
    found: Sequence[Row[Any]] = uow.execute(f"{query} AND expires_at > :now", subjects=list(subjects), now=now).all()
    return found


def states_after(uow: UnitOfWork, after: str, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """The next states that have not expired, in the order of their subjects."""
    query = "SELECT subject, state, taken_at, expires_at FROM limit_states WHERE subject > :after AND expires_at > :now"
    found: Sequence[Row[Any]] = uow.execute(f"{query} ORDER BY subject LIMIT :n", after=after, now=now, n=limit).all()
    return found


def any_state(uow: UnitOfWork) -> bool:
    """Was anything ever written down?"""
    return bool(uow.execute("SELECT EXISTS (SELECT 1 FROM limit_states)").scalar())


def lock_windows(uow: UnitOfWork, wanted: Sequence[Key]) -> Sequence[Row[Any]]:
    """These open windows, locked in the order of their keys; those that are not there are left out."""
    found: Sequence[Row[Any]] = uow.execute(_LOCK, **_columns(wanted)).all()
    return found


def write_told(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note which crossing of a window was told last; a window that no snapshot has seen yet begins with the rest."""
    uow.execute(_TOLD, rows=_json(rows))


def over(uow: UnitOfWork, before: datetime, limit: int) -> Sequence[Key]:
    """Windows that ended before this moment, the oldest first. They are not locked."""
    query = "SELECT subject, limit_name, start_at FROM limit_windows WHERE end_at <= :before ORDER BY end_at LIMIT :n"
    return [(row.subject, row.limit_name, row.start_at) for row in uow.execute(query, before=before, n=limit)]


def rolling_told(uow: UnitOfWork, after: tuple[str, str], limit: int) -> Sequence[Row[Any]]:
    """Rolling windows of which a crossing was told, with the states they are in; by subject and limit."""
    query = (
        "SELECT w.subject, w.limit_name, w.start_at, s.state FROM limit_windows w LEFT JOIN limit_states s"
        " ON s.subject = w.subject WHERE w.told_level > 0 AND w.end_at IS NULL"
        " AND (w.subject, w.limit_name) > (:subject, :name) ORDER BY w.subject, w.limit_name LIMIT :n"
    )
    subject, name = after
    found: Sequence[Row[Any]] = uow.execute(query, subject=subject, name=name, n=limit).all()
    return found


def untell(uow: UnitOfWork, wanted: Sequence[Key]) -> Sequence[Row[Any]]:
    """Forget that crossings of these windows were told; the rows as they were, where that was so."""
    if not wanted:
        return []
    rows = [row for row in lock_windows(uow, wanted) if row.told_level > 0]
    uow.execute(
        f"UPDATE limit_windows w SET told_level = 0 FROM {_KEYS} WHERE {_SAME}",
        **_columns([(row.subject, row.limit_name, row.start_at) for row in rows]),
    )
    return rows


def log(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> frozenset[UUID]:
    """Write closed windows; the ids of those that were not closed before."""
    return frozenset(uow.execute(_LOG, rows=_json(rows)).scalars())


def drop_windows(uow: UnitOfWork, gone: Sequence[Key]) -> None:
    """Delete open windows, which the caller has locked."""
    uow.execute(f"DELETE FROM limit_windows w USING {_KEYS} WHERE {_SAME}", **_columns(gone))


def _columns(wanted: Sequence[Key]) -> dict[str, list[Any]]:
    """As `_KEYS` takes them."""
    names = ("subjects", "limits", "starts")
    return {name: [key[place] for key in wanted] for place, name in enumerate(names)}


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(json_safe([dict(row) for row in rows]), default=str)
