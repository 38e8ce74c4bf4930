"""Is a Redis-protocol server answering, and how is it: memory, hit rate, clients, evictions, persistence, replicas."""

from __future__ import annotations

import math
import re
from typing import Any

import redis
from pydantic import Field, SecretStr

from app import clock
from app.health.probes import _network
from app.health.probing import Defaults, Outcome, Target, TimedOut, failed, milliseconds_since
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold
from app.infra.redis import connect

KIND = "redis"
SUMMARY = "a Redis or Valkey server answers; memory, hit rate, clients, keys, evictions, persistence, replicas"
DEFAULTS = Defaults(interval_seconds=15, timeout_seconds=3, watched_by="watchdog")
READINGS = {
    "latency_ms": "round trip of one PING",
    "memory_mb": "memory in use",
    "maxmemory_mb": "the ceiling, where there is one",
    "memory_percent": "the first as a share of the second",
    "hit_rate": "share of reads that found their key, 0 to 1",
    "clients": "connected clients",
    "blocked_clients": "those that wait for something, as for a message",
    "rejected_connections": "connections refused since the start: too many clients",
    "evictions": "keys evicted since the start",
    "keys": "keys in all databases",
    "fragmentation": "memory taken from the system as a multiple of what is in use",
    "rdb_last_save_age_s": "time since the last snapshot",
    "replicas": "replicas that are connected",
}
THRESHOLDS = {
    "latency_ms": Threshold(warning=50, degraded=450),
    "memory_percent": Threshold(warning=90, degraded=99),
}
ADVICE = {
    "refused": "Start the Redis server; its own log says why it stopped.",
    "timeout": "Redis accepts connections but does not answer: look for a frozen process or slow commands (SLOWLOG).",
    "auth": "Correct the password in REDIS_URL.",
    "loading": "Wait for Redis to finish loading its data from disk.",
    "latency_ms": "Look for slow commands (SLOWLOG GET) and for CPU or network pressure.",
    "replication": "See the primary: its network, its password, whether it runs.",
    "memory_percent": "Raise maxmemory or remove keys: at the ceiling Redis refuses every write.",
    "aof": "Redis cannot write its append-only file and refuses writes: free its disk.",
}
_DATABASE = re.compile(r"db\d+")
_MB = 1024**2


class Options(BaseOptions):
    """Which server."""

    url: SecretStr | None = Field(default=None, description="redis:// address; unset: the product's own server")


def probe(target: Target, options: Options) -> Outcome:
    """Latency is the round trip of one PING on an open connection."""
    url = options.url.get_secret_value() if options.url else target.redis_url
    if url is None:
        return failed("no_address", "the product has no Redis address: start `smm-admin up` or set REDIS_URL")
    try:
        client = connect(url, timeout_seconds=target.timeout_seconds)
    except ValueError:
        return failed("no_address", "the address is not a Redis URL")
    try:
        client.ping()
        asked = clock.monotonic()
        client.ping()
        latency_ms = milliseconds_since(asked)
        return _outcome(client.info(), latency_ms)
    except redis.AuthenticationError:
        return failed("auth", "the password is refused")
    except redis.exceptions.BusyLoadingError:
        return failed("loading", "Redis is loading its data")
    except redis.TimeoutError:
        return Outcome(error=_network.describe(TimedOut(), target.timeout_seconds))
    except redis.ResponseError:
        return failed("refused_command", "Redis refuses PING or INFO")
    except (redis.RedisError, OSError) as error:
        return Outcome(error=_network.describe(error, target.timeout_seconds))
    finally:
        client.close()


def _outcome(info: dict[str, Any], latency_ms: float) -> Outcome:
    readings = _memory(info) | _use(info) | _persistence(info) | _replication(info)
    readings["version"] = str(info.get("valkey_version") or info.get("redis_version", ""))
    bad = []
    if readings["aof"] == "failing":
        bad.append("aof is failing: Redis cannot write its append-only file")
    if info.get("master_link_status", "up") != "up":
        bad.append("replication is broken: this replica has lost its primary")
    return Outcome(readings, latency_ms, degraded="; ".join(bad) or None)


def _memory(info: dict[str, Any]) -> dict[str, object]:
    used, ceiling = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    return {
        "memory_mb": round(used / _MB, 2),
        "maxmemory_mb": round(ceiling / _MB, 2) if ceiling else None,
        "memory_percent": round(used / ceiling * 100, 1) if ceiling else None,
        "maxmemory_policy": str(info.get("maxmemory_policy", "")),
        "fragmentation": _number(info.get("mem_fragmentation_ratio")),
    }


def _use(info: dict[str, Any]) -> dict[str, object]:
    hits, misses = int(info.get("keyspace_hits", 0)), int(info.get("keyspace_misses", 0))
    databases = (found for name, found in info.items() if _DATABASE.fullmatch(name) and isinstance(found, dict))
    return {
        "hit_rate": round(hits / (hits + misses), 4) if hits + misses else None,
        "clients": int(info.get("connected_clients", 0)),
        "blocked_clients": int(info.get("blocked_clients", 0)),
        "rejected_connections": int(info.get("rejected_connections", 0)),
        "evictions": int(info.get("evicted_keys", 0)),
        "keys": sum(int(found.get("keys", 0)) for found in databases),
    }


def _persistence(info: dict[str, Any]) -> dict[str, object]:
    """The age of a snapshot is by the server's own clock, where it tells the time."""
    aof_on, aof_ok = bool(info.get("aof_enabled")), info.get("aof_last_write_status", "ok") == "ok"
    saved = int(info.get("rdb_last_save_time", 0))
    now = int(info.get("server_time_usec", 0)) / 1_000_000 or clock.now().timestamp()
    return {
        "aof": "off" if not aof_on else "ok" if aof_ok else "failing",
        "aof_last_rewrite": str(info.get("aof_last_bgrewrite_status", "")),
        "rdb_last_save_age_s": round(max(0.0, now - saved)) if saved else None,
    }


def _replication(info: dict[str, Any]) -> dict[str, object]:
    return {"role": str(info.get("role", "")), "replicas": int(info.get("connected_slaves", 0))}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
