"""The relay's SQL. Every query takes only rows that no one else holds, and none commits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.infra.db import UnitOfWork, execute_once
from app.jobs.core import PRIORITIES

LAPSED_FOR_SECONDS = 2.0
"""Grace past a lease: a renewal that is on its way counts."""


_SURVEY = """
SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'running' AND lease_until < now() - make_interval(secs => :grace))
         AS lapsed,
       EXISTS (SELECT 1 FROM jobs WHERE expires_at <= now() AND state IN ('scheduled', 'rung')) AS expired,
       EXISTS (SELECT 1 FROM jobs WHERE state = 'scheduled' AND not_before <= now()) AS due,
       EXISTS (SELECT 1 FROM jobs WHERE state = 'rung' AND rung_at < now() - make_interval(secs => :wait)) AS quiet
"""


def survey(*, first_wait_seconds: float) -> Any:
    """What there may be to do, in one round trip: an idle relay looks once a second and does nothing else."""
    return execute_once(_SURVEY, grace=LAPSED_FOR_SECONDS, wait=first_wait_seconds)[0]


def lock_lapsed(uow: UnitOfWork, *, limit: int) -> list[Any]:
    """Running jobs whose lease ran out."""
    return list(
        uow.execute(
            "SELECT id, task, queue, key, attempt, max_attempts, worker, cancel_requested FROM jobs"
            " WHERE state = 'running' AND lease_until < now() - make_interval(secs => :grace)"
            " ORDER BY lease_until LIMIT :limit FOR UPDATE SKIP LOCKED",
            grace=LAPSED_FOR_SECONDS,
            limit=limit,
        )
    )


def lock_expired(uow: UnitOfWork, *, limit: int) -> list[Any]:
    """Waiting jobs whose expires_at is past."""
    return list(
        uow.execute(
            "SELECT id, queue FROM jobs WHERE expires_at <= now() AND state IN ('scheduled', 'rung')"
            " ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED",
            limit=limit,
        )
    )


# Per queue: as many of the due as the bound leaves room for, by priority and then by age. One range of the index per
# priority, so that jobs due next week cost nothing today. MATERIALIZED: else room is counted again for every job.
_RING_DUE = """
WITH room AS MATERIALIZED (
  SELECT q.queue, :bound - (SELECT count(*) FROM (
           SELECT 1 FROM jobs j WHERE j.queue = q.queue AND j.state = 'rung' LIMIT :bound) AS rung) AS free
  FROM unnest(CAST(:queues AS text[])) AS q(queue)
  WHERE NOT EXISTS (SELECT 1 FROM queue_pauses p WHERE p.queue = q.queue)
), candidates AS (
  SELECT room.queue, room.free, j.id, j.priority, j.not_before
  FROM room CROSS JOIN unnest(CAST(:priorities AS smallint[])) AS p(priority) CROSS JOIN LATERAL (
    SELECT id, priority, not_before FROM jobs
    WHERE queue = room.queue AND state = 'scheduled' AND jobs.priority = p.priority AND not_before <= now()
      AND (expires_at IS NULL OR expires_at > now())
    ORDER BY not_before LIMIT greatest(room.free, 0) FOR UPDATE SKIP LOCKED
  ) AS j
), due AS (
  SELECT id FROM (
    SELECT id, free, row_number() OVER (PARTITION BY queue ORDER BY priority, not_before, id) AS turn FROM candidates
  ) AS ranked WHERE turn <= free
)
UPDATE jobs SET state = 'rung', ring_count = 1, rung_at = clock_timestamp()
FROM due WHERE jobs.id = due.id
RETURNING jobs.id, task, queue, priority, not_before
"""


def take_turn(uow: UnitOfWork) -> None:
    """Be the only one who rings what is due until this transaction ends."""
    uow.execute("SELECT pg_advisory_xact_lock(hashtext('jobs:ring due'))")


def ring_due(uow: UnitOfWork, *, queues: Sequence[str], bound: int) -> list[Any]:
    """Mark the due jobs that may be rung as rung."""
    return list(uow.execute(_RING_DUE, queues=list(queues), bound=bound, priorities=PRIORITIES))


_ROOM = """
SELECT q.queue, CASE WHEN EXISTS (SELECT 1 FROM queue_pauses p WHERE p.queue = q.queue) THEN 0 ELSE
    greatest(:bound - (SELECT count(*) FROM (
      SELECT 1 FROM jobs j WHERE j.queue = q.queue AND j.state = 'rung' LIMIT :bound) AS rung) - (
      SELECT count(*) FROM (
      SELECT 1 FROM jobs j WHERE j.queue = q.queue AND j.state = 'scheduled'
         AND j.priority = ANY(CAST(:priorities AS smallint[])) AND j.not_before <= now() LIMIT :bound) AS due), 0)
    END AS room
FROM unnest(CAST(:queues AS text[])) AS q(queue)
"""


def room_per_queue(queues: Sequence[str], *, bound: int) -> dict[str, int]:
    """How many more jobs each queue's workers can be told of: none while it is paused."""
    rows = execute_once(_ROOM, queues=list(queues), bound=bound, priorities=PRIORITIES)
    return {row.queue: row.room for row in rows}


def rung_per_queue(uow: UnitOfWork, queues: Sequence[str]) -> dict[str, int]:
    """How many jobs are rung and unclaimed in each queue that is not paused."""
    rows = uow.execute(
        "SELECT queue, count(*) AS rung FROM jobs WHERE state = 'rung' AND queue = ANY(CAST(:queues AS text[]))"
        " AND NOT EXISTS (SELECT 1 FROM queue_pauses p WHERE p.queue = jobs.queue) GROUP BY queue",
        queues=list(queues),
    )
    return {row.queue: row.rung for row in rows}


# Doubling from the first wait to 64 times it.
_RING_AGAIN = """
WITH quiet AS (
  SELECT id FROM jobs WHERE queue = :queue AND state = 'rung'
    AND rung_at < now() - make_interval(secs => :wait * power(2, least(ring_count - 1, 6)))
  ORDER BY rung_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET ring_count = ring_count + 1, rung_at = clock_timestamp()
FROM quiet WHERE jobs.id = quiet.id
RETURNING jobs.id, task, queue, priority, not_before
"""


def ring_again(uow: UnitOfWork, *, queue: str, limit: int, first_wait_seconds: float) -> list[Any]:
    """Mark the longest-rung unclaimed jobs of a queue as rung once more, each after its own back-off."""
    return list(uow.execute(_RING_AGAIN, queue=queue, limit=limit, wait=first_wait_seconds))
