"""Is a Postgres server answering, and how is it: connections, slow and blocked queries, size, replication.

The size is a walk over the database's files and is read seldom: each process keeps the last one for `deep_seconds`.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg2
from pydantic import Field, SecretStr

from app import clock
from app.health.probes import _pg
from app.health.probing import Defaults, Outcome, Target, TimedOut, failed, milliseconds_since
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold
from app.infra.pool_size import SESSIONS

KIND = "postgres"
SUMMARY = (
    "a Postgres server answers; connections, slow and blocked queries, idle transactions, cache, size against budget,"
    " replicas"
)
DEFAULTS = Defaults(interval_seconds=15, timeout_seconds=5, watched_by="watchdog")
READINGS = {
    "latency_ms": "round trip of the smallest query",
    "connect_ms": "time to open a session",
    "connections": "sessions of clients",
    "connections_allowed": "sessions that ordinary clients may have",
    "connections_percent": "the first as a share of the second",
    "slow_queries": "queries running for longer than slow_seconds",
    "longest_query_s": "how long the query that runs for longest has run",
    "blocked_queries": "sessions waiting for a lock",
    "longest_blocked_s": "how long the one that waits for longest has been at its query",
    "idle_in_transaction": "sessions that have a transaction open and do nothing",
    "longest_idle_in_transaction_s": "how long the longest of them has done nothing",
    "pool_connections": "of the product's own database: connections of web processes",
    "pool_in_use": "those of them that are in use",
    "deadlocks": "deadlocks in this database since its statistics began",
    "cache_hit_rate": "share of blocks that were found in memory, 0 to 1",
    "size_mb": "size of the database",
    "size_budget_mb": "the size it may have",
    "size_percent": "the first as a share of the second",
    "replicas": "replicas that are connected",
    "replication_lag_s": "how far the slowest replica is behind; of a replica, how far it is itself",
}
THRESHOLDS = {
    "latency_ms": Threshold(warning=50, degraded=450),
    "connections_percent": Threshold(warning=80, degraded=95),
    "blocked_queries": Threshold(warning=5, degraded=20),
    "longest_blocked_s": Threshold(warning=30, degraded=300),
    "longest_idle_in_transaction_s": Threshold(warning=300, degraded=3600),
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
    "blocked_queries": "Find who holds the lock (pg_blocking_pids) and end that transaction.",
    "longest_blocked_s": "Find who holds the lock (pg_blocking_pids) and end that transaction.",
    "longest_idle_in_transaction_s": "Find the session (pg_stat_activity) and let its program end its transaction.",
    "size_percent": "Shorten retention, or raise the budget and the disk behind it.",
    "replication_lag_s": "See that the replica keeps up: its network, its disk, long queries on it.",
}
_ACTIVITY = """
    SELECT count(*) FILTER (WHERE client),
           count(*) FILTER (WHERE client AND state = 'active' AND query_seconds > %s),
           max(query_seconds) FILTER (WHERE client AND state = 'active'),
           count(*) FILTER (WHERE blocked),
           max(query_seconds) FILTER (WHERE blocked),
           count(*) FILTER (WHERE state LIKE 'idle in transaction%%'),
           max(state_seconds) FILTER (WHERE state LIKE 'idle in transaction%%'),
           count(*) FILTER (WHERE application_name = %s),
           count(*) FILTER (WHERE application_name = %s AND state <> 'idle'),
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      FROM (SELECT state, application_name,
                   backend_type = 'client backend' AS client, wait_event_type = 'Lock' AS blocked,
                   extract(epoch FROM clock_timestamp() - query_start)::float8 AS query_seconds,
                   extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_seconds
              FROM pg_stat_activity WHERE pid <> pg_backend_pid()) AS sessions"""
_SERVER = """
    SELECT (SELECT count(*) FROM pg_stat_replication),
           CASE WHEN pg_is_in_recovery()
                THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
                ELSE (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication) END,
           deadlocks, blks_hit, blks_hit + blks_read, current_setting('server_version')
      FROM pg_stat_database WHERE datname = current_database()"""
_SIZE = "SELECT pg_database_size(current_database())"
_MB = 1024**2


@dataclass(frozen=True, slots=True)
class _Size:
    """A database's size and the monotonic moment at which it was read."""

    bytes: int
    read_at: float


_sizes: dict[tuple[str, str], _Size] = {}
"""The last ones of this process, by the service's name and its address."""


class Options(BaseOptions):
    """Which server, and what counts as slow."""

    url: SecretStr | None = Field(default=None, description="postgresql:// address; unset: the product's own database")
    slow_seconds: float = Field(default=5, gt=0, description="a query running longer counts as slow")
    size_budget_mb: int = Field(default=51_200, ge=1, description="the size that the database may have")
    deep_seconds: float = Field(default=30, ge=0, description="the database's size is read no more often than this")


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
            readings = {"connect_ms": connect_ms} | _now(session, options) | _so_far(session)
            return Outcome(readings | _size(session, options, (target.name, url)), latency_ms)
    except (psycopg2.Error, TimedOut) as error:
        return Outcome(error=_pg.describe(error, target.timeout_seconds))


def _now(session: _pg.Session, options: Options) -> dict[str, object]:
    """What the sessions are doing."""
    connections, slow, longest, blocked, blocked_s, idle, idle_s, pool, used, allowed = session.row(
        _ACTIVITY, (options.slow_seconds, SESSIONS, SESSIONS)
    )
    readings: dict[str, object] = {
        "connections": connections,
        "connections_allowed": allowed,
        "connections_percent": round(connections / allowed * 100, 1) if allowed > 0 else 100.0,
        "slow_queries": slow,
        "longest_query_s": _seconds(longest),
        "blocked_queries": blocked,
        "longest_blocked_s": _seconds(blocked_s),
        "idle_in_transaction": idle,
        "longest_idle_in_transaction_s": _seconds(idle_s),
    }
    return readings if options.url is not None else readings | {"pool_connections": pool, "pool_in_use": used}


def _so_far(session: _pg.Session) -> dict[str, object]:
    """What the server has counted, and its replicas."""
    replicas, lag, deadlocks, hits, reads, version = session.row(_SERVER)
    readings: dict[str, object] = {"replicas": replicas, "deadlocks": deadlocks, "version": version}
    if reads:
        readings["cache_hit_rate"] = round(hits / reads, 4)
    return readings if lag is None else readings | {"replication_lag_s": round(float(lag), 1)}


def _size(session: _pg.Session, options: Options, key: tuple[str, str]) -> dict[str, object]:
    known = _sizes.get(key)
    if known is None or clock.monotonic() - known.read_at >= options.deep_seconds:
        (size,) = session.row(_SIZE)
        _sizes[key] = known = _Size(size, clock.monotonic())
    megabytes = known.bytes / _MB
    return {
        "size_mb": round(megabytes, 1),
        "size_budget_mb": options.size_budget_mb,
        "size_percent": round(megabytes / options.size_budget_mb * 100, 1),
    }


def _seconds(value: float | None) -> float:
    """How long the longest has taken; 0 where there is none."""
    return round(max(0.0, value or 0.0), 1)
