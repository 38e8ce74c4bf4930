"""Give Redis more memory, up to a ceiling: for when the cache cannot be made smaller.

The new size is decided in a first try, and kept with the step before it is set: a try that repeats another one sets the
same size again instead of raising it twice.
"""

from __future__ import annotations

from typing import Any

import redis
from pydantic import Field

from app.catalog import Catalog, Service
from app.infra import eviction
from app.recovery.acting import Again, Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions
from app.recovery.actions import _servers

NAME = "raise_maxmemory"
SUMMARY = "raises Redis's maxmemory by a step, up to a ceiling; never where it is unset"
EFFECT = Effect.CHANGE
KINDS: tuple[str, ...] = ("redis",)

_MB = 1024**2
_OF_MACHINE = 0.9
"""Of the machine's memory; more is never given."""


class Options(BaseOptions):
    """By how much, and how far."""

    by_mb: int = Field(default=128, ge=1, le=1_048_576, description="MB to add")
    up_to_mb: int = Field(default=512, ge=1, le=16_777_216, description="MB that it never exceeds")
    persist: bool = Field(default=False, description="also write it to the server's own file (CONFIG REWRITE)")


def says(options: Options, _service: Service) -> str:
    """What it will do."""
    return f"raise maxmemory by {options.by_mb} MB, up to {options.up_to_mb} MB"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """The catalogue has no say in it."""
    return None


def act(options: Options, work: Work) -> Result:
    """First decide and keep the decision, then set it."""
    return _servers.on_redis(work, lambda client: _raise(options, work, client))


def _raise(options: Options, work: Work, client: Any) -> Result:
    memory = eviction.memory_of(client)
    decided = work.last_detail.get("to_bytes")
    if decided is None:
        return _decided(options, memory)
    detail = dict(work.last_detail)
    if memory.ceiling < decided:
        if memory.ceiling != work.last_detail.get("from_bytes"):
            return Failed(f"maxmemory was changed meanwhile, to {_mb(memory.ceiling)}: it is left alone", detail)
        refusal = _refused(lambda: client.config_set("maxmemory", decided))
        if refusal is not None:
            return Failed(f"the server does not let maxmemory be changed ({refusal}): change it where it is run")
    kept = _persisted(client) if options.persist else "until the server restarts"
    return Done(f"raised maxmemory from {_mb(detail['from_bytes'])} to {_mb(decided)}, {kept}", detail | {"kept": kept})


def _decided(options: Options, memory: eviction.Memory) -> Result:
    ceiling = options.up_to_mb * _MB
    if not memory.ceiling:
        return Failed("maxmemory is not set, and then it is never touched")
    if memory.ceiling >= ceiling:
        return Failed(
            f"maxmemory is at its ceiling of {options.up_to_mb} MB: a larger server is needed, or less to keep in it",
            {"from_bytes": memory.ceiling, "used_bytes": memory.used},
        )
    to_bytes = min(memory.ceiling + options.by_mb * _MB, ceiling)
    if memory.machine and to_bytes > memory.machine * _OF_MACHINE:
        return Failed(f"the machine has {_mb(memory.machine)} of memory, too little for maxmemory = {_mb(to_bytes)}")
    detail = {"from_bytes": memory.ceiling, "to_bytes": to_bytes, "used_bytes": memory.used}
    return Again(0, f"about to raise maxmemory to {_mb(to_bytes)}", detail)


def _persisted(client: Any) -> str:
    refusal = _refused(client.config_rewrite)
    return "also in its own file" if refusal is None else f"until the server restarts (its file: {refusal})"


def _refused(command: Any) -> str | None:
    """The server's words when it does not take the command."""
    try:
        command()
    except redis.ResponseError as error:
        return "CONFIG is refused" if _servers.is_refusal(error) else _servers.redis_words(error, 0)
    return None


def _mb(size: int) -> str:
    return f"{size / _MB:,.0f} MB"
