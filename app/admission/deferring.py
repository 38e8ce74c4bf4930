"""Operations that wait are rows: they join their account's queue, are shown, and may be cancelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.admission import deferral_store, deferred_reading, marking
from app.admission.deferred_reading import FEW, DeferredView, find, find_many, get, list_deferred
from app.admission.release_core import LONGEST, SHORTLY, lanes_of, look_again_in, reason_of
from app.catalog import CLASSES
from app.clock import iso
from app.config import settings
from app.errors import Conflict, Invalid, Problem
from app.infra.db import UnitOfWork
from app.infra.ids import uuid7
from app.infra.text import storable
from app.limits.core import Decision
from app.limits.spending import Who

__all__ = [
    "Deferred",
    "DeferredView",
    "Wanted",
    "cancel",
    "defer",
    "defer_many",
    "find",
    "find_many",
    "get",
    "list_deferred",
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operation that shall wait. `account` is `PLATFORM/NAME`; `task`: a job as others ask for it."""

    account: str
    tenant: str | None
    operation: str
    rank: int
    request_id: str
    estimate: int
    task: dict[str, Any] | None
    caller: str
    expires_at: datetime
    who: Who = field(default_factory=Who)


@dataclass(frozen=True, slots=True)
class Deferred:
    """It waits, or waited before (`replayed`). `until`: when it may go at the earliest, where that is known; `position`
    only while it waits."""

    id: UUID
    position: int | None
    until: datetime | None
    state: str
    replayed: bool
    job_id: UUID | None = None


def defer(uow: UnitOfWork, wanted: Wanted, decision: Decision | None) -> Deferred:
    """Let an operation wait, in this transaction. Raises Invalid when its account's queue is full, or naming `id`."""
    [one] = defer_many(uow, [wanted], [decision])
    if isinstance(one, Invalid):
        raise one
    return one


def defer_many(
    uow: UnitOfWork, wanted: Sequence[Wanted], decisions: Sequence[Decision | None]
) -> list[Deferred | Invalid]:
    """Let operations wait, in this order, in this transaction: a statement for each step, however many there are.

    What cannot wait, because the queue is full or its id waits for another operation, is told at its place. Whoever
    needs the same waits behind them from now on, also where this transaction is not committed: until the next look at
    the queue, a second later.
    """
    if not wanted:
        return []
    accounts = {one.account for one in wanted}
    deferral_store.make_queues(uow, sorted(accounts))
    joining = _Joining(deferral_store.lock_queues(uow, sorted(accounts)))
    known = deferral_store.known(uow, [(one.account, one.request_id) for one in wanted])
    positions = deferred_reading.positions(uow.session, [row.id for row in known.values()], most=FEW)
    answers: list[Deferred | Invalid] = []
    for one, decision in zip(wanted, decisions, strict=True):
        before = known.get((one.account, one.request_id))
        if before is not None:
            answers.append(_replayed(one, before, positions.get(before.id)))
        else:
            answers.append(joining.join(one, decision))
    joining.write(uow)
    return answers


@dataclass(slots=True)
class _Joining:
    """Those that join their queues, which are held. `waiting` counts who is there, by account and rank."""

    waiting: Mapping[str, list[int]]
    joined: dict[tuple[str, str], tuple[dict[str, Any], Deferred]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    waits: dict[str, timedelta] = field(default_factory=dict)
    lanes: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[marking.Note] = field(default_factory=list)

    def join(self, one: Wanted, decision: Decision | None) -> Deferred | Invalid:
        """The next one of its queue."""
        if twin := self.joined.get((one.account, one.request_id)):
            row, answer = twin
            return (
                replace(answer, replayed=True) if row["operation"] == one.operation else _of_another(row["operation"])
            )
        there, most = self.waiting[one.account], settings().deferred_most
        if sum(there) >= most:
            return Invalid([Problem("account", f"{most} of its operations wait already")], subject="admission")
        there[one.rank] += 1
        self._count(one, decision)
        row = {each.name: getattr(one, each.name) for each in fields(one)}
        row |= {
            "place": len(self.joined),
            "id": uuid7(),
            "reason": reason_of(decision),
            "expires_at": iso(one.expires_at),
            "who": {name: value for name, value in one.who._asdict().items() if value} or None,
        }
        until = None if decision is None else decision.room_at
        answer = Deferred(row["id"], sum(there[: one.rank + 1]), until, "waiting", replayed=False)
        self.joined[one.account, one.request_id] = row, answer
        return answer

    def _count(self, one: Wanted, decision: Decision | None) -> None:
        self.counts.setdefault(one.account, [0] * len(CLASSES))[one.rank] += 1
        wait = SHORTLY if decision is None else look_again_in(decision)
        wait = max(timedelta(), min(LONGEST, LONGEST / 2 if wait is None else wait))
        self.waits[one.account] = min(self.waits.get(one.account, wait), wait)
        lanes = self.lanes.setdefault(one.account, {})
        for lane in lanes_of(decision, one.operation):
            lanes[lane] = min(lanes.get(lane, one.rank), one.rank)
        self.notes.append(marking.Note(one.account, one.request_id, one.operation, one.expires_at))

    def write(self, uow: UnitOfWork) -> None:
        """Rows first; then, while the queues are held, what newcomers are told."""
        if self.joined:
            deferral_store.insert(uow, [row for row, _ in self.joined.values()])
            deferral_store.joined(uow, self.counts, self.waits)
            marking.join(self.lanes, self.notes)


def _replayed(one: Wanted, before: Any, position: int | None) -> Deferred | Invalid:
    """What became of it since it was asked for the first time."""
    if before.operation != one.operation:
        return _of_another(before.operation)
    return Deferred(before.id, position, None, before.state, replayed=True, job_id=before.job_id)


def _of_another(operation: str) -> Invalid:
    return Invalid([Problem("id", f"was given to {operation} before, which waits or waited")], subject="admission")


def cancel(uow: UnitOfWork, deferred_id: UUID, by: str) -> None:
    """It shall not wait any more. Raises NotFound, and Conflict when it does not wait."""
    found = get(uow.session, deferred_id)
    deferral_store.lock(uow, found.account)
    row = deferral_store.cancel(uow, deferred_id, by=storable(by, limit=200))
    if row is None:
        raise Conflict(f"it does not wait: it was {get(uow.session, deferred_id).state}")
    counts = [int(rank == row.rank) for rank in range(len(CLASSES))]
    deferral_store.left(uow, found.account, counts)
