"""What people do about recovery: stop it, let it go on, abort a run, start one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app import clock, signals
from app.config import settings
from app.errors import Conflict, NotFound
from app.infra.db import UnitOfWork
from app.infra.files import write_private
from app.infra.logging import get_logger
from app.recovery import store, triggering
from app.recovery.core import Runner

STOPPED, RESUMED, ABORTED = "recovery.stopped", "recovery.resumed", "recovery.abort_asked"
SUBJECT = "recovery"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stop:
    """All recovery is stopped: since when, by whom, why."""

    at: str
    by: str
    reason: str = ""

    def __str__(self) -> str:
        return f"by {self.by} since {self.at}" + (f", {self.reason}" if self.reason else "")


def stop(uow: UnitOfWork, *, by: str, reason: str, now: datetime) -> None:
    """No playbook begins and no run changes anything any more, until `resume`. Runs under way end as refused.

    The watchdog of this home learns of it by a file at once; others by the database within half a minute.
    """
    store.set_stop(uow, now, by, reason)
    signals.record(uow, STOPPED, SUBJECT, facts={"by": by, "reason": reason})
    uow.after_commit(lambda: keep(Stop(clock.iso(now), by, reason)))


def resume(uow: UnitOfWork, *, by: str, now: datetime) -> None:
    """Recovery goes on: what is still in trouble is taken up at the next look."""
    store.set_stop(uow, None, by, "")
    signals.record(uow, RESUMED, SUBJECT, facts={"by": by, "at": clock.iso(now)})
    uow.after_commit(lambda: keep(None))


def abort(uow: UnitOfWork, run_id: UUID, *, by: str) -> None:
    """Have a run end before its next step; the step under way is not broken off. Raises NotFound, Conflict."""
    run = store.lock(uow, run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    if run.ended_at is not None:
        raise Conflict(f"run {run_id} has ended already: {run.verdict}")
    uow.execute("UPDATE recovery_runs SET abort_by = :by, due_at = now() WHERE id = :id", by=by, id=run_id)
    signals.record(uow, ABORTED, run.service, labels={"playbook": run.playbook}, facts={"run": str(run_id), "by": by})
    if run.runner is Runner.ENGINE:
        triggering.ring_now(uow, run)


def stop_file() -> Path:
    """Where the watchdog of this home finds the stop while the database is away."""
    return settings().home / "recovery-stopped.json"


def keep(found: Stop | None, path: Path | None = None) -> None:
    """Write the stop for the watchdog, or take it away. A disk that refuses is logged: the database has it, too."""
    path = path or stop_file()
    try:
        if found is None:
            path.unlink(missing_ok=True)
        else:
            write_private(path, json.dumps(asdict(found)))
    except OSError as error:
        log.warning("the watchdog's copy of the stop could not be written", error=error.strerror)


def kept(path: Path) -> Stop | None:
    """What the file says; a file that cannot be read is a stop: somebody meant one."""
    try:
        found = json.loads(path.read_text())
        return Stop(str(found["at"]), str(found["by"]), str(found.get("reason", "")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Stop("?", "?", "the file that says so cannot be read")
