"""Hours and days of availability that are past their keeping time are forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.config import settings
from app.health.availability.hours import day_of, midnight
from app.infra import partitions
from app.infra.apart import Steps


def drop_old(now: datetime) -> dict[str, int]:
    """Delete hours older than `SMM_HEALTH_HOUR_DAYS` and days older than `SMM_HEALTH_DAY_DAYS`; how many of each.

    Raises Transient naming what failed, after trying both.
    """
    config = settings()
    kept = {"service_hours": ("hour", config.health_hour_days), "service_days": ("day", config.health_day_days)}
    dropped, steps = {}, Steps()
    for table, (column, days) in kept.items():
        with steps.step(table):
            before = midnight(day_of(now) - timedelta(days=days))
            dropped[table] = partitions.delete_in_batches(table, column, before)
    steps.conclude()
    return dropped
