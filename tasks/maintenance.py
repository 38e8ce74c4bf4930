"""Upkeep: partitions ahead, old rows dropped, the broker's leftovers swept."""

from __future__ import annotations

from app import clock
from app.alerts import retention as alerts
from app.health.availability import retention as availability
from app.jobs import upkeep
from tasks.base import JobContext, job


@job("tasks.maintenance.partitions")
def partitions(_ctx: JobContext) -> dict[str, list[str]]:
    """Make the next days' partitions."""
    return {"made": upkeep.make_partitions()}


@job("tasks.maintenance.retention")
def retention(_ctx: JobContext) -> dict[str, object]:
    """Drop what is older than its keeping time."""
    dropped = upkeep.drop_old()
    now = clock.now()
    return {**dropped, **alerts.drop_old(now), **availability.drop_old(now)}


@job("tasks.maintenance.broker_janitor")
def broker_janitor(_ctx: JobContext) -> dict[str, int]:
    """Delete reply lists of remote control that nobody reads any more."""
    return {"deleted": upkeep.sweep_broker()}
