"""Is our own engine alive? Part "workers": every queue is served; part "beat": the timetable ticks.

Worker main processes write themselves into a Redis hash every ten seconds; ticks record their runs in Postgres.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import psycopg2
from pydantic import Field

from app import clock
from app.errors import Misconfigured, Transient
from app.health.probes import _pg
from app.health.probing import CannotTell, Defaults, Outcome, Target, TimedOut, failed
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold
from app.infra import queue, redis

KIND = "celery"
SUMMARY = "the engine itself: every queue has a live worker (part workers), the timetable ticks (part beat)"
DEFAULTS = Defaults(interval_seconds=15, timeout_seconds=5, watched_by="watchdog")
READINGS = {
    "workers": "workers alive",
    "queued": "messages waiting in all queues",
    "oldest_seconds": "age of the oldest waiting message",
    "last_tick_seconds": "time since the last tick",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "no_workers": "Start the workers: `smm-admin up`, or the unit that runs them; their own log says why they stopped.",
    "queue_without_worker": "Start the worker of that queue; the Procfile names it.",
    "silent": "Start beat and the worker of the queue `tick`; ticks run nowhere else.",
}


class Options(BaseOptions):
    """Which part of the engine."""

    part: Literal["workers", "beat"] = Field(description="workers, or beat")
    alive_seconds: float = Field(default=30, gt=0, description="a worker or a tick silent for longer is not alive")
    starting_seconds: float = Field(
        default=60, ge=0, description="after the start of its watcher, for so long it may be still starting"
    )


def probe(target: Target, options: Options) -> Outcome | CannotTell:
    """While the server that holds the answer is away nothing is recorded: that server's own check tells of it.

    Nor is anything bad recorded while the engine may still be starting beside its watcher.
    """
    verdict = _beat(target, options) if options.part == "beat" else _workers(target, options)
    if isinstance(verdict, Outcome) and verdict.error is not None and _may_be_starting(target, options):
        return CannotTell(f"still starting: {verdict.error.text}")
    return verdict


def _may_be_starting(target: Target, options: Options) -> bool:
    if target.watched_since is None:
        return False
    return (clock.now() - target.watched_since).total_seconds() < options.starting_seconds


def _beat(target: Target, options: Options) -> Outcome | CannotTell:
    if target.database_url is None:
        return CannotTell("the product has no database address")
    try:
        with _pg.Session(target.database_url, target.deadline()) as session:
            (silence,) = session.row("SELECT extract(epoch FROM now() - max(last_run_at)) FROM schedule")
    except (psycopg2.Error, TimedOut) as error:
        return CannotTell(f"Postgres: {_pg.describe(error, target.timeout_seconds).text}")
    if silence is None:
        return failed("silent", "the timetable has never run")
    readings = {"last_tick_seconds": round(max(0.0, float(silence)), 1)}
    if silence > options.alive_seconds:
        return failed("silent", f"the last tick ran {silence:.0f} s ago", readings=readings)
    return Outcome(readings)


def _workers(target: Target, options: Options) -> Outcome | CannotTell:
    try:
        if target.redis_url is None:
            return CannotTell("the product has no Redis address")
        with (
            redis.transient_errors(),
            redis.connect(target.redis_url, timeout_seconds=target.timeout_seconds) as client,
        ):
            written: Any = client.hgetall(redis.WORKERS_KEY)
        depths = queue.depths()
    except (Transient, Misconfigured) as error:
        return CannotTell(str(error))
    now = clock.now().timestamp()
    alive = {
        name: worker
        for name, text in sorted(written.items())
        if (worker := _worker(text)) is not None and now - worker["at"] < options.alive_seconds
    }
    ages = [depth.oldest_seconds for depth in depths.values() if depth.oldest_seconds is not None]
    readings: dict[str, object] = {
        "workers": len(alive),
        "alive": list(alive),
        "queued": sum(depth.depth for depth in depths.values()),
        "oldest_seconds": round(max(ages), 1) if ages else None,
        "queues": {
            name: {
                "depth": depth.depth,
                "oldest_seconds": None if depth.oldest_seconds is None else round(depth.oldest_seconds, 1),
                "workers": sum(name in worker["queues"] for worker in alive.values()),
            }
            for name, depth in depths.items()
        },
    }
    return _judge(alive, readings)


def _judge(alive: Mapping[str, Mapping[str, Any]], readings: Mapping[str, object]) -> Outcome:
    if not alive:
        return failed("no_workers", "no worker is alive", readings=readings)
    served = {name for worker in alive.values() for name in worker["queues"]}
    if unserved := [name for name in queue.names() if name not in served]:
        return failed("queue_without_worker", f"no live worker serves {', '.join(unserved)}", readings=readings)
    return Outcome(readings)


def _worker(text: str) -> dict[str, Any] | None:
    """A worker's own entry; None when it is damaged, which counts as not alive."""
    try:
        entry = json.loads(text)
        return {"at": float(entry["at"]), "queues": [str(name) for name in entry["queues"]]}
    except (ValueError, KeyError, TypeError):
        return None
