"""Keep what a slow server is busy with: to be read when the trouble is long over."""

from __future__ import annotations

from pydantic import Field

from app.catalog import Catalog, Service
from app.recovery.acting import Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions
from app.recovery.actions import _commands, _queries, _servers

NAME = "capture_queries"
SUMMARY = "keeps the slow and the blocking queries of a Postgres, the slow commands and the clients of a Redis"
EFFECT = Effect.NONE
KINDS: tuple[str, ...] = ("postgres", "redis")

_LONGEST_SECONDS = 10.0


class Options(BaseOptions):
    """What counts as slow, and how much is kept."""

    slow_seconds: float = Field(default=1, ge=0, le=3600, description="Postgres: a query running longer is slow")
    rows: int = Field(default=30, ge=1, le=50, description="most sessions or commands that are kept")


def says(_options: Options, service: Service) -> str:
    """What it will do."""
    return f"record the slow and blocking {'commands' if service.kind == 'redis' else 'queries'} of {service.name}"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """Looking is never forbidden."""
    return None


def act(options: Options, work: Work) -> Result:
    """What can be had within the time. Where the server lets nobody in, what the last probe knew is kept."""
    if work.service.kind == "redis":
        found = _servers.on_redis(work, lambda client: _commands.captured(client, rows=options.rows))
    else:
        found = _servers.on_postgres(
            work,
            lambda session: _queries.captured(session, slow_seconds=options.slow_seconds, rows=options.rows),
            seconds=min(_LONGEST_SECONDS, work.timeout_seconds * 0.8),
        )
    if isinstance(found, Failed):
        facts = work.run.values.get("facts")
        known = facts.get("readings") if isinstance(facts, dict) else None
        return Failed(f"nothing could be recorded: {found.text}", {"readings_of_last_probe": known} if known else {})
    return found
