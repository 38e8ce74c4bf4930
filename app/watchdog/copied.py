"""What the watchdog's repairs must know of the engine's tables, copied while Postgres answers: what of the budgets is
used up, what the engine is repairing, what people have asked for.

Restarts are kept in a file, so that they count over a restart of the watchdog while Postgres is away; so is the stop,
in the one that people's commands write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.errors import SmmError
from app.infra import db
from app.infra.files import write_private
from app.infra.logging import get_logger
from app.recovery import control, store
from app.recovery.control import Stop
from app.recovery.core import Run, Runner

COPY_SECONDS = 5.0
READ_SECONDS = 3.0
SPEAKS = timedelta(minutes=1)
"""How long what the engine was at counts once Postgres is away: without it the engine begins and ends nothing."""
MOST = 1000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Restart:
    """One restart that a run had begun."""

    run: UUID
    service: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AtWork:
    """A run for which others must wait."""

    run: UUID
    playbook: str
    service: str
    critical: bool


@dataclass(frozen=True, slots=True)
class Copied:
    """The tables at a moment. `asked`: the watchdog's runs that have not ended; people begin some of them.

    `stopped`: all recovery is, as far as no file says it; `resumed_at`: when it was last let go on.
    """

    at: datetime | None = None
    restarts: tuple[Restart, ...] = ()
    at_work: tuple[AtWork, ...] = ()
    stopped: Stop | None = None
    resumed_at: datetime | None = None
    asked: tuple[Run, ...] = field(default=())

    @property
    def aborts(self) -> Mapping[UUID, str]:
        """Who wants which run to end."""
        return {run.id: run.abort_by for run in self.asked if run.abort_by is not None}

    def is_fresh(self, now: datetime) -> bool:
        """Can it tell what others are at?"""
        return self.at is not None and now - self.at < SPEAKS

    def at_work_now(self, now: datetime) -> tuple[AtWork, ...]:
        """What others are at, as far as the copy is fresh enough to tell."""
        return self.at_work if self.is_fresh(now) else ()

    @property
    def lasting(self) -> Copied:
        """What counts although it is old."""
        return Copied(restarts=self.restarts)


_COPIED: TypeAdapter[Copied] = TypeAdapter(Copied)


def load(session: Session, now: datetime) -> Copied:
    """From the tables."""
    restarts = session.execute(
        text("SELECT run_id, service, at FROM recovery_restarts WHERE at > :since ORDER BY at DESC LIMIT :most"),
        {"since": now - store.WINDOW, "most": MOST},
    )
    open_runs = store.runs(
        session,
        "ended_at IS NULL AND (runner = 'watchdog' OR NOT dry_run AND EXISTS (SELECT 1 FROM recovery_steps s"
        " WHERE s.run_id = recovery_runs.id AND s.effect <> 'none' AND s.began_at IS NOT NULL))",
        "created_at, id",
        limit=MOST,
    )
    stop = session.execute(
        text("SELECT stopped_at, stopped_by, reason, changed_at FROM recovery_stop WHERE id = 1")
    ).one_or_none()
    stopped = None
    if stop is not None and stop.stopped_at is not None:
        stopped = Stop(clock.iso(stop.stopped_at), stop.stopped_by, stop.reason)
    return Copied(
        at=now,
        restarts=tuple(Restart(row.run_id, row.service, row.at) for row in restarts),
        at_work=tuple(
            AtWork(run.id, run.playbook, run.service, run.is_critical)
            for run in open_runs
            if run.is_at_work and not run.dry_run
        ),
        stopped=stopped,
        resumed_at=stop.changed_at if stop is not None and stopped is None else None,
        asked=tuple(run for run in open_runs if run.runner is Runner.WATCHDOG),
    )


class Copying:
    """Copies every few seconds, in a thread of its own."""

    def __init__(self, path: Path, stop_file: Path) -> None:
        self._path = path
        self._stop_file = stop_file
        self._copied = _kept(path)
        self._written = self._copied.lasting
        self._told: str | None = None

    def start(self, changed: Callable[[], None]) -> None:
        """Begin, in a thread that does not keep the process alive; `changed` is called when people have asked for
        something new.
        """
        threading.Thread(target=self._run, args=(changed,), name="recovery-copy", daemon=True).start()

    def copied(self) -> Copied:
        """The last copy; of what was never copied, nothing."""
        return self._copied

    def copy(self) -> bool:
        """Copy now; False when the database would not: the old copy stays. True also when there is nothing new."""
        try:
            with db.read_within(READ_SECONDS) as session:
                found = load(session, clock.now())
        except SmmError as error:
            self._say(str(error))
            return False
        except Exception as error:  # a table that is not there yet, a row that cannot be read
            self._say(type(error).__name__)
            return False
        self._told = None
        self._copied = self._with_stop(found)
        self._keep(found.lasting)
        return True

    def _run(self, changed: Callable[[], None]) -> None:
        idle = threading.Event()
        while True:
            before = self._copied
            if self.copy() and (self._copied.asked, self._copied.stopped) != (before.asked, before.stopped):
                changed()
            idle.wait(COPY_SECONDS)

    def _keep(self, lasting: Copied) -> None:
        if lasting == self._written:
            return
        try:
            write_private(self._path, _COPIED.dump_json(lasting).decode())
            self._written = lasting
        except OSError as error:
            log.warning("the guards' figures are in memory only: their file cannot be written", error=error.strerror)

    def _with_stop(self, found: Copied) -> Copied:
        """Bring the file that says so to what the database says: people can take it away while that is away, too.

        One that is newer than the last word there was written without it, and stays.
        """
        kept = control.kept(self._stop_file)
        if found.stopped is not None and kept is None:
            control.keep(found.stopped, self._stop_file)
            kept = control.kept(self._stop_file)
        if kept is not None and found.resumed_at is not None and _moment(kept.at, found.resumed_at) < found.resumed_at:
            log.info("recovery goes on, by the database", stopped_by=kept.by)
            control.keep(None, self._stop_file)
        return found if kept is None else replace(found, stopped=None)

    def _say(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning("the guards' figures are not copied; the last copy counts", error=why)


def _kept(path: Path) -> Copied:
    try:
        return _COPIED.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Copied()


def _moment(said: str, otherwise: datetime) -> datetime:
    """A file that cannot be read was meant by somebody, and stays."""
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        return otherwise
