"""Is our own engine alive? Parts: "workers", queues are served; "beat", the timetable ticks; "alerts", people are told.

Worker main processes write themselves into a Redis hash every ten seconds; ticks record their runs in Postgres.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import psycopg2
from psycopg2.errors import QueryCanceled
from pydantic import Field

from app import clock
from app.errors import Misconfigured, Transient
from app.health import alerting
from app.health.probes import _pg
from app.health.probing import CannotTell, Defaults, Outcome, Target, TimedOut, failed
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold
from app.infra import queue, redis

KIND = "celery"
SUMMARY = (
    "the engine itself: every queue has a live worker (part workers), the timetable ticks (part beat), alerts are"
    " grouped, sent and escalated in time (part alerts)"
)
DEFAULTS = Defaults(interval_seconds=15, timeout_seconds=5, watched_by="watchdog")
READINGS = {
    "workers": "workers alive",
    "queued": "messages waiting in all queues",
    "oldest_seconds": "age of the oldest waiting message",
    "last_tick_seconds": "time since the last tick",
    "overdue_seconds": "how long the alert that is due for longest has been so",
    "waiting_seconds": "how long the oldest notification has waited for its first try",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "no_workers": "Start the workers: `smm-admin up`, or the unit that runs them; their own log says why they stopped.",
    "queue_without_worker": "Start the worker of that queue; the Procfile names it.",
    "silent": "Start beat and the worker of the queue `tick`; ticks run nowhere else.",
    "overdue": "Read the last error of alert-tick: `smm-admin schedule list`.",
    "unsent": "See that the worker of the queue `critical` runs and that the queue is not paused.",
    "paused": "Resume it: `smm-admin schedule resume alert-tick`; until then nobody is told of anything.",
    "uncounted": "See what loads Postgres; whether alerts are late cannot be told.",
}


class Options(BaseOptions):
    """Which part of the engine."""

    part: Literal["workers", "beat", "alerts"] = Field(description="workers, beat, or alerts")
    alive_seconds: float = Field(default=30, gt=0, description="a worker or a tick silent for longer is not alive")
    starting_seconds: float = Field(
        default=60, ge=0, description="after the start of its watcher, for so long it may be still starting"
    )
    overdue_seconds: float = Field(default=60, gt=0, description="part alerts: longest delay of an alert that is due")
    waiting_seconds: float = Field(
        default=120, gt=0, description="part alerts: longest wait of a notification for its first try"
    )


def probe(target: Target, options: Options) -> Outcome | CannotTell:
    """While the server that holds the answer is away nothing is recorded: that server's own check tells of it.

    Nor is anything bad recorded while the engine may still be starting beside its watcher.
    """
    verdict = _PARTS[options.part](target, options)
    if isinstance(verdict, Outcome) and verdict.error is not None and _may_be_starting(target, options):
        return CannotTell(f"still starting: {verdict.error.text}")
    return verdict


def _may_be_starting(target: Target, options: Options) -> bool:
    if target.watched_since is None:
        return False
    return (clock.now() - target.watched_since).total_seconds() < options.starting_seconds


@contextmanager
def _database(target: Target) -> Iterator[_pg.Session]:
    """A session; what is wrong with it or with what is asked there is raised as _Away."""
    if target.database_url is None:
        raise _Away("the product has no database address")
    try:
        with _pg.Session(target.database_url, target.deadline()) as session:
            yield session
    except (psycopg2.Error, TimedOut) as error:
        raise _Away(f"Postgres: {_pg.describe(error, target.timeout_seconds).text}") from error


class _Away(Exception):
    """Postgres does not answer."""


def _beat(target: Target, options: Options) -> Outcome | CannotTell:
    try:
        with _database(target) as session:
            (silence,) = session.row("SELECT extract(epoch FROM now() - max(last_run_at)) FROM schedule")
    except _Away as away:
        return CannotTell(str(away))
    if silence is None:
        return failed("silent", "the timetable has never run")
    readings = {"last_tick_seconds": round(max(0.0, float(silence)), 1)}
    if silence > options.alive_seconds:
        return failed("silent", f"the last tick ran {silence:.0f} s ago", readings=readings)
    return Outcome(readings)


def _alerts(target: Target, options: Options) -> Outcome | CannotTell:
    """Late work that cannot be counted in time degrades the answer and does not become it: the tick is known."""
    try:
        with _database(target) as session:
            tick = alerting.Tick(*session.row(alerting.TICK))
            work = _work(session, target)
    except _Away as away:
        return CannotTell(str(away))
    counted = work or alerting.Work()
    readings = {
        name: round(max(0.0, seconds), 1)
        for name, seconds in (
            ("last_tick_seconds", tick.seconds),
            ("overdue_seconds", counted.overdue_seconds),
            ("waiting_seconds", counted.waiting_seconds),
        )
        if seconds is not None
    }
    limits = alerting.Limits(options.alive_seconds, options.overdue_seconds, options.waiting_seconds)
    wrong = next(alerting.findings(tick, counted, limits), None)
    if wrong is not None:
        return failed(wrong.code, wrong.text, readings=readings)
    stopped = alerting.paused(tick)
    if stopped is not None:
        return Outcome(readings, degraded=stopped.text)
    return Outcome(readings, degraded="uncounted: late alerts could not be counted in time" if work is None else None)


def _work(session: _pg.Session, target: Target) -> alerting.Work | None:
    """What is late; None when Postgres takes more than half of the probe's time to say so."""
    half = f"{int(target.timeout_seconds * 500)}ms"
    session.row("SELECT set_config('statement_timeout', %s, false)", (half,))
    try:
        return alerting.Work(*session.row(alerting.WORK))
    except QueryCanceled:
        return None


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


_PARTS = {"workers": _workers, "beat": _beat, "alerts": _alerts}


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
