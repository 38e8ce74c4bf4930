"""Upkeep of the partitioned tables, of idempotency keys, and of what remote control leaves in the broker."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.config import settings
from app.infra import partitions, redis
from app.infra.apart import Steps
from app.infra.db import execute_once

_REPLY_SUFFIX = ".reply.celery.pidbox"

# What tells the age of a row: a job may end long after it was submitted, which is the time in its id.
_COUNTS = {
    "job_history": "finished_at",
    "signals": "at",
    "system_health_log": "started_at",
    "alert_history": "at",
    "rate_limit_log": "end_at",
    "cost_tracking": "at",
    "token_history": "at",
    "token_reads": "at",
}


def keeping_days() -> dict[str, int]:
    """Each partitioned table and how many days it keeps."""
    config = settings()
    return {
        "job_history": config.job_history_days,
        "signals": config.signal_days,
        "system_health_log": config.health_log_days,
        "alert_history": config.alert_days,
        "rate_limit_log": config.limit_log_days,
        "cost_tracking": config.cost_days,
        "token_history": config.token_days,
        "token_reads": config.token_days,
    }


def make_partitions() -> list[str]:
    """Make the missing partitions of every table; their names. Raises Transient naming what failed."""
    today, made, steps = _now().date(), [], Steps()
    for table in keeping_days():
        with steps.step(table):
            made += partitions.ensure(table, today)
    steps.conclude()
    return made


def drop_old() -> dict[str, object]:
    """Drop partitions past their keeping time and forget old idempotency keys; what was dropped.

    Raises Transient naming what failed, after trying all.
    """
    now, steps = _now(), Steps()
    dropped: list[str] = []
    forgotten = 0
    for table, days in keeping_days().items():
        with steps.step(table):
            dropped += partitions.drop_old(table, now.date(), days, counts=_COUNTS[table])
    with steps.step("idempotency_keys"):
        kept_since = now - timedelta(hours=settings().idempotency_hours)
        forgotten = partitions.delete_in_batches("idempotency_keys", "created_at", kept_since)
    steps.conclude()
    return {"partitions": dropped, "idempotency_keys": forgotten}


def sweep_broker() -> int:
    """Delete the reply lists of remote control, which never expire by themselves, an hour after their last use."""
    deleted = 0
    with redis.transient_errors():
        client = redis.client()
        for key in client.scan_iter(match=f"{redis.PREFIX}*{_REPLY_SUFFIX}*", count=500):
            if (client.object("idletime", key) or 0) > 3600:
                deleted += int(client.delete(key))
    return deleted


def _now() -> datetime:
    """The database's time, in UTC as every connection of ours is."""
    moment: datetime = execute_once("SELECT now() AS now")[0].now
    return moment
