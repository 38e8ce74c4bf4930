"""The timetable's durable state: what is paused, what ran when, what is due.

Interval entries are plain messages from beat. Dated entries are rows with a due time that a tick claims and turns into
a job in the same transaction: a beat that was down at the hour is late, not skipped, and two beats are safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.errors import Conflict, NotFound, Transient
from app.infra import queue as wire
from app.infra.db import UnitOfWork, execute_once
from app.infra.ids import uuid7
from app.jobs import service


@dataclass(frozen=True, slots=True)
class Every:
    """An interval entry: beat publishes `task` each `seconds`; a message that waited too long is dropped."""

    seconds: float
    task: str

    def __str__(self) -> str:
        return f"every {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Dated:
    """A durable entry: each `seconds` from the last due time, or each day at `at` ("09:00") in `timezone`."""

    task: str
    seconds: float | None = None
    at: str | None = None
    timezone: str = "UTC"

    def __str__(self) -> str:
        return f"every {self.seconds:g} s, kept" if self.seconds is not None else f"daily at {self.at} {self.timezone}"


def next_due(entry: Dated, after: datetime) -> datetime:
    """The first due time later than `after`. A daily time that a clock change skips falls due right after the gap."""
    if entry.seconds is not None:
        return after + timedelta(seconds=entry.seconds)
    hour, minute = (int(part) for part in str(entry.at).split(":"))
    zone = ZoneInfo(entry.timezone)
    local = after.astimezone(zone)
    for day in range(3):
        date = local.date() + timedelta(days=day)
        due = datetime(date.year, date.month, date.day, hour, minute, tzinfo=zone).astimezone(after.tzinfo)
        if due > after:
            return due
    raise AssertionError("a day has at most 25 hours")


_timetable: Mapping[str, Every | Dated] = {}


def _everything_ticks(_task: str) -> str:
    return "tick"


_queue_of: Callable[[str], str] = _everything_ticks


def configure(timetable: Mapping[str, Every | Dated], queue_of: Callable[[str], str] | None = None) -> None:
    """Say what the timetable is, and which queue a tick goes to (composition: BEAT, ROUTES)."""
    global _timetable, _queue_of
    _timetable = dict(timetable)
    if queue_of is not None:
        _queue_of = queue_of


def entry(name: str) -> Every | Dated:
    """The entry of that name. Raises NotFound."""
    try:
        return _timetable[name]
    except KeyError:
        known = ", ".join(sorted(_timetable))
        raise NotFound(f"the timetable has no entry {name}; it has {known}") from None


def name_of(task: str) -> str | None:
    """The entry whose tick that task is."""
    return next((name for name, item in _timetable.items() if item.task == task), None)


def sync(uow: UnitOfWork, now: datetime) -> None:
    """Give every entry its row; a dated one that is new is due first at its next time (an interval: now)."""
    known = {row.name: row for row in uow.execute("SELECT name, timing, next_due_at FROM schedule")}
    for name, item in sorted(_timetable.items()):
        row = known.get(name)
        never_due = row is not None and row.next_due_at is None and isinstance(item, Dated)
        if row is not None and row.timing == str(item) and not never_due:
            continue  # an upsert that changes nothing would still lock the row against another beat's tick
        due = None
        if isinstance(item, Dated):
            due = now if item.seconds is not None else next_due(item, now)
        uow.execute(
            "INSERT INTO schedule (name, next_due_at, timing) VALUES (:name, :due, :timing) ON CONFLICT (name)"
            " DO UPDATE SET timing = excluded.timing, next_due_at = excluded.next_due_at"
            " WHERE schedule.timing IS DISTINCT FROM excluded.timing OR schedule.next_due_at IS NULL",
            name=name,
            due=due,
            timing=str(item),
        )


def submit_due(uow: UnitOfWork, now: datetime) -> list[str]:
    """Claim the dated entries that are due and submit each one's job once, however many times were missed."""
    sync(uow, now)
    rows = uow.execute(
        "SELECT name, next_due_at FROM schedule WHERE next_due_at <= :now AND paused_at IS NULL"
        " ORDER BY name FOR UPDATE SKIP LOCKED",
        now=now,
    ).all()
    submitted = []
    for row in rows:
        item = _timetable.get(row.name)
        if not isinstance(item, Dated):
            uow.execute("DELETE FROM schedule WHERE name = :name", name=row.name)
            continue
        service.submit(uow, item.task, key=f"{KEY}{row.name}", caller=CALLER)
        due = next_due(item, row.next_due_at)
        uow.execute(
            "UPDATE schedule SET last_due_at = next_due_at, next_due_at = :due WHERE name = :name",
            name=row.name,
            due=due if due > now else next_due(item, now),
        )
        submitted.append(row.name)
    return submitted


