"""Before anything runs: do the servers answer, and are they new enough?"""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg2
import redis as redis_py

from app import clock
from app.config import Settings
from app.errors import Misconfigured, SmmError, Transient
from app.infra.redis import connect, transient_errors

OLDEST_POSTGRES = 150_000
OLDEST_REDIS = (6, 2)
_PAUSE_SECONDS = 0.5


def require_servers(config: Settings, *, wait_seconds: float) -> None:
    """Wait until both servers answer. Raises Transient when one does not, Misconfigured when one is wrong."""
    deadline = clock.monotonic() + wait_seconds
    for check in (check_postgres, check_redis):
        _until(lambda check=check: check(config), deadline)  # type: ignore[misc]


def check_postgres(config: Settings) -> str:
    """Its version ("18.6"). Raises Transient: no answer; Misconfigured: it refuses us or is too old."""
    url = config.database().replace("postgresql+psycopg2://", "postgresql://", 1)
    try:
        connection = psycopg2.connect(url, connect_timeout=config.db_connect_timeout_seconds)
    except psycopg2.OperationalError as error:
        said = str(error).strip().splitlines()
        words = said[-1] if said else "no reason given"
        if any(hint in words for hint in ("authentication failed", "does not exist", "no password supplied", "pg_hba")):
            raise Misconfigured(f"PostgreSQL refuses DATABASE_URL: {words}") from None
        raise Transient(f"PostgreSQL does not answer: {words}") from None
    try:
        if connection.server_version < OLDEST_POSTGRES:
            raise Misconfigured(f"PostgreSQL {_dotted(connection.server_version)} is too old: 15 or newer is needed")
        return _dotted(connection.server_version)
    finally:
        connection.close()


def check_redis(config: Settings) -> str:
    """Its version ("9.1.2"; Valkey's own). Raises as for PostgreSQL."""
    client = connect(config.redis(), timeout_seconds=5.0)
    try:
        with transient_errors():
            answer = client.info("server")
    except redis_py.ResponseError as error:
        raise Misconfigured(f"Redis refuses REDIS_URL: {error}") from None
    finally:
        client.close()
    found = dict(answer)
    compatible = str(found.get("redis_version", "0"))
    if tuple(int(part) for part in compatible.split(".")[:2]) < OLDEST_REDIS:
        raise Misconfigured(f"Redis {compatible} is too old: 6.2 or newer (or Valkey) is needed")
    return str(found.get("valkey_version", compatible))


def _until(check: Callable[[], object], deadline: float) -> None:
    while True:
        try:
            check()
        except Transient as error:
            if clock.monotonic() >= deadline:
                raise Transient(f"{error}; given up waiting") from None
            time.sleep(_PAUSE_SECONDS)
        except SmmError:
            raise
        else:
            return


def _dotted(version: int) -> str:
    return f"{version // 10_000}.{version % 10_000}"
