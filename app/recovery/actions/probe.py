"""Probe the service and say whether its trouble is over: once, or for a while."""

from __future__ import annotations

from pydantic import Field

from app.catalog import Catalog, Service
from app.health.core import State
from app.infra.words import duration
from app.recovery.acting import Again, Done, Effect, Result, Seen, Work
from app.recovery.acting import Options as BaseOptions

NAME = "probe"
SUMMARY = "probes the service, and watches it for a while where that is wanted: is it well again"
EFFECT = Effect.NONE
KINDS: tuple[str, ...] = ()


class Options(BaseOptions):
    """How long to look."""

    for_seconds: float = Field(
        default=0, ge=0, le=86_400, description="how long to watch while it is not well; 0: one look"
    )
    every: float = Field(default=30, ge=1, le=3600, description="seconds between two looks of a longer watch")
    patience: float = Field(default=60, ge=0, le=3600, description="seconds until an unsettled finding counts as bad")


def says(options: Options, service: Service) -> str:
    """What it will do."""
    lasting = f" for up to {duration(options.for_seconds)}" if options.for_seconds else ""
    return f"{'watch' if lasting else 'probe'} {service.name}{lasting}"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """Looking is never forbidden."""
    return None


def act(options: Options, work: Work) -> Result:
    """One look; the step goes on while it is not settled, or while it is to be watched."""
    seen = work.probe()
    elapsed = (work.now - work.began_at).total_seconds()
    detail = {"ok": seen.ok, "state": str(seen.state), "looks": int(work.last_detail.get("looks", 0)) + 1}
    if _is_well(seen):
        return Done(f"{work.service.name} is {seen.state} again: {seen.text}", detail, healthy=True)
    unsettled = _unsettled(seen)
    if unsettled is not None and elapsed < max(options.patience, options.for_seconds):
        return Again(seen.confirm_seconds, f"{unsettled}: {seen.text}", detail)
    if elapsed + options.every <= options.for_seconds:
        return Again(options.every, f"{_finding(seen)}: {seen.text}", detail)
    after = f" after {duration(elapsed)}" if elapsed >= 1 else ""
    return Done(f"{unsettled or _finding(seen)}{after}: {seen.text}", detail, healthy=False)


def _is_well(seen: Seen) -> bool:
    """What the run knows of its trouble counts; where nothing tells, the service's state."""
    if seen.ok is not True:
        return False
    return seen.over if seen.over is not None else seen.state in (State.UP, State.DEGRADED)


def _unsettled(seen: Seen) -> str | None:
    """What another look may settle."""
    match seen.ok:
        case None:
            return "nothing can be told"
        case True if seen.state in (State.DOWN, State.UNKNOWN):
            return "it answers, and another answer is to confirm it"
        case False if seen.state in (State.UP, State.DEGRADED):
            return "it failed once more, and another failure is to confirm it"
    return None


def _finding(seen: Seen) -> str:
    return f"still {seen.state}" if seen.state is not State.UP else "not yet as it should be"
