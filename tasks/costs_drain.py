"""Calls leave the stream for Postgres, are watched on the way, and their roll-ups are compared with them at night."""

from __future__ import annotations

from app import clock, jobs
from app.costs import draining, lag, recomputing
from tasks.base import JobContext, job, tick

_AGGREGATE = "tasks.costs.aggregate"


@tick("tasks.costs.ingest")
def ingest() -> None:
    """Write down what waits, for two seconds at most; one process at a time."""
    draining.drain()


@tick("tasks.costs.lag")
def watch_lag() -> None:
    """Tell when calls wait too long. Apart from the drain, which may be what hangs."""
    lag.watch(clock.now())


@job(_AGGREGATE, max_attempts=3)
def aggregate(ctx: JobContext) -> None:
    """Compare the roll-ups of yesterday, and of days that late calls came for, with the calls; what is left goes on."""
    done = recomputing.recompute_touched(clock.now())
    result = {"days": [str(day) for day in done.days], "repaired": done.repaired, "left": done.left}
    with ctx.complete(result=result) as uow:
        if done.left:
            jobs.submit(uow, _AGGREGATE, caller="costs")
