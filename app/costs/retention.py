"""What is older than its keeping time is forgotten: roll-ups, anomalies, repairs, calls set aside and dealt with."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from app.config import settings
from app.infra import partitions
from app.infra.apart import Steps

_REPLAYED_KEPT = timedelta(days=90)
"""After it was replayed or dropped; what waits is kept."""


def drop_old(now: datetime) -> dict[str, int]:
    """Delete roll-ups of hours and of days, anomalies, calls set aside and repairs; how many of each.

    Raises Transient naming what failed, after trying all.
    """
    config = settings()
    today = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
    dropped, steps = dict[str, int](), Steps()
    for table, column, before in (
        ("cost_hours", "start_at", today - timedelta(days=config.cost_hour_days)),
        ("cost_days", "start_at", today - timedelta(days=config.cost_sum_days)),
        ("cost_anomalies", "hour", today - timedelta(days=config.cost_sum_days)),
        ("cost_set_aside", "replayed_at", now - _REPLAYED_KEPT),
        ("cost_repairs", "at", now - timedelta(days=config.cost_days)),
    ):
        with steps.step(table):
            dropped[table] = partitions.delete_in_batches(table, column, before)
    steps.conclude()
    return dropped
