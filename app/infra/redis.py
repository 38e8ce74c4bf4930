"""Clients of the Redis-protocol server that holds messages and counters. Every call has a time-out; none retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.config import settings
from app.errors import Misconfigured, Transient

PREFIX = "smm:"
"""Every key of ours starts with it; the broker's too (`global_keyprefix`)."""

WORKERS_KEY = f"{PREFIX}workers"
"""Hash of worker name → JSON with `at` (seconds since 1970), `queues`, `concurrency`; each worker writes its own."""


def connect(url: str, *, timeout_seconds: float = 1.0, decode: bool = True) -> redis.Redis:
    """A client whose every wait ends after `timeout_seconds`, and which tries once. `decode` False: it speaks bytes."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 0),
        decode_responses=decode,
    )


@lru_cache(maxsize=1)
def client() -> Any:
    """The process's client. Typed loosely: redis-py's stubs describe sync and async answers as one union."""
    return connect(settings().redis())


def after_fork() -> None:
    """In a forked child: make a client of our own at next use."""
    client.cache_clear()


@contextmanager
def transient_errors() -> Iterator[None]:
    """Raise Redis's passing troubles as Transient; wrong credentials as Misconfigured. Messages hold no URL."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise Misconfigured("Redis refuses our password") from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Transient(f"Redis: {type(error).__name__}") from error
    except redis.RedisError as error:  # full, loading, read-only, its own disk full (MISCONF), busy with a script
        raise Transient(f"Redis: {type(error).__name__}: {str(error).partition(' ')[0]}") from error
