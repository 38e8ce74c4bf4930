"""The watchdog's own journal of its repairs: written down before a step begins and after it, so that a restart of it
neither restarts anything twice nor forgets a budget.

One line a run, the whole file replaced in one step, kept for a day after a run's end. A disk that takes nothing costs
the memory over a restart of the watchdog, and no repair. One watchdog of a home has it; a second one repairs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from app import clock
from app.alerts import actions as alert_actions
from app.infra.logging import get_logger
from app.recovery import told
from app.recovery.core import Run
from app.recovery.store import RUN
from app.watchdog import kept

MOST = 100
"""Runs that are kept at most."""
KEPT = timedelta(days=1)

log = get_logger(__name__)


class Journal:
    """Runs and how far they are. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._turn: int | None = None
        self._runs: dict[UUID, Run] = {}
        self._stored: dict[UUID, Run] = {}
        self._disk_told = False

    def take_over(self) -> bool:
        """Is it this process's? The first to ask has it, with what an earlier process left, until it ends."""
        with self._lock:
            if self._turn is not None:
                return True
            self._turn = kept.turn(self._path)
            if self._turn is None:
                return False
            self._runs = {run.id: run for run in kept.read(self._path, RUN, most=MOST)}
            return True

    def runs(self) -> list[Run]:
        """Everything in it, the oldest first."""
        with self._lock:
            return list(self._runs.values())

    def run(self, run_id: UUID) -> Run | None:
        """One run as it is now."""
        with self._lock:
            return self._runs.get(run_id)

    def keep(self, run: Run) -> None:
        """Write down a run as it is now."""
        with self._lock:
            self._runs[run.id] = run
            self._tidy(clock.now())
            self._write()

    def unstored(self) -> list[Run]:
        """Runs of which the tables do not know all."""
        with self._lock:
            return [run for run in self._runs.values() if self._stored.get(run.id) != run]

    def stored(self, run: Run) -> None:
        """The tables have this run as it was then."""
        with self._lock:
            if run.id in self._runs:
                self._stored[run.id] = run

    def lines(self, service: str, now: datetime) -> str:
        """What was lately done for a service, a line each; empty when nothing was."""
        found = [run for run in self.runs() if run.service == service and _is_recent(run, now)]
        return alert_actions.text_of(line for run in found for line in told.lines(run))

    def _tidy(self, now: datetime) -> None:
        """Forget what is over and stored, after a day; and the oldest that is over, when there is too much."""
        for run in _over(self._runs.values()):
            old = run.ended_at is not None and now - run.ended_at > KEPT and self._stored.get(run.id) == run
            if old or len(self._runs) > MOST:
                del self._runs[run.id]
                if self._stored.pop(run.id, None) != run:
                    log.error("too many repairs: one is forgotten before it was stored", run=str(run.id))

    def _write(self) -> None:
        try:
            kept.write(self._path, map(RUN.dump_json, self._runs.values()))
            self._disk_told = False
        except OSError as error:
            if not self._disk_told:
                self._disk_told = True
                log.error("repairs are in memory only: their file cannot be written", error=error.strerror)


def _over(runs: Iterable[Run]) -> Sequence[Run]:
    return [run for run in runs if run.over_at is not None]


def _is_recent(run: Run, now: datetime) -> bool:
    return run.over_at is None or now - run.over_at < told.RECENT
