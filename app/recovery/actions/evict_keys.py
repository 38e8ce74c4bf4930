"""Evict the longest unused keys of the cache, and of nothing else, until memory is at a target."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.catalog import Catalog, Service
from app.infra import eviction
from app.infra.eviction import Ended, Eviction, Progress, Wanted
from app.infra.redis import PREFIX
from app.infra.text import storable
from app.infra.words import duration
from app.recovery.acting import Again, Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions
from app.recovery.actions import _servers

NAME = "evict_keys"
SUMMARY = "evicts the longest unused keys under a prefix until Redis is below a share of its maxmemory"
EFFECT = Effect.CHANGE
KINDS: tuple[str, ...] = ("redis",)

OUR_CACHE = f"{PREFIX}cache:"
"""The only keys of the product itself that may ever be evicted."""

_GLOB = frozenset("*?[]\\^")
_SHARE_OF_TIME = 0.7
"""Of a try's time that it evicts; the rest is for the answers under way."""
_NEXT_TRY_SECONDS = 1.0


class Options(BaseOptions):
    """Which keys may go, and when it is enough."""

    prefix: str = Field(min_length=1, max_length=200, description="beginning of the keys that may go")
    target_percent: float = Field(
        default=80, gt=0, lt=100, description="share of maxmemory to come down to, in per cent"
    )
    min_idle_seconds: int = Field(default=60, ge=1, description="keys used more lately than that stay")
    max_keys: int = Field(default=1_000_000, ge=1, description="most keys to evict")
    batch: int = Field(default=200, ge=1, le=1000, description="keys evicted at once; others are answered in between")
    pause_ms: float = Field(default=2, ge=0, le=1000, description="milliseconds between batches")
    max_seconds: float = Field(default=300, gt=0, le=3600, description="longest time for all of it")


def says(options: Options, _service: Service) -> str:
    """What it will do."""
    return f"evict idle keys under {options.prefix} down to {options.target_percent:g} % of memory"


def forbidden(options: Options, _service: Service, catalog: Catalog) -> str | None:
    """Only what the catalogue names as a cache, and of the product's own keys only its cache."""
    prefix = options.prefix
    if not prefix or _GLOB & set(prefix):
        return "the prefix of the keys to evict must be a plain beginning of names, without *, ?, [, ], ^ or \\"
    if prefix.startswith(PREFIX) and not prefix.startswith(OUR_CACHE):
        return f"{prefix} lies among the product's own keys, of which only {OUR_CACHE} may be evicted"
    if PREFIX.startswith(prefix):
        return f"{prefix} takes in the product's own keys"
    allowed = [cache for cache in catalog.recovery.cache_prefixes if cache]
    if not any(prefix.startswith(cache) for cache in allowed):
        return f"{prefix} lies under none of recovery.cache_prefixes ({', '.join(allowed) or 'which is empty'})"
    return None


def act(options: Options, work: Work) -> Result:
    """Go on from where the try before this one was."""
    refusal = forbidden(options, work.service, work.catalog)
    return Failed(refusal) if refusal else _servers.on_redis(work, lambda client: _evict(options, work, client))


def _evict(options: Options, work: Work, client: Any) -> Result:
    wanted = Wanted(
        prefix=options.prefix,
        target_percent=options.target_percent,
        min_idle_seconds=options.min_idle_seconds,
        most_keys=options.max_keys,
        batch=options.batch,
        pause_seconds=options.pause_ms / 1000,
    )
    last = work.last_detail
    before = float(last.get("percent_before", 0)) or eviction.memory_of(client).percent
    progress = Progress(**last["progress"]) if "progress" in last else None
    done = eviction.evict(client, wanted, seconds=work.timeout_seconds * _SHARE_OF_TIME, progress=progress)
    text, detail = _text(options, done, before), _detail(done, before)
    elapsed = (work.now - work.began_at).total_seconds()
    if done.ended is Ended.TIME and elapsed < options.max_seconds:
        return Again(_NEXT_TRY_SECONDS, f"{text} so far", detail | {"progress": done.progress.as_dict()})
    return Done(text + _why(options, done), detail)


def _text(options: Options, done: Eviction, before: float) -> str:
    now = done.memory.percent
    if not done.progress.unlinked and done.ended is Ended.TARGET:
        return f"nothing was evicted: memory is at {now:.0f} % of maxmemory already"
    return (
        f"evicted {done.progress.unlinked:,} keys under {storable(options.prefix)},"
        f" memory went from {before:.0f} % to {now:.0f} % of maxmemory"
    )


def _why(options: Options, done: Eviction) -> str:
    """Why it went no further than that."""
    match done.ended:
        case Ended.TARGET:
            return ""
        case Ended.EXHAUSTED:
            return f"; no other has rested for {duration(options.min_idle_seconds)}"
        case Ended.MOST_KEYS:
            return "; it may evict no more"
        case Ended.TIME:
            return "; its time was over"


def _detail(done: Eviction, before: float) -> dict[str, Any]:
    return {
        "evicted": done.progress.unlinked,
        "rounds": done.progress.rounds,
        "ended": str(done.ended),
        "percent_before": round(before, 1),
        "percent_after": round(done.memory.percent, 1),
        "used_bytes": done.memory.used,
        "maxmemory_bytes": done.memory.ceiling,
    }
