"""Spending is watched: budgets that burn too fast or run out, and hours that cost far more than usual."""

from __future__ import annotations

from app import clock
from app.costs import finding, watching
from app.infra.apart import Steps
from tasks.base import JobContext, job


@job("tasks.costs.watch")
def watch(_ctx: JobContext) -> dict[str, dict[str, int]]:
    """Foretell budgets and find anomalies; what begins and what is over is told."""
    now, done, steps = clock.now(), dict[str, dict[str, int]](), Steps()
    with steps.step("budgets"):
        done["budgets"] = watching.watch(now)
    with steps.step("anomalies"):
        done["anomalies"] = finding.find(now)
    steps.conclude()
    return done
