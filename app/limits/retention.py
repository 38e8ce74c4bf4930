"""What is written down of counters is forgotten when nothing of it counts any more. The log goes by its partitions."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.infra import partitions
from app.infra.apart import Steps
from app.infra.db import execute_once
from app.limits.reading import LONGEST, wanted
from app.limits.snapshots import limits_now

_STATES_KEPT = timedelta(days=1)
"""After Redis forgot them."""

# A few thousand in one statement, that it locks for a moment only; nobody uses these any more.
_BATCH = 5000
_ROLLING = """
    DELETE FROM limit_windows WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM limit_windows WHERE end_at IS NULL AND limit_name = :name AND taken_at < :before
         LIMIT :batch FOR UPDATE SKIP LOCKED)) RETURNING 1"""


def drop_old(now: datetime) -> dict[str, int]:
    """Forget states that have expired, and rolling windows that are over; how much of each.

    Windows of limits that the catalogue no longer has go when no window could last so long. Raises Transient naming
    what failed, after trying all.
    """
    dropped, steps = {"limit_windows": 0}, Steps()
    with steps.step("limit_states"):
        dropped["limit_states"] = partitions.delete_in_batches("limit_states", "expires_at", now - _STATES_KEPT)
    limits = limits_now()
    for name, since in zip(limits, wanted(limits, now)["since"], strict=True):
        with steps.step(f"limit_windows of {name}"):
            dropped["limit_windows"] += _drop_rolling(name, since - _STATES_KEPT)
    with steps.step("limit_windows"):
        dropped["limit_windows"] += partitions.delete_in_batches("limit_windows", "taken_at", now - 2 * LONGEST)
    steps.conclude()
    return dropped


def _drop_rolling(name: str, before: datetime) -> int:
    dropped = 0
    while batch := len(execute_once(_ROLLING, name=name, before=before, batch=_BATCH)):
        dropped += batch
        if batch < _BATCH:
            break
    return dropped
