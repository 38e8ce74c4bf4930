"""How far the drain is behind: told when a call waits too long, and when that is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from app import signals
from app.costs import watch_store
from app.infra.db import unit_of_work
from app.limits import snapshots, spending

LATE, OVER = timedelta(seconds=60), timedelta(seconds=30)
"""How long the oldest call has waited when people are told, and below which it is over."""

BEGAN, ENDED = "costs.lag", "costs.lag_over"
_KIND = "ingestion_lag"


def seconds_of(waiting: spending.Backlog) -> float:
    """For how long the oldest entry has waited, by the clock of the server that it waits in. Raises Transient."""
    if waiting.oldest_at is None:
        return 0.0
    return max(0.0, (snapshots.server_time() - waiting.oldest_at).total_seconds())


def watch(now: datetime) -> None:
    """Tell once that calls wait too long, and once that they do not any more. Raises Transient."""
    waiting = spending.backlog()
    lag = timedelta(seconds=seconds_of(waiting))
    if OVER <= lag < LATE:
        return
    facts = {"seconds": round(lag.total_seconds()), "entries": waiting.entries, "bytes": waiting.bytes}
    with unit_of_work() as uow:
        if lag >= LATE:
            kind, is_news = BEGAN, watch_store.begin(uow, _KIND, "costs", facts, now)
        else:
            kind, is_news = ENDED, watch_store.end(uow, _KIND, "costs") is not None
        if is_news:
            signals.record(uow, kind, "costs", facts=facts)
