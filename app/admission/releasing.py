"""What waits goes on as soon as it may: queues that are due are served in turn, some operations of each at a time.

A chunk of one queue is one transaction: decided in Redis, then rows and jobs together. What was decided and not written
down, because this process died in between, is found again by its id in the next look.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from app import clock
from app.admission import deferral_store, expiring
from app.admission.release_core import LONGEST, longest
from app.admission.release_turn import Rooms, Served, serve
from app.config import settings
from app.errors import Transient
from app.infra import metrics
from app.infra import queue as wire
from app.infra.db import unit_of_work
from app.infra.logging import get_logger
from app.jobs import relay, relay_store

BUDGET_SECONDS = 0.8
"""Of one pass: the next one follows a second later, and need not overlap."""
QUEUES = 200
"""Queues that are taken up at a time."""
PATIENCE = timedelta(seconds=0.1)
"""How long a queue is waited for that others hold at every look: operations may be joining it all the time."""
ROOM_SECONDS = 0.5
"""How long the room of the workers' queues is taken for true, less what was released since."""
RING_AFTER_SECONDS = 0.25
RING_AFTER_JOBS = 1000
"""When a pass rings for what it released, at the latest."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Released:
    """What one pass did, in operations; `looks` is how many times a queue was served."""

    released: int = 0
    expired: int = 0
    dropped: int = 0
    looks: int = 0


def release_due(*, seconds: float = BUDGET_SECONDS) -> Released:
    """Serve the queues that are due, for so long at the most. Raises Transient while Redis or Postgres is away."""
    began = clock.monotonic()
    found = _Pass(until=began + seconds, longest=longest(deferral_store.count()))
    found.counts["expired"] = expiring.expire_due(until=began + seconds / 2)
    try:
        while found.has_time and (due := deferral_store.due(QUEUES)):
            if not found.serve(due):
                break
    finally:
        found.ring()
    done = Released(**found.counts)
    if done.released or done.dropped:
        log.info("released", released=done.released, dropped=done.dropped, looks=done.looks)
    return done


@dataclass(slots=True)
class _Pass:
    """One pass over the queues."""

    until: float
    longest: timedelta
    counts: Counter[str] = field(default_factory=Counter)
    rooms: Rooms = field(default_factory=Rooms)
    looked_at: float = float("-inf")
    rung_at: float = field(default_factory=clock.monotonic)
    unrung: int = 0

    @property
    def has_time(self) -> bool:
        return clock.monotonic() < self.until

    def serve(self, due: list[str]) -> bool:
        """Serve each once; False when there was none to be had."""
        held = [account for account in due if self.has_time and not self._one(account, None)]
        waited = [account for account in held if self.has_time and self._one(account, PATIENCE)]
        return len(held) < len(due) or bool(waited)

    def _one(self, account: str, patience: timedelta | None) -> bool:
        """Serve one queue; False when it is not due any more, or somebody else holds it."""
        self._look()
        is_ours = False
        try:
            with unit_of_work() as uow:
                held = deferral_store.lock_due(uow, account, patience=patience)
                if held is None:
                    return False
                is_ours = True
                served = serve(uow, account, held, self.rooms, longest=self.longest)
        except Transient:
            if is_ours:
                raise
            return False
        except Exception:
            log.exception("a queue could not be served; the others are", account=account)
            deferral_store.postpone(account, wait=LONGEST)
            return True
        self._count(served)
        return True

    def _count(self, served: Served) -> None:
        self.counts["looks"] += 1
        for outcome, count in served.counts.items():
            self.counts[outcome] += count
        if served.counts["released"]:
            metrics.RELEASES.inc(served.counts["released"], outcome="released")
        self.unrung += served.jobs
        if self.unrung >= RING_AFTER_JOBS or (self.unrung and clock.monotonic() > self.rung_at + RING_AFTER_SECONDS):
            self.ring()

    def _look(self) -> None:
        if clock.monotonic() > self.looked_at + ROOM_SECONDS:
            self.rooms.left = relay_store.room_per_queue(wire.names(), bound=settings().doorbells_per_queue)
            self.looked_at = clock.monotonic()

    def ring(self) -> None:
        """Ring for what was released: the relay would, a moment later."""
        if self.unrung:
            self.unrung, self.rung_at = 0, clock.monotonic()
            relay.ring_due()
