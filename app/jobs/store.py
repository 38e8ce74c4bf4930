"""The ledger's SQL. Nothing here commits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.infra.db import UnitOfWork, execute_once
from app.jobs.core import PRIORITIES, JobState, Priority

# A keyed job that is already waiting is locked, not merely found: its claim waits for our commit, so the run it
# stands for sees what we wrote. Room is what the queue's bound on doorbells leaves; high priority has a tenth more.
# Nobody overtakes what is due, waits for the relay, and is as urgent.
# MATERIALIZED: else room is counted again for every row, and 10,000 rows ran into the statement time-out.
_INSERT = """
WITH given AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    place int, id uuid, task text, queue text, priority smallint, kwargs jsonb, key text, not_before timestamptz,
    expires_at timestamptz, max_attempts int, callback jsonb, caller text, request_id text)
), room AS MATERIALIZED (
  SELECT queue, EXISTS (SELECT 1 FROM queue_pauses p WHERE p.queue = q.queue) AS paused, :bound - (
      SELECT count(*) FROM (
        SELECT 1 FROM jobs j WHERE j.queue = q.queue AND j.state = 'rung' LIMIT :bound + :bound / 10) AS rung
    ) AS free,
    (SELECT min(p.priority) FROM unnest(CAST(:priorities AS smallint[])) AS p(priority) WHERE EXISTS (
        SELECT 1 FROM jobs j WHERE j.queue = q.queue AND j.state = 'scheduled' AND j.priority = p.priority
          AND j.not_before <= now())) AS waiting
  FROM (SELECT DISTINCT queue FROM given) AS q
), placed AS (
  SELECT g.*, coalesce(g.not_before, now()) <= now() AND NOT room.paused
           AND (room.waiting IS NULL OR g.priority < room.waiting) AS due,
         room.free + CASE WHEN g.priority = :high THEN :bound / 10 ELSE 0 END AS free,
         row_number() OVER (PARTITION BY g.queue ORDER BY g.priority, g.place) AS turn
  FROM given g JOIN room USING (queue)
), decided AS (
  SELECT *, due AND turn <= least(free, :at_commit) AS rings
  FROM placed
)
INSERT INTO jobs (id, task, queue, state, priority, kwargs, key, max_attempts, ring_count, not_before, expires_at,
                  rung_at, callback, caller, request_id)
SELECT id, task, queue, CASE WHEN rings THEN 'rung' ELSE 'scheduled' END, priority, kwargs, key, max_attempts,
       CASE WHEN rings THEN 1 ELSE 0 END, coalesce(not_before, now()), expires_at,
       CASE WHEN rings THEN clock_timestamp() END, callback, caller, request_id
FROM decided ORDER BY task, key, place
ON CONFLICT (task, key) WHERE state IN ('scheduled', 'rung') AND key IS NOT NULL
DO UPDATE SET not_before = CASE WHEN jobs.attempt = 0 THEN least(jobs.not_before, excluded.not_before)
                                ELSE jobs.not_before END
RETURNING id, task, queue, key, priority, state, (xmax = 0) AS inserted
"""


def insert(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]], *, bound: int, at_commit: int) -> list[Any]:
    """Insert jobs in one statement; each with its id, state, and whether it is new (else: the one that was waiting)."""
    parameters = {
        "rows": json.dumps(rows),
        "bound": bound,
        "at_commit": at_commit,
        "high": int(Priority.HIGH),
        "priorities": PRIORITIES,
    }
    return list(uow.execute(_INSERT, **parameters))


_CLAIM = """
UPDATE jobs j
SET state = 'running', attempt = attempt + 1, started_at = now(), worker = :worker,
    lease_until = now() + make_interval(secs => :lease)
WHERE id = :id AND state = 'rung' AND (expires_at IS NULL OR expires_at > now())
  AND NOT EXISTS (SELECT 1 FROM queue_pauses p WHERE p.queue = j.queue)
RETURNING id, task, queue, kwargs, attempt, max_attempts, key, caller, request_id, callback, cancel_requested,
          extract(epoch FROM clock_timestamp() - not_before)::float8 AS waited_seconds
