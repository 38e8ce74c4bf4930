"""What a scrape reads of the engine: the ledger and the timetable in Postgres, the queues in Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from prometheus_client.core import Metric
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.errors import NotFound
from app.infra import db, queue, redis
from app.infra.metrics.families import gauge
from app.jobs import counting, schedule
from app.jobs.core import UNFINISHED

STATEMENT_MS = 1500
"""A scrape gives up on a slow database before Prometheus gives up on the scrape."""

COUNTED_MOST = 25_000
"""Where counting for a scrape ends: above the 20,000 due jobs of which the alert on a backlog speaks."""

WORKER_ALIVE_SECONDS = 30.0
"""Three of the ten seconds after which a living worker says again that it is here."""

_PAUSED = "SELECT queue FROM queue_pauses"
_SCHEDULE = """
SELECT name, paused_at IS NOT NULL AS paused, extract(epoch FROM now() - last_run_at)::float8 AS age_seconds,
       extract(epoch FROM now() - next_due_at)::float8 AS late_seconds
FROM schedule
"""


def ledger() -> Iterator[Metric]:
    """Jobs by queue and state, dead ones, pauses, and the timetable. Raises Transient without Postgres."""
    with db.read_only() as session:
        session.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_MS}"))
        yield from _jobs(session)
        yield from _schedule(session)


def _jobs(session: Session) -> Iterator[Metric]:
    jobs: dict[tuple[str, str], float] = dict.fromkeys(product(queue.names(), UNFINISHED), 0.0)
    none = dict.fromkeys(((name,) for name in queue.names()), 0.0)
    due, oldest = dict(none), dict(none)
    jobs |= counting.counts(session, most=COUNTED_MOST)
    for name, waiting in counting.due(session, most=COUNTED_MOST).items():
        due[(name,)], oldest[(name,)] = waiting.jobs, waiting.oldest_seconds
    dead = none | {(name,): number for name, number in counting.dead(session, most=COUNTED_MOST).items()}
    paused = none | {(row.queue,): 1.0 for row in session.execute(text(_PAUSED))}
    yield gauge("smm_jobs", "Unfinished jobs, each number up to 25,000.", ("queue", "state"), jobs.items())
    yield gauge("smm_due_jobs", "Jobs that wait although due, up to 25,000.", ("queue",), due.items())
    yield gauge(
        "smm_oldest_due_job_age_seconds",
        "How long the job waiting longest past its time has waited; 0 when none is due.",
        ("queue",),
        oldest.items(),
    )
    yield gauge("smm_dead_jobs", "Jobs that were given up: of the newest 25,000.", ("queue",), dead.items())
    yield gauge("smm_queue_paused", "1 while an operator has paused the queue.", ("queue",), paused.items())


def _schedule(session: Session) -> Iterator[Metric]:
    rows = session.execute(text(_SCHEDULE)).all()
    yield gauge(
        "smm_schedule_last_run_age_seconds",
        "Time since an entry of the timetable last ran.",
        ("entry",),
        [((row.name,), row.age_seconds) for row in rows],
    )
    yield gauge(
        "smm_schedule_overdue_seconds",
        "How late an entry of the timetable is; 0 when it is not due, or paused.",
        ("entry",),
        [((row.name,), _overdue(row)) for row in rows],
    )
    yield gauge(
        "smm_schedule_paused",
        "1 while an operator has paused the entry.",
        ("entry",),
        [((row.name,), float(row.paused)) for row in rows],
    )


def _overdue(row: Any) -> float | None:
    """Seconds past a dated entry's due time, or past an interval entry's next run; None before its first run."""
    try:
        entry = schedule.entry(row.name)
    except NotFound:
        return None
    if row.paused:
        return 0.0
    if isinstance(entry, schedule.Every):
        return None if row.age_seconds is None else max(0.0, row.age_seconds - entry.seconds)
    return None if row.late_seconds is None else max(0.0, row.late_seconds)


def wire() -> Iterator[Metric]:
    """Messages in Redis: waiting over all priorities, and held by workers. Raises Transient without Redis."""
    depths = queue.depths()
    unacked = queue.unacked()
    with redis.transient_errors():
        present = redis.client().hgetall(redis.WORKERS_KEY)
    yield gauge(
        "smm_queue_messages",
        "Messages waiting in Redis, over all priorities.",
        ("queue",),
        [((name,), depth.depth) for name, depth in depths.items()],
    )
    yield gauge(
        "smm_queue_oldest_message_age_seconds",
        "Age of the oldest waiting message; 0 in an empty queue.",
        ("queue",),
        [((name,), depth.oldest_seconds if depth.depth else 0.0) for name, depth in depths.items()],
    )
    yield gauge("smm_unacked_messages", "Messages that workers hold and have not acknowledged.", (), [((), unacked)])
    yield from workers(present, now=clock.now().timestamp())


def workers(present: Mapping[str, str], *, now: float) -> Iterator[Metric]:
    """Workers and their children by queue, and how long ago each worker was heard. `present`: see redis.WORKERS_KEY."""
    alive = dict.fromkeys(((name,) for name in queue.names()), 0.0)
    children = dict(alive)
    ages: dict[tuple[str, ...], float] = {}
    for name, said in present.items():
        try:
            worker = json.loads(said)
            at, queues, concurrency = float(worker["at"]), list(worker["queues"]), int(worker["concurrency"])
        except (ValueError, KeyError, TypeError):
            continue  # another version's way of saying it
        ages[(name,)] = max(0.0, now - at)
        if ages[(name,)] > WORKER_ALIVE_SECONDS:
            continue
        for served in queues:
            alive[(served,)] = alive.get((served,), 0.0) + 1
            children[(served,)] = children.get((served,), 0.0) + concurrency
    yield gauge("smm_workers", "Workers heard in the last 30 s, by queue.", ("queue",), alive.items())
    yield gauge("smm_worker_children", "Processes of these workers that run tasks.", ("queue",), children.items())
    yield gauge("smm_worker_heard_age_seconds", "Time since a worker was heard.", ("worker",), ages.items())
