"""The relay: takes back what lost its lease, drops what expired, rings what is due, rings again what nobody claimed.

Each step is one short transaction over rows that no one else holds (SKIP LOCKED), so any number of relays may run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app import clock
from app.config import settings
from app.errors import Transient
from app.infra import metrics
from app.infra import queue as wire
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.logging import get_logger
from app.jobs import ending, relay_store, store
from app.jobs.core import AfterFailure, FailureReason, JobState

log = get_logger(__name__)

BATCH = 500


@dataclass(frozen=True, slots=True)
class Relayed:
    """What one pass did, in jobs."""

    taken_back: int = 0
    expired: int = 0
    rung: int = 0
    rung_again: int = 0


class Patience:
    """After an outage of the database every lease has lapsed, and their holders renew within a second or two.

    So passes that were missed are a reason to wait for them before their jobs are given to others.
    """

    MISSED_SECONDS = 5.0

    def __init__(self, *, wait_seconds: float = 5.0) -> None:
        self._wait_seconds = wait_seconds
        self._last_pass: float | None = None
        self._until = 0.0

    def is_over(self) -> bool:
        """May jobs be taken back in this pass?"""
        return clock.monotonic() >= self._until

    def note_pass(self) -> None:
        """A pass reaches the database now."""
        now = clock.monotonic()
        if self._last_pass is None or now - self._last_pass > self.MISSED_SECONDS:
            self._until = now + self._wait_seconds
        self._last_pass = now


patience = Patience()


def relay() -> Relayed:
    """One pass. Raises Transient when Postgres is away; when Redis is, nothing is rung and the rest is done."""
    seen = relay_store.survey(first_wait_seconds=settings().ring_again_seconds)
    patience.note_pass()
    taken_back = _take_back() if seen.lapsed and patience.is_over() else 0
    expired = _expire() if seen.expired else 0
    if not (seen.due or seen.quiet or taken_back):
        return Relayed(taken_back=taken_back, expired=expired)
    try:
        depths = wire.depths()
    except Transient as error:
        log.warning("nothing rung: the broker does not answer", error=str(error))
        return Relayed(taken_back=taken_back, expired=expired)
    rung = ring_due()
    again = _ring_again({name: depth.depth for name, depth in depths.items()}) if seen.quiet else 0
    done = Relayed(taken_back, expired, rung, again)
    if taken_back or expired or again:
        log.info("relayed", taken_back=taken_back, expired=expired, rung=rung, rung_again=again)
    return done


def _take_back() -> int:
    with unit_of_work() as uow:
        rows = relay_store.lock_lapsed(uow, limit=BATCH)
        done = [row for row in rows if _alone(uow, row, lambda row: _fail_lost(uow, row))]
    for row in done:
        metrics.TAKEN_BACK.inc(queue=row.queue)
    return len(done)


def _fail_lost(uow: UnitOfWork, row: Any) -> None:
    ending.fail(uow, row, _after_lost_worker(row), _lost(row))


def _alone(uow: UnitOfWork, row: Any, step: Callable[[Any], None]) -> bool:
    """Do one row's step so that its failure is its own: logged, undone, and no other row's."""
    try:
        with uow.session.begin_nested():
            step(row)
    except Transient:
        raise
    except Exception:
        log.exception("the relay could not move a job on; it goes on with the others", job=str(row.id))
        return False
    return True


def _after_lost_worker(row: Any) -> AfterFailure:
    if row.cancel_requested:
        return AfterFailure(JobState.CANCELLED, FailureReason.CANCELLED)
    if row.attempt >= row.max_attempts:
        return AfterFailure(JobState.DEAD, FailureReason.EXHAUSTED)
    return AfterFailure(JobState.SCHEDULED, FailureReason.TRANSIENT, timedelta())


def _lost(row: Any) -> dict[str, Any]:
    return {"type": "WorkerLost", "message": f"{row.worker} stopped renewing its lease during attempt {row.attempt}"}


def _expire() -> int:
    with unit_of_work() as uow:
        rows = relay_store.lock_expired(uow, limit=BATCH)
        done = [row for row in rows if _alone(uow, row, lambda row: _finish_expired(uow, row))]
    for row in done:
        metrics.EXPIRED.inc(queue=row.queue)
    return len(done)


def _finish_expired(uow: UnitOfWork, row: Any) -> None:
    error = {"type": "Expired", "message": "not claimed before expires_at"}
    ended = store.finish_unclaimed(uow, row.id, state=JobState.EXPIRED, error=error)
    if ended is not None:
        ending.call_back(uow, ended)


def ring_due() -> int:
    """Ring what is due, in order; how many. Relays do it one after another, or the order would be lost between them."""
    bound = settings().doorbells_per_queue
    with unit_of_work() as turn:
        relay_store.take_turn(turn)
        with unit_of_work() as uow:
            rows = relay_store.ring_due(uow, queues=wire.names(), bound=bound)
            _ring_after_commit(uow, rows, again=False)
    return len(rows)


def _ring_again(depths: dict[str, int]) -> int:
    """Ring what was rung and is not in the broker any more.

    A queue that holds as many messages as there are rung jobs has lost none: however long they wait, ringing again
    would only add duplicates. Where some are missing, the ones rung longest ago are the ones to ring again.
    """
    first_wait = settings().ring_again_seconds
    missed: list[Any] = []
    with unit_of_work() as uow:
        for name, rung in relay_store.rung_per_queue(uow, wire.names()).items():
            missing = rung - depths.get(name, 0)
            if missing > 0:
                missed += relay_store.ring_again(uow, queue=name, limit=missing, first_wait_seconds=first_wait)
        _ring_after_commit(uow, missed, again=True)
    return len(missed)


def _ring_after_commit(uow: UnitOfWork, rows: Sequence[Any], *, again: bool) -> None:
    """RETURNING knows no order: bells ring by priority and then by age."""
    ordered = sorted(rows, key=lambda row: (row.priority, row.not_before, row.id))
    bells = [wire.Doorbell(str(row.id), row.task, row.queue, row.priority) for row in ordered]

    def ring() -> None:
        sent = wire.ring(bells, again=again)
        if sent < len(bells):
            missed = Counter(bell.queue for bell in bells[sent:])
            log.warning("doorbells not rung; tried again later", missed=dict(missed))

    if bells:
        uow.after_commit(ring)
