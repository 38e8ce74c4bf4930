"""Modes and pauses that are long over are forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.config import settings
from app.infra import partitions


def drop_old(now: datetime) -> dict[str, int]:
    """Forget what ended more than `SMM_ALERT_DAYS` ago; how much of it. Raises Transient."""
    before = now - timedelta(days=settings().alert_days)
    return {table: partitions.delete_in_batches(table, "ended_at", before) for table in ("operation_modes", "pauses")}