def is_paused(name: str) -> bool:
    """Has an operator paused this entry?"""
    return bool(execute_once("SELECT 1 FROM schedule WHERE name = :name AND paused_at IS NOT NULL", name=name))


def ran(name: str, *, outcome: str, duration_ms: int, error: str | None = None) -> None:
    """Record an entry's run. Its timing is for `sync` to write, which gives a dated entry its due time with it."""
    execute_once(
        "INSERT INTO schedule (name, last_run_at, last_outcome, last_duration_ms, last_error)"
        " VALUES (:name, now(), :outcome, :ms, :error) ON CONFLICT (name) DO UPDATE SET last_run_at = now(),"
        " last_outcome = excluded.last_outcome, last_duration_ms = excluded.last_duration_ms,"
        " last_error = coalesce(excluded.last_error, schedule.last_error)",
        name=name,
        outcome=outcome,
        ms=duration_ms,
        error=error,
    )


KEY = "schedule:"
"""A dated entry's job has this and the entry's name as its key."""


CALLER = "schedule"
"""Who submits the timetable's jobs; run out of turn, followed by a colon and who asked for it."""


def job_ran(key: str | None, caller: str | None, *, outcome: str, duration_ms: int) -> None:
    """Record the run of a dated entry, told by its job's key and caller: anybody may use a key that looks like ours."""
    name = (key or "").removeprefix(KEY)
    ours = (caller or "").partition(":")[0] == CALLER
    if ours and key is not None and key.startswith(KEY) and name in _timetable:
        ran(name, outcome=outcome, duration_ms=duration_ms)


def pause(uow: UnitOfWork, name: str, *, who: str, reason: str = "") -> None:
    """Stop an entry from running until it is resumed; durable. Raises NotFound."""
    entry(name)
    sync(uow, clock.now())
    uow.execute(
        "UPDATE schedule SET paused_at = coalesce(paused_at, now()), paused_by = :who, pause_reason = :reason"
        " WHERE name = :name",
        name=name,
        who=who,
        reason=reason,
    )


def resume(uow: UnitOfWork, name: str) -> None:
    """Let an entry run again; a dated one that fell due meanwhile runs at once. Raises NotFound."""
    entry(name)
    uow.execute(
        "UPDATE schedule SET paused_at = NULL, paused_by = NULL, pause_reason = NULL WHERE name = :name", name=name
    )


def run_now(uow: UnitOfWork, name: str, *, who: str) -> None:
    """Run an entry out of turn; its ordinary times stay. Raises NotFound, and Conflict when paused.

    An interval entry is sent as beat would send it; raises Transient then when the broker does not take it.
    """
    item = entry(name)
    if is_paused(name):
        raise Conflict(f"{name} is paused: resume it to run it")
    if isinstance(item, Dated):
        service.submit(uow, item.task, key=f"{KEY}{name}", caller=f"{CALLER}:{who}")
        return
    stale_after = timedelta(seconds=max(item.seconds, 60))
    if not wire.send(item.task, queue=_queue_of(item.task), expires=stale_after, task_id=str(uuid7())):
        raise Transient(f"{name} was not sent: the broker does not answer")


def overview(session: Session) -> list[dict[str, Any]]:
    """Every entry of the timetable with its state, by name; times are aware datetimes or None."""
    columns = (
        "next_due_at, last_due_at, last_run_at, last_outcome, last_duration_ms, last_error, paused_at, paused_by,"
        " pause_reason"
    )
    rows = {row.name: row for row in session.execute(text(f"SELECT name, {columns} FROM schedule"))}
    listed = []
    for name, item in sorted(_timetable.items()):
        state = rows[name]._asdict() if name in rows else {column.strip(): None for column in columns.split(",")}
        listed.append({**state, "name": name, "task": item.task, "timing": str(item)})
    return listed
