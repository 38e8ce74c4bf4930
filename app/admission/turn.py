"""One transaction's changes of modes: under the lock, each with its signal, and Redis told of all of them once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app import catalog, jobs, signals
from app.admission import holds, mirror, store
from app.admission.core import Hold
from app.errors import Invalid, NotFound
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger

ENTERED, CHANGED, LEFT = "modes.entered", "modes.changed", "modes.left"
"""A mode came on; it is held otherwise than before, or by others; nobody holds it any more."""

RECONCILE = "tasks.admission.reconcile"
"""The task that brings everything in step."""

_KEY = "modes"

log = get_logger(__name__)


@dataclass(slots=True)
class Turn:
    """Whoever changes modes does it here, one after another. `holds` are the open ones, by id; `touched` operations."""

    uow: UnitOfWork
    now: datetime
    holds: dict[UUID, Hold]
    touched: set[str] = field(default_factory=set)
    _version: int | None = field(default=None)

    @property
    def is_changed(self) -> bool:
        return self._version is not None

    @property
    def version(self) -> int:
        """The number of this transaction's change."""
        if self._version is None:
            self._version = store.next_version(self.uow)
        return self._version

    def of(self, name: str) -> list[Hold]:
        """Who holds this mode."""
        return [hold for hold in self.holds.values() if hold.name == name]

    def begin(self, hold: Hold) -> None:
        """A hold of a holder who has none on this mode."""
        was_on = bool(self.of(hold.name))
        store.insert(self.uow, hold, version=self.version)
        self.holds[hold.id] = hold
        self._tell(CHANGED if was_on else ENTERED, hold, by=hold.set_by)

    def change(self, hold: Hold) -> None:
        """The same hold, otherwise."""
        if self.holds[hold.id] == hold:
            return
        store.update(self.uow, hold, version=self.version)
        self._touch(self.holds[hold.id])
        self.holds[hold.id] = hold
        self._tell(CHANGED, hold, by=hold.set_by)

    def end(self, hold: Hold, *, by: str, why: str) -> None:
        """The hold is over; with the last one of a mode the jobs of its replay are submitted."""
        store.end(self.uow, hold.id, at=self.now, by=by, version=self.version)
        del self.holds[hold.id]
        facts: dict[str, Any] = {"why": why}
        if self.of(hold.name):
            self._tell(CHANGED, hold, by=by, facts=facts)
            return
        lasted = max(0.0, (self.now - hold.on_since).total_seconds())
        facts |= {"since": hold.on_since, "lasted_seconds": round(lasted, 3), **_replay(self.uow, hold.name)}
        self._tell(LEFT, hold, by=by, facts=facts)

    def _touch(self, hold: Hold) -> None:
        self.touched |= {f"operation:{operation}" for operation in (*hold.fall_back, *hold.wait)}

    def _tell(self, kind: str, hold: Hold, *, by: str, facts: Mapping[str, Any] | None = None) -> None:
        """`set_by` is the holder that the facts are about, `by` who made the change."""
        self._touch(hold)
        said = {
            "operations": {"fall_back": list(hold.fall_back), "wait": list(hold.wait)},
            "cause": list(hold.cause),
            "reason": hold.reason,
            "since": hold.since,
            "lasted_seconds": None,
            "until": hold.until,
            "set_by": hold.set_by,
            "by": by,
        }
        signals.record(self.uow, kind, f"mode:{hold.name}", labels={"mode": hold.name}, facts=said | dict(facts or {}))
        log.info("mode", kind=kind, mode=hold.name, set_by=hold.set_by, by=by, reason=hold.reason)


@contextmanager
def turn(uow: UnitOfWork, now: datetime) -> Iterator[Turn]:
    """Be the only one who changes modes. What changed is in Redis right after the commit.

    A job that brings everything in step follows in any case: this process may die between the two, Redis may be away,
    and a hold's time will be up.
    """
    store.lock(uow)
    mine = Turn(uow, now, {hold.id: hold for hold in store.read(uow.session)[2]})
    yield mine
    if mine.is_changed:
        uow.after_commit(mirror.follow)
        uow.after_commit(lambda: holds.follow(mine.touched))
    until = min((hold.until for hold in mine.holds.values() if hold.until is not None), default=None)
    again = now if mine.is_changed else until
    if again is not None:
        look_again(uow, again)


def look_again(uow: UnitOfWork, at: datetime) -> None:
    """Bring everything in step at `at`, or sooner where that is wanted already."""
    jobs.submit(uow, RECONCILE, key=_KEY, not_before=at)


def _replay(uow: UnitOfWork, name: str) -> dict[str, Any]:
    """Submit what is to be done once the mode is over; which jobs, and what could not be submitted.

    A job that still waits since the last end of this mode stands for both.
    """
    mode = catalog.current().modes.get(name)
    submitted, problems = [], []
    for replay in mode.replay if mode is not None else ():
        kwargs = dict(replay.kwargs)
        digest = hashlib.sha256(json.dumps(kwargs, sort_keys=True, default=str).encode()).hexdigest()[:12]
        wanted = jobs.Submission(replay.task, kwargs, key=f"mode:{name}:{digest}", caller=f"mode:{name}")
        try:
            submitted += jobs.submit_many(uow, [wanted])
        except (Invalid, NotFound) as error:  # a mode ends whatever became of the task
            log.error("a job of a mode's replay cannot be submitted", mode=name, task=replay.task, error=str(error))
            problems.append(str(error))
    return {"replayed": submitted, **({"replay_problems": problems} if problems else {})}
