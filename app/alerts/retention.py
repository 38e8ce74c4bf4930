"""Alerts that are long over are forgotten, with what was told of them; what is open never is."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.alerts import links
from app.config import settings
from app.infra import partitions
from app.infra.apart import Steps
from app.infra.db import execute_once

# By what each is old. Members go with their group or episode, and notifications with their group and not before it:
# whoever was told of the beginning is told of the end, however late that is.
_AGE = {
    "alert_groups": "closed_at",
    "alert_episodes": "resolved_at",
    "alert_silences": "ends_at",
    "on_call_overrides": "ends_at",
    "alert_links_used": "used_at",
}
_USED = "alert_links_used"
"""Kept at least as long as a link is good: one that was forgotten would act again."""

_WITHOUT_GROUP = "DELETE FROM notifications WHERE group_id IS NULL AND finished_at < :before RETURNING id"


def drop_old(now: datetime) -> dict[str, int]:
    """Forget what ended more than `SMM_ALERT_DAYS` ago; how much of each. Raises Transient naming what failed."""
    kept = timedelta(days=settings().alert_days)
    dropped, steps = {}, Steps()
    for table, column in _AGE.items():
        age = max(kept, links.LIFE) if table == _USED else kept
        with steps.step(table):
            dropped[table] = partitions.delete_in_batches(table, column, now - age)
    with steps.step("notifications"):
        gone = execute_once(_WITHOUT_GROUP, before=now - kept)
        dropped["notifications"] = len(gone)
    steps.conclude()
    return dropped
