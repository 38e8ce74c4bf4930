"""The Redis or Postgres server that a step is about: the service's own address, else the product's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import redis
from pydantic import SecretStr

from app.errors import SmmError
from app.health.probes import _pg
from app.health.probing import Deadline, TimedOut
from app.infra.redis import connect
from app.infra.scrub import scrub_text
from app.recovery.acting import Failed, Result, Work

LONGEST_WAIT = 5.0
"""Seconds for one answer of Redis."""

_REFUSED = ("unknown command", "unknown subcommand", "not allowed")


def given_url(work: Work) -> str | None:
    """The address in the service's own options; None: it is the product's server."""
    url = getattr(work.spec.options, "url", None)
    return url.get_secret_value() if isinstance(url, SecretStr) else None


def on_redis(work: Work, do: Callable[[Any], Result]) -> Result:
    """`do` with a client that speaks bytes, each of its waits bounded; Redis's troubles as a failure in words."""
    return _on_redis(work, given_url(work) or work.target.redis_url, do)


def on_products_redis(work: Work, do: Callable[[Any], Result]) -> Result:
    """The same for the product's own server, whatever the step's service is."""
    return _on_redis(work, work.target.redis_url, do)


def _on_redis(work: Work, url: str | None, do: Callable[[Any], Result]) -> Result:
    if url is None:
        return Failed("the product has no Redis address")
    seconds = min(LONGEST_WAIT, work.timeout_seconds / 4)
    try:
        client = connect(url, timeout_seconds=seconds, decode=False)
    except ValueError:
        return Failed("the address is not a Redis URL")
    try:
        return do(client)
    except SmmError as error:
        return Failed(str(error))
    except (redis.RedisError, OSError) as error:
        return Failed(redis_words(error, seconds))
    finally:
        client.close()


def redis_words(error: Exception, seconds: float) -> str:
    """A failure of Redis without addresses: its own words where it has spoken."""
    match error:
        case redis.AuthenticationError():
            return "Redis refuses the password"
        case redis.exceptions.BusyLoadingError():
            return "Redis is loading its data"
        case redis.TimeoutError() | TimeoutError():
            return f"Redis did not answer within {seconds:g} s"
        case redis.ReadOnlyError():
            return "Redis is a replica: it takes no writes"
        case redis.ResponseError():
            return f"Redis answers: {scrub_text(str(error))[:200]}"
    refused = isinstance(error.__cause__ or error.__context__, ConnectionRefusedError) or "refused" in str(error)
    return "Redis refuses connections" if refused else f"Redis cannot be reached: {type(error).__name__}"


def is_refusal(error: redis.ResponseError) -> bool:
    """Does the server not let this command be used? Managed ones often do not."""
    said = str(error).lower()
    return isinstance(error, redis.exceptions.NoPermissionError) or any(words in said for words in _REFUSED)


def on_postgres(work: Work, do: Callable[[_pg.Session], Result], *, seconds: float) -> Result:
    """`do` with a session that ends after `seconds` in all; Postgres's troubles as a failure in words."""
    url = given_url(work) or work.target.database_url
    if url is None:
        return Failed("the product has no database address")
    try:
        with _pg.Session(url, Deadline(seconds)) as session:
            return do(session)
    except (psycopg2.Error, TimedOut) as error:
        return Failed(f"Postgres: {_pg.describe(error, seconds).text}")
