"""Is a Postgres server answering, and how is it: connections, slow and blocked queries, size, replication."""

from __future__ import annotations

import psycopg2
from pydantic import Field, SecretStr

from app import clock
from app.health.probes import _pg
from app.health.probing import Defaults, Outcome, Target, TimedOut, failed, milliseconds_since
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold

KIND = "postgres"
SUMMARY = "a Postgres server answers; connections, slow and blocked queries, size against budget, replication lag"
DEFAULTS = Defaults(interval_seconds=15, timeout_seconds=5, watched_by="watchdog")
READINGS = {
    "latency_ms": "round trip of the smallest query",
    "connect_ms": "time to open a session",
    "connections": "sessions of clients",
    "connections_allowed": "sessions that ordinary clients may have",
    "connections_percent": "the first as a share of the second",
    "slow_queries": "queries running for longer than slow_seconds",
    "blocked_queries": "sessions waiting for a lock",
    "size_mb": "size of the database",
    "size_budget_mb": "the size it may have",
    "size_percent": "the first as a share of the second",
    "replication_lag_s": "how far the slowest replica is behind",
}
THRESHOLDS = {
    "latency_ms": Threshold(warning=50, degraded=450),
    "connections_percent": Threshold(warning=80, degraded=95),
    "size_percent": Threshold(warning=80, degraded=100),
    "replication_lag_s": Threshold(warning=30, degraded=300),
}
ADVICE = {
    "refused": "Start the Postgres server; its own log says why it stopped.",
    "timeout": "Postgres accepts connections but does not answer: look for a frozen process, a full disk, or locks.",
    "auth": "Correct the user or the password in DATABASE_URL.",
    "too_many_connections": "Find who holds the connections (pg_stat_activity), or raise max_connections.",
    "starting": "Wait for the server to finish starting; its own log shows the progress.",
    "latency_ms": "Look for slow or blocking queries (pg_stat_activity) and for disk or CPU pressure.",
    "connections_percent": "Find who holds the connections (pg_stat_activity), or raise max_connections.",
    "size_percent": "Shorten retention, or raise the budget and the disk behind it.",
    "replication_lag_s": "See that the replica keeps up: its network, its disk, long queries on it.",
}
_ACTIVITY = """
    SELECT count(*) FILTER (WHERE backend_type = 'client backend'),
           count(*) FILTER (WHERE state = 'active' AND backend_type = 'client backend'
                              AND clock_timestamp() - query_start > make_interval(secs => %s)),
           count(*) FILTER (WHERE wait_event_type = 'Lock')
      FROM pg_stat_activity WHERE pid <> pg_backend_pid()"""
_SERVER = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
           pg_database_size(current_database()),
           CASE WHEN pg_is_in_recovery()
                THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
                ELSE (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication) END,
           current_setting('server_version')"""
_MB = 1024**2


class Options(BaseOptions):
    """Which server, and what counts as slow."""

    url: SecretStr | None = Field(default=None, description="postgresql:// address; unset: the product's own database")
    slow_seconds: float = Field(default=5, gt=0, description="a query running longer counts as slow")
    size_budget_mb: int = Field(default=51_200, ge=1, description="the size that the database may have")


def probe(target: Target, options: Options) -> Outcome:
    """Latency is the round trip of the smallest query; connecting is a reading of its own."""
    url = options.url.get_secret_value() if options.url else target.database_url
    if url is None:
        return failed("no_address", "the product has no database address: start `smm-admin up` or set DATABASE_URL")
    started = clock.monotonic()
    try:
        with _pg.Session(url, target.deadline()) as session:
            connect_ms = milliseconds_since(started)
            asked = clock.monotonic()
            session.row("SELECT 1")
            latency_ms = milliseconds_since(asked)
            return Outcome({"connect_ms": connect_ms} | _readings(session, options), latency_ms)
    except (psycopg2.Error, TimedOut) as error:
        return Outcome(error=_pg.describe(error, target.timeout_seconds))


def _readings(session: _pg.Session, options: Options) -> dict[str, object]:
    connections, slow, blocked = session.row(_ACTIVITY, (options.slow_seconds,))
    allowed, size, lag, version = session.row(_SERVER)
    readings: dict[str, object] = {
        "connections": connections,
        "connections_allowed": allowed,
        "connections_percent": round(connections / allowed * 100, 1) if allowed > 0 else 100.0,
        "slow_queries": slow,
        "blocked_queries": blocked,
        "size_mb": round(size / _MB, 1),
        "size_budget_mb": options.size_budget_mb,
        "size_percent": round(size / _MB / options.size_budget_mb * 100, 1),
        "version": version,
    }
    return readings if lag is None else readings | {"replication_lag_s": round(float(lag), 1)}
