"""Refreshes are added up, and watched: a platform of which too few succeed is told of."""

from __future__ import annotations

from app import clock
from app.infra.apart import Steps
from app.tokens import success_watch, tallying
from tasks.base import JobContext, job


@job("tasks.tokens.watch")
def watch(_ctx: JobContext) -> dict[str, int]:
    """Add up what was tried, then compare each platform's share with what it should be."""
    now, done, steps = clock.now(), dict[str, int](), Steps()
    with steps.step("tries"):
        done["steps"] = tallying.tally(now)
    with steps.step("success"):
        done |= success_watch.watch(now)
    steps.conclude()
    return done
