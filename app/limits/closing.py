"""Windows that are over move to the log, each once; what they mean to people becomes signals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app import catalog, clock, signals
from app.catalog import RateLimit
from app.errors import Invalid
from app.infra.db import UnitOfWork, unit_of_work
from app.limits import crossings, snapshots, states, store
from app.limits.states import Window
from app.limits.windows import window_at

GRACE = timedelta(seconds=2)
"""From the end of a window to its closing."""

BATCH = 500
SECONDS = 3.0
"""How long one pass closes; what is left then is closed by the next one, and in between others have their turn."""

_TURN = "closing"

_looked_at = ("", "")
"""Up to which rolling window, by subject and limit, this process has looked in the present round."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that is over. `full_in_a_row` counts the windows in a row, this one the last, that were full."""

    subject: str
    limit: str
    start: datetime
    end: datetime
    capacity: int
    used: int
    peak: int
    refused: int
    deferred: int
    full: bool
    full_in_a_row: int
    told_level: int

    @property
    def window(self) -> Window:
        return Window(self.limit, self.start, self.end, self.used, self.peak, self.refused, self.deferred)

    @property
    def id(self) -> UUID:
        """Of its row in the log."""
        return store.log_id(self.subject, self.limit, self.start)

    def row(self) -> dict[str, Any]:
        """Its columns in the log."""
        return {
            "id": self.id,
            "subject": self.subject,
            "limit_name": self.limit,
            "start_at": self.start,
            "end_at": self.end,
            "capacity": self.capacity,
            "used": self.used,
            "peak": self.peak,
            "refused": self.refused,
            "deferred": self.deferred,
            "full": self.full,
            "full_in_a_row": self.full_in_a_row,
        }


def close_due(*, now: datetime | None = None, seconds: float = SECONDS) -> list[Closed]:
    """Close the windows that are over, by the time of the server that counts; those that this call closed.

    First everything that it counted is written down, and every crossing told; while that is not done nothing is closed,
    and the next pass does it. Late, twice or beside one another it comes to the same. Raises Transient.
    """
    at = now or snapshots.server_time()
    if not (snapshots.take(wait=True) and crossings.tell(wait=True)):
        return []
    ends = clock.monotonic() + seconds
    closed: list[Closed] = []
    with store.turn(_TURN, wait=True):
        while clock.monotonic() < ends:
            with unit_of_work() as uow:
                due = store.over(uow, at - GRACE, BATCH)
                closed += _close(uow, due) if due else []
            if len(due) < BATCH:
                break
        _end_rolling(at, ends)
    return closed


def _close(uow: UnitOfWork, due: Sequence[store.Key]) -> list[Closed]:
    rows = sorted(store.lock_windows(uow, due), key=lambda row: (row.end_at, row.subject, row.limit_name))
    if not rows:
        return []
    limits, costs = snapshots.limits_now(), _largest_costs()
    before = [_before(row, limits.get(row.limit_name)) for row in rows]
    chain = {found: (row.end_at, row.full_in_a_row) for found, row in store.closed(uow, before).items()}
    judged: list[Closed] = []
    for row, previous in zip(rows, before, strict=True):
        ended, count = chain.get(previous, (None, 0))
        one = _judged(row, costs.get(row.limit_name, 1), count if ended == row.start_at else 0)
        chain[one.id] = (one.end, one.full_in_a_row)
        judged.append(one)
    new = store.log(uow, [one.row() for one in judged])
    store.drop_windows(uow, [(one.subject, one.limit, one.start) for one in judged])
    found = [one for one in judged if one.id in new]
    for one in sorted(found, key=lambda one: (one.subject, one.end)):
        _tell(uow, one, limits.get(one.limit))
    return found


