"""One queue is served once: what may go is decided and let go in order, and the rest is looked at again later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.admission import deferral_store, expiring, marking, operations, queues, release_jobs
from app.admission.release_core import LONGEST, SHORTLY, Stay, bounded, ceiling, lanes_after, stay_of, together
from app.admission.release_jobs import Candidate
from app.catalog import COUNTER
from app.errors import Invalid, NotFound
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.limits import deciding
from app.limits.core import Ask, Counting, Verdict
from app.limits.plans import Plan
from app.limits.spending import Who

CHUNK = 200
"""Operations of one queue that go on in one turn: then it is the next queue's."""
FIRST = 20
"""Of them, asked for first: most looks find that there is no room yet."""

MOST_STAYS = 500
"""Kinds of operations that are looked at in one turn though they have to stay."""

DROPPED = "admission.dropped"
LONGEST_REASON = 500
NEXT = timedelta(microseconds=1)

log = get_logger(__name__)


@dataclass(slots=True)
class Rooms:
    """How many more jobs each of the workers' queues takes."""

    left: dict[str, int] = field(default_factory=dict)

    def take(self, queue: str) -> bool:
        """One place in a queue, if there is any."""
        if self.left.get(queue, 0) <= 0:
            return False
        self.left[queue] -= 1
        return True

    def give_back(self, queue: str) -> None:
        """It was not used."""
        self.left[queue] += 1


@dataclass(frozen=True, slots=True)
class Served:
    """What a turn did: operations by outcome (`released`, `dropped`, `expired`), and how many jobs that made."""

    counts: Counter[str]
    jobs: int


def serve(uow: UnitOfWork, account: str, held: Any, rooms: Rooms, *, longest: timedelta = LONGEST) -> Served:
    """Serve the queue of an account (`PLATFORM/NAME`), whose row is held. Raises Transient while Redis is away.

    `longest`: after how long it is looked at again in any case.
    """
    now, is_busy = deferral_store.clock_and_job(uow, held.in_flight)
    turn = _Turn(uow, account, rooms, longest, now, held.in_flight if is_busy else None, held.last_release_at)
    turn.look()
    turn.finish()
    return Served(turn.counts, turn.jobs)


