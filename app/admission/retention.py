"""Modes and pauses that are long over are forgotten, and operations that wait no more."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.config import settings
from app.infra import partitions


def drop_old(now: datetime) -> dict[str, int]:
    """Forget what ended more than `SMM_ALERT_DAYS` ago, and `SMM_DEFERRED_DAYS`; how much of it. Raises Transient."""
    config = settings()
    kept = {
        "operation_modes": config.alert_days,
        "pauses": config.alert_days,
        "deferred_operations": config.deferred_days,
    }
    return {
        table: partitions.delete_in_batches(table, "ended_at", now - timedelta(days=days))
        for table, days in kept.items()
    }