def _judged(row: Row[Any], largest_cost: int | None, full_before: int) -> Closed:
    window = Window(row.limit_name, row.start_at, row.end_at, row.used, row.peak, row.refused, row.deferred)
    full = states.is_full(window, row.capacity, largest_cost)
    return Closed(
        subject=row.subject,
        limit=row.limit_name,
        start=row.start_at,
        end=row.end_at,
        capacity=row.capacity,
        used=row.used,
        peak=row.peak,
        refused=row.refused,
        deferred=row.deferred,
        full=full,
        full_in_a_row=full_before + 1 if full else 0,
        told_level=row.told_level,
    )


def _before(row: Row[Any], limit: RateLimit | None) -> UUID:
    """The id of the window before it. That day may have been longer: the catalogue knows, if it still has the limit."""
    start = row.start_at - (row.end_at - row.start_at)
    if limit is not None and limit.window == "calendar":
        start = window_at(limit, row.start_at - timedelta(milliseconds=1)).start
    return store.log_id(row.subject, row.limit_name, start)


def _largest_costs() -> Mapping[str, int | None]:
    """Of each limit, the most that one operation consumes of it; None where that is estimated."""
    costs: dict[str, int | None] = {}
    try:
        operations = catalog.current().limiting.operations
    except Invalid:
        return costs
    for operation in operations.values():
        for name, cost in operation.consumes.items():
            known = costs.get(name, 1)
            costs[name] = None if known is None or cost == "estimate" else max(known, cost)
    return costs


def _tell(uow: UnitOfWork, one: Closed, limit: RateLimit | None) -> None:
    labels = crossings.labels_of(one.limit, limit)
    facts = {
        "used": one.used,
        "peak": one.peak,
        "capacity": one.capacity,
        "percent": crossings.percent(one.peak, one.capacity),
        "refused": one.refused,
        "deferred": one.deferred,
        "from": clock.iso(one.start),
        "to": clock.iso(one.end),
    }
    after = limit.escalate_after if limit is not None else None
    if states.recovers(one.window, limit, one.told_level):
        signals.record(uow, "limits.reset", one.subject, labels=labels, facts=facts)
    if after is not None and one.full_in_a_row and one.full_in_a_row % after == 0:
        signals.record(
            uow, "limits.exhausted", one.subject, labels=labels, facts=facts | {"in_a_row": one.full_in_a_row}
        )


def _end_rolling(at: datetime, ends: float) -> None:
    """A rolling window has no end: what was told of it is over when it fell well below its first crossing.

    The next pass goes on where this one ended.
    """
    global _looked_at
    while clock.monotonic() < ends:
        with unit_of_work() as uow:
            rows = store.rolling_told(uow, _looked_at, BATCH)
            eased = dict(_eased(rows, at))
            for row in store.untell(uow, list(eased)):
                _tell_eased(uow, row, eased[(row.subject, row.limit_name, row.start_at)])
        _looked_at = (rows[-1].subject, rows[-1].limit_name) if len(rows) == BATCH else ("", "")
        if len(rows) < BATCH:
            return


def _eased(rows: Sequence[Row[Any]], at: datetime) -> Iterator[tuple[store.Key, int]]:
    """Windows that fell, and what is used of them now."""
    limits = snapshots.limits_now()
    for row in rows:
        state = {"l": {}} if row.state is None else states.parse(row.state)
        used = sum(one.used for one in states.windows(state, at) if one.end is None and one.limit == row.limit_name)
        limit = limits.get(row.limit_name)
        if limit is None or states.has_eased(used, limit):
            yield (row.subject, row.limit_name, row.start_at), used


def _tell_eased(uow: UnitOfWork, row: Row[Any], used: int) -> None:
    limit = snapshots.limits_now().get(row.limit_name)
    if states.recovers(Window(row.limit_name, row.start_at, None, used, used, 0, 0), limit, row.told_level):
        facts = {"used": used, "capacity": row.capacity, "percent": crossings.percent(used, row.capacity)}
        labels = crossings.labels_of(row.limit_name, limit)
        signals.record(uow, "limits.reset", row.subject, labels=labels, facts=facts)