@dataclass(slots=True)
class _Turn:
    """`there`: the operations that waited when it began, each with its most urgent rank. `stays`: those of which one
    had to stay, and so all behind it; by kind where budgets decide. `full`: for what nobody else may be asked.

    `in_flight` is the job beside which none of its kind may go, `alone` the one that may be that, `is_open` while
    others of its kind depend on that; `last` is when the last one was let go.
    """

    uow: UnitOfWork
    account: str
    rooms: Rooms
    longest: timedelta
    now: datetime
    in_flight: UUID | None
    last: datetime | None
    alone: Candidate | None = None
    is_open: bool = False
    there: dict[str, int] = field(default_factory=dict)
    stays: dict[str, Stay] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    left: list[Any] = field(default_factory=list)
    released: int = 0
    jobs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    plans: dict[tuple[Plan, int], Plan] = field(default_factory=dict)
    name: str = field(default_factory=lambda: str(ids.uuid7()))

    def look(self) -> None:
        """Let go what may go, a chunk at the most; past what has to stay, what needs none of the same may go."""
        self.there = deferral_store.waiting_operations(self.uow, self.account)
        while (names := sorted(self.there.keys() - self.stays.keys())) and self._goes_on:
            size, stayed = CHUNK - self.released, len(self.stays)
            rows = deferral_store.heads(self.uow, self.account, names, limit=size, stay=self.stays)
            self.is_open = False
            self._serve(rows)
            if not self.is_open and (len(rows) < size or len(self.stays) == stayed):
                return

    @property
    def _goes_on(self) -> bool:
        return self.released < CHUNK and len(self.stays) < MOST_STAYS

    def _serve(self, rows: Sequence[Any]) -> None:
        expired = [row for row in rows if row.is_expired]
        self._drop_expired(expired)
        ready: list[Candidate] = []
        bad: list[tuple[Any, str]] = []
        for row in rows:
            if not row.is_expired:
                try:
                    ready.append(release_jobs.candidate(row, self.now))
                except (Invalid, NotFound) as error:
                    bad.append((row, str(error)))
        allowed = [one for part in (ready[:FIRST], ready[FIRST:]) for one in self._allowed(part, bad)]
        self._release(allowed, bad)
        self._drop(bad)

    def _allowed(self, part: Sequence[Candidate], bad: list[tuple[Any, str]]) -> list[Candidate]:
        """Those that may go, decided in one round trip."""
        asked = [one for one in part if self._may_be_asked(one)]
        decisions = deciding.decide_many([self._ask(one) for one in asked]) if asked else []
        allowed = []
        for one, decision in zip(asked, decisions, strict=True):
            before = decision.before
            if decision.verdict is Verdict.WAIT:
                self.stays.setdefault(one.kind, stay_of(decision))
                self._free_place(one)
            elif before is not None and before.operation != one.row.operation:
                bad.append((one.row, f"its id was given to {before.operation}, which went on"))
                self._free_place(one)
            else:
                one.is_again = decision.verdict is Verdict.AGAIN
                allowed.append(one)
        return allowed

    def _may_be_asked(self, one: Candidate) -> bool:
        """Is there a place for its job, and nothing before it that keeps it?"""
        name = one.row.operation
        if name in self.stays or one.kind in self.stays:
            return False
        if one.is_alone and self.in_flight is not None:
            self.stays[name] = Stay(frozenset({name}), SHORTLY, "the one before it, which is not done yet")
            return False
        if one.is_alone and self.alone is not None:
            self.is_open = True
            return False
        if one.lanes & self.full or not (one.queue is None or self.rooms.take(one.queue)):
            self.full |= one.lanes
            self.stays[name] = Stay(one.lanes, SHORTLY, "room in the queue of the workers")
            return False
        if one.is_alone:
            self.alone = one
        return True

    def _free_place(self, one: Candidate) -> None:
        """What was kept for it is for others."""
        if one.queue is not None:
            self.rooms.give_back(one.queue)
        if self.alone is one:
            self.alone = None

    def _ask(self, one: Candidate) -> Ask:
        row = one.row
        ask = operations.ask(
            one.known,
            account=self.account.partition("/")[2],
            who=Who(**{**(row.who or {}), "tenant": row.tenant or ""}),
            request_id=row.request_id,
            counting=Counting.RELEASE,
            estimate=row.estimate,
        )
        estimate = row.estimate if operations.spends(one.known) else 0
        return replace(ask, plan=self._plan(ask.plan, estimate), pass_=self.name)

    def _plan(self, plan: Plan, estimate: int) -> Plan:
        """The plan with the ceilings of what has waited; a budget leaves no reserve."""
        kept = plan, estimate
        if kept not in self.plans:
            costs = [estimate if use.cost is None else use.cost for use in plan.uses]
            ceilings = [
                use.ceiling
                if use.limit.name.startswith(COUNTER)
                else ceiling(use.limit, plan.rank, cost=cost, now=self.now)
                for use, cost in zip(plan.uses, costs, strict=True)
            ]
            self.plans[kept] = plan.with_ceilings(ceilings)
        return self.plans[kept]

    def _release(self, allowed: Sequence[Candidate], bad: list[tuple[Any, str]]) -> None:
        """They go on, each a moment after the one before: in this order their jobs are rung."""
        for one in allowed:
            self.last = self.now if self.last is None else max(self.now, self.last + NEXT)
            one.go_at = self.last
        jobs, problems = release_jobs.submit(self.uow, self.account, allowed)
        bad += [(one.row, problems[one.row.id]) for one in allowed if one.row.id in problems]
        gone = [one for one in allowed if one.row.id not in problems]
        self._end(
            "released",
            [one.row for one in gone],
            [{"at": one.go_at.isoformat(), "job_id": jobs.get(one.row.id)} for one in gone],
        )
        self.released += len(gone)
        self.jobs += len(jobs)
        if self.alone is not None:
            self.in_flight, self.alone = jobs.get(self.alone.row.id), None

    def _drop(self, bad: Sequence[tuple[Any, str]]) -> None:
        """What can never be done any more, each with its reason; the others go on."""
        if bad:
            rows = [row for row, _ in bad]
            reasons = [reason[:LONGEST_REASON] for _, reason in bad]
            self._end("dropped", rows, [{"reason": reason} for reason in reasons])
            expiring.tell(self.uow, DROPPED, self.account, rows, reasons=sorted(set(reasons))[:10])

    def _drop_expired(self, rows: Sequence[Any]) -> None:
        if rows:
            self._end("expired", rows, [{} for _ in rows])
            expiring.tell(self.uow, expiring.EXPIRED, self.account, rows)

    def _end(self, state: str, rows: Sequence[Any], more: Sequence[dict[str, Any]]) -> None:
        ended = [{"id": row.id, "state": state, **each} for row, each in zip(rows, more, strict=True)]
        if ended:
            deferral_store.end(self.uow, ended, by="release")
            self.left += rows
            self.counts[state] += len(rows)

    def finish(self) -> None:
        """Say what newcomers wait behind, and when to look again; or that nobody waits here any more."""
        waiting = deferral_store.waiting_operations(self.uow, self.account) if self.left else self.there
        everything = {name: queues.lanes_of_all(one) for name, one in operations.every().items()}
        kept = together(self.stays)
        is_told = marking.tell({self.account: lanes_after(waiting, kept, everything)}, whole=True)
        if not waiting and self.in_flight is None and is_told:
            deferral_store.delete(self.uow, self.account)
            return
        stays = [stay for name, stay in kept.items() if name in waiting]
        unseen = self.released >= CHUNK or bool(waiting.keys() - kept.keys())
        deferral_store.put_back(
            self.uow,
            self.account,
            expiring.ranks_of(self.left),
            wait=self._wait(stays, unseen=unseen) if is_told else SHORTLY,
            released_at=self.last if self.released else None,
            in_flight=self.in_flight,
            blocked_by=stays[0].reason if stays else "",
        )

    def _wait(self, stays: Sequence[Stay], *, unseen: bool) -> timedelta:
        """Until the next look: at once where there is more to be looked at."""
        if unseen:
            return timedelta()
        if not stays:  # only a job is at work
            return SHORTLY
        known = [stay.look_again_in for stay in stays if stay.look_again_in is not None]
        return bounded(min(known, default=None), self.longest)
