"""What is older than its keeping time is forgotten: logins, messages, counts of days. History goes by partitions."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.config import settings
from app.infra import partitions
from app.infra.apart import Steps

_LOGINS_KEPT = timedelta(days=7)
"""After they ran out."""


def drop_old(now: datetime) -> dict[str, int]:
    """Delete old logins, messages to owners, counts and tries of days; how many of each.

    Raises Transient naming what failed, after trying all.
    """
    config = settings()
    dropped, steps = dict[str, int](), Steps()
    for table, column, before in (
        ("token_connects", "expires_at", now - _LOGINS_KEPT),
        ("token_messages", "created_at", now - timedelta(days=config.alert_days)),
        ("token_days", "day", now - timedelta(days=config.token_days)),
        ("token_tries", "day", now - timedelta(days=config.token_days)),
    ):
        with steps.step(table):
            dropped[table] = partitions.delete_in_batches(table, column, before)
    steps.conclude()
    return dropped