"""


def claim(job_id: UUID, *, worker: str, lease_seconds: float) -> Any | None:
    """Take a rung job for a lease, under the next attempt number; None: a duplicate doorbell, expired or paused.

    A transaction of its own: what runs next must be seen to run.
    """
    return next(iter(execute_once(_CLAIM, id=job_id, worker=worker, lease=lease_seconds)), None)


_COLUMNS = (
    "id, task, queue, priority, kwargs, key, attempt, max_attempts, created_at, not_before, expires_at, started_at,"
    " worker, callback, caller, request_id"
)

_FINISH = f"""
WITH gone AS (DELETE FROM jobs WHERE id = :id AND {{guard}} RETURNING *)
INSERT INTO job_history ({_COLUMNS}, state, error, result)
SELECT {_COLUMNS}, :state, coalesce(CAST(:error AS jsonb), error), CAST(:result AS jsonb) FROM gone
RETURNING id, task, queue, callback, attempt, kwargs, caller, request_id
"""

_FINISH_RUNNING = _FINISH.format(guard="state = 'running' AND attempt = :attempt")
_FINISH_UNCLAIMED = _FINISH.format(guard="state IN ('scheduled', 'rung')")


def finish(
    uow: UnitOfWork, job_id: UUID, *, attempt: int, state: JobState, error: Any | None = None, result: Any | None = None
) -> Any | None:
    """Move a running job to history, fenced by its attempt number; None when someone else holds it by now."""
    return uow.execute(
        _FINISH_RUNNING, id=job_id, attempt=attempt, state=state, error=_json(error), result=_json(result)
    ).one_or_none()


def finish_unclaimed(uow: UnitOfWork, job_id: UUID, *, state: JobState, error: Any | None = None) -> Any | None:
    """Move a waiting job to history; None when it is not waiting."""
    return uow.execute(_FINISH_UNCLAIMED, id=job_id, state=state, error=_json(error), result=None).one_or_none()


_FINISH_WAITING = _FINISH.replace(
    "DELETE FROM jobs WHERE id = :id AND {guard} RETURNING *",
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE queue = :queue AND state IN ('scheduled', 'rung')"
    " LIMIT :limit FOR UPDATE SKIP LOCKED) RETURNING *",
)


def finish_waiting(uow: UnitOfWork, queue: str, *, limit: int, error: Any) -> list[Any]:
    """Cancel up to `limit` of a queue's waiting jobs; those ended."""
    cancelled = {"state": JobState.CANCELLED, "error": _json(error), "result": None}
    return list(uow.execute(_FINISH_WAITING, queue=queue, limit=limit, **cancelled))


def put_back(uow: UnitOfWork, job_id: UUID, *, attempt: int, delay: timedelta, error: Any) -> bool:
    """Schedule a running job's next try after `delay`; False when it is to stop, or someone else holds it by now."""
    answer = uow.execute(
        "UPDATE jobs SET state = 'scheduled', not_before = now() + make_interval(secs => :delay), lease_until = NULL,"
        " error = CAST(:error AS jsonb) WHERE id = :id AND attempt = :attempt AND state = 'running'"
        " AND NOT cancel_requested RETURNING id",
        id=job_id,
        attempt=attempt,
        delay=delay.total_seconds(),
        error=_json(error),
    )
    return answer.one_or_none() is not None


def lock_waiting_twin(uow: UnitOfWork, task: str, key: str) -> UUID | None:
    """The unclaimed job of that task and key, locked."""
    row = uow.execute(
        "SELECT id FROM jobs WHERE task = :task AND key = :key AND state IN ('scheduled', 'rung') FOR UPDATE",
        task=task,
        key=key,
    ).one_or_none()
    return None if row is None else row.id


def hand_over(uow: UnitOfWork, twin: UUID, *, attempt: int, delay: timedelta) -> None:
    """Let a waiting twin inherit the tries and the back-off of the job it stands in for."""
    uow.execute(
        "UPDATE jobs SET attempt = greatest(attempt, :attempt), state = 'scheduled',"
        " not_before = greatest(not_before, now() + make_interval(secs => :delay)) WHERE id = :id",
        id=twin,
        attempt=attempt,
        delay=delay.total_seconds(),
    )


def renew(uow: UnitOfWork, job_id: UUID, *, attempt: int, lease_seconds: float) -> Any | None:
    """Extend a lease; the row's cancel_requested, or None when the row is locked, gone or someone else's."""
    return uow.execute(
        "UPDATE jobs SET lease_until = now() + make_interval(secs => :lease) WHERE id = (SELECT id FROM jobs"
        " WHERE id = :id AND attempt = :attempt AND state = 'running' FOR UPDATE SKIP LOCKED)"
        " RETURNING cancel_requested",
        id=job_id,
        attempt=attempt,
        lease=lease_seconds,
    ).one_or_none()


def is_held(uow: UnitOfWork, job_id: UUID, *, attempt: int) -> bool:
    """Does that attempt still run, as far as committed rows say?"""
    return bool(
        uow.execute(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = :id AND attempt = :attempt AND state = 'running')",
            id=job_id,
            attempt=attempt,
        ).scalar_one()
    )


def notice(uow: UnitOfWork, key: str, message: str) -> bool:
    """Tell operators something once; True the first time."""
    return bool(
        uow.execute(
            "INSERT INTO notices (key, message) VALUES (:key, :message) ON CONFLICT (key) DO UPDATE"
            " SET message = excluded.message, last_at = now(), count = notices.count + 1 RETURNING (xmax = 0) AS new",
            key=key,
            message=message,
        ).scalar_one()
    )


def _json(value: Any | None) -> str | None:
    return None if value is None else json.dumps(value)
