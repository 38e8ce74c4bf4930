"""Metrics of every process on every host, added up in Redis, so that one GET /metrics shows the whole engine.

Processes count in memory and flush what was added every five seconds to one Redis hash. Unlike prometheus_client's
multiprocess directory this crosses hosts and does not grow with each recycled worker child; a process that is killed
loses at most the last five seconds of its counts. A flushed Redis starts them at zero, which Prometheus takes for the
counter reset it is.
"""

from __future__ import annotations

from app.infra.metrics.catalogue import (
    ADMISSIONS,
    ALERT_CHANGES,
    ALERTS_TOLD,
    COST_CALLS,
    DOORBELLS,
    EXPIRED,
    HTTP_LIMITED,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    HTTP_UNCOUNTED,
    JOB_ATTEMPTS,
    JOB_START_DELAY,
    NOTIFICATION_ATTEMPTS,
    NOTIFICATION_SECONDS,
    PROBE_SECONDS,
    PROBES,
    RECOVERY_RUNS,
    RECOVERY_STEPS,
    RELEASES,
    SCRAPES,
    TAKEN_BACK,
    TASK_SECONDS,
    TICKS,
    TOKEN_REFRESH_SECONDS,
    TOKEN_REFRESHES,
)
from app.infra.metrics.exposition import clear_collectors, register_collector, render
from app.infra.metrics.flusher import flush, start_flusher, stop_flusher
from app.infra.metrics.instruments import Counter, Histogram, after_fork, know

__all__ = [
    "ADMISSIONS",
    "ALERTS_TOLD",
    "ALERT_CHANGES",
    "COST_CALLS",
    "DOORBELLS",
    "EXPIRED",
    "HTTP_LIMITED",
    "HTTP_REQUESTS",
    "HTTP_SECONDS",
    "HTTP_UNCOUNTED",
    "JOB_ATTEMPTS",
    "JOB_START_DELAY",
    "NOTIFICATION_ATTEMPTS",
    "NOTIFICATION_SECONDS",
    "PROBES",
    "PROBE_SECONDS",
    "RECOVERY_RUNS",
    "RECOVERY_STEPS",
    "RELEASES",
    "SCRAPES",
    "TAKEN_BACK",
    "TASK_SECONDS",
    "TICKS",
    "TOKEN_REFRESHES",
    "TOKEN_REFRESH_SECONDS",
    "Counter",
    "Histogram",
    "after_fork",
    "clear_collectors",
    "flush",
    "know",
    "register_collector",
    "render",
    "start_flusher",
    "stop_flusher",
]
