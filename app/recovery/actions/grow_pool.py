"""Let the product's web processes keep more database connections, within what the server allows."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.catalog import Catalog, Service
from app.config import settings
from app.health.probes import _pg
from app.infra import pool_size
from app.infra.pool_size import LARGEST, SESSIONS, Wish
from app.infra.words import duration
from app.recovery.acting import Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions
from app.recovery.actions import _servers

NAME = "grow_pool"
SUMMARY = "lets the product's web processes keep more database connections, up to a ceiling, for a while"
EFFECT = Effect.CHANGE
KINDS: tuple[str, ...] = ("postgres",)

_CONNECTIONS = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),
           count(*) FILTER (WHERE application_name IS DISTINCT FROM %s),
           count(DISTINCT coalesce(client_addr::text, '')) FILTER (WHERE application_name = %s)
      FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""


class Options(BaseOptions):
    """By how much, how far, and for how long."""

    by: int = Field(default=5, ge=1, le=LARGEST, description="connections to add to each web process's pool")
    up_to: int = Field(default=20, ge=1, le=LARGEST, description="connections that a pool never exceeds")
    reserve: int = Field(default=10, ge=0, description="connections of the server that are left to others")
    hours: float = Field(default=24, gt=0, le=720, description="hours after which the pool is as it was")
    reset: bool = Field(default=False, description="true: back to SMM_DB_POOL_SIZE now, and nothing else")


def says(options: Options, _service: Service) -> str:
    """What it will do."""
    if options.reset:
        return "give the web process's connection pool its own size again"
    return f"grow the web process's connection pool by {options.by}, up to {options.up_to}"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """The catalogue has no say in it."""
    return None


def act(options: Options, work: Work) -> Result:
    """The wish goes through Redis; the database is only asked how much room there is."""
    given = _servers.given_url(work)
    if given is not None and given != work.target.database_url:
        return Failed(f"{work.service.name} is not the product's own database: there is no pool of it to grow")
    return _servers.on_products_redis(work, lambda client: _resized(options, work, client))


def _resized(options: Options, work: Work, client: Any) -> Result:
    if options.reset:
        told = pool_size.withdraw(client)
        return Done("the pool has its own size again" if told else "the pool had its own size")
    wish = pool_size.wished(client)
    own = settings().db_pool_size
    now = max(own, wish.size) if wish else own
    if wish is not None and wish.by == work.key:
        return _done(options, wish)
    if now >= options.up_to:
        return Failed(
            f"the pool is at its ceiling of {options.up_to} connections: see who holds them, and for how long"
        )
    return _servers.on_postgres(
        work, lambda session: _grown(options, work, client, session, now), seconds=min(5.0, work.timeout_seconds / 2)
    )


def _grown(options: Options, work: Work, client: Any, session: _pg.Session, now: int) -> Result:
    """A pool of so many connections may have as many again under load, and each web process has one."""
    allowed, others, processes = session.row(_CONNECTIONS, (SESSIONS, SESSIONS))
    room = (allowed - others - options.reserve) // (2 * max(1, processes))
    size = min(now + options.by, options.up_to, room)
    detail = {"connections_allowed": allowed, "of_others": others, "web_processes": processes, "before": now}
    if size <= now:
        return Failed(f"the server allows {allowed} connections and others hold {others}: there is no room", detail)
    wish = Wish(size=size, by=work.key, before=now)
    pool_size.wish(client, wish, seconds=round(options.hours * 3600))
    return _done(options, wish, detail)


def _done(options: Options, wish: Wish, detail: dict[str, Any] | None = None) -> Done:
    lasting = duration(options.hours * 3600)
    text = f"grew the web process's pool from {wish.before} to {wish.size} connections, for {lasting}"
    return Done(text, (detail or {"before": wish.before}) | {"after": wish.size})
