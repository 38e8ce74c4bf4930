"""Runs that are long over are forgotten; what stands never is."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.config import settings
from app.infra import partitions
from app.infra.apart import Steps
from app.recovery.store import WINDOW


def drop_old(now: datetime) -> dict[str, int]:
    """Forget runs whose trouble was over more than `SMM_ALERT_DAYS` ago, and restarts that no budget counts any more.

    How much of each. Raises Transient naming what failed.
    """
    kept = timedelta(days=settings().alert_days)
    dropped, steps = {}, Steps()
    for table, column, before in (
        ("recovery_runs", "over_at", now - kept),
        ("recovery_restarts", "at", now - 24 * WINDOW),
    ):
        with steps.step(table):
            dropped[table] = partitions.delete_in_batches(table, column, before)
    steps.conclude()
    return dropped
