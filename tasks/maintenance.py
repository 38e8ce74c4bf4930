"""Upkeep: partitions ahead, old rows dropped, the broker's leftovers swept."""

from __future__ import annotations

from app import clock
from app.admission import retention as modes
from app.alerts import retention as alerts
from app.costs import retention as costs
from app.health.availability import retention as availability
from app.infra.apart import Steps
from app.jobs import upkeep
from app.limits import retention as limits
from app.recovery import retention as recovery
from app.tokens import retention as tokens
from tasks.base import JobContext, job


@job("tasks.maintenance.partitions")
def partitions(_ctx: JobContext) -> dict[str, list[str]]:
    """Make the next days' partitions."""
    return {"made": upkeep.make_partitions()}


@job("tasks.maintenance.retention")
def retention(_ctx: JobContext) -> dict[str, object]:
    """Drop what is older than its keeping time; what cannot be dropped keeps nothing else from it."""
    now, dropped, steps = clock.now(), dict[str, object](), Steps()
    with steps.step("partitions"):
        dropped |= upkeep.drop_old()
    for name, domain in (
        ("alerts", alerts),
        ("availability", availability),
        ("costs", costs),
        ("limits", limits),
        ("modes", modes),
        ("recovery", recovery),
        ("tokens", tokens),
    ):
        with steps.step(name):
            dropped |= domain.drop_old(now)
    steps.conclude()
    return dropped


@job("tasks.maintenance.broker_janitor")
def broker_janitor(_ctx: JobContext) -> dict[str, int]:
    """Delete reply lists of remote control that nobody reads any more."""
    return {"deleted": upkeep.sweep_broker()}
