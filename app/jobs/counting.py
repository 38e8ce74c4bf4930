"""How much waits in the ledger, counted so that millions of jobs cost no more than some thousands.

Every part reads one end of a partial index and stops at its limit: a number that reaches the limit stands for "that
many or more". The order of each part keeps the planner on the index, whatever its statistics say of a queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.infra import queue as wire
from app.jobs.core import PRIORITIES

SHOWN_MOST = 10_000
"""Where counting for people ends: more is shown as "10,000+"."""

_COUNTS = """
SELECT q.queue, s.state, s.jobs FROM unnest(CAST(:queues AS text[])) AS q(queue) CROSS JOIN LATERAL (
    SELECT 'scheduled' AS state, count(*) AS jobs FROM (
        SELECT FROM jobs WHERE queue = q.queue AND state = 'scheduled' ORDER BY priority, not_before LIMIT :most) AS a
    UNION ALL
    SELECT 'rung', count(*) FROM (
        SELECT FROM jobs WHERE queue = q.queue AND state = 'rung' ORDER BY rung_at LIMIT :most) AS b) AS s
UNION ALL
SELECT queue, 'running', count(*) FROM (
    SELECT queue FROM jobs WHERE state = 'running' ORDER BY lease_until LIMIT :most) AS c GROUP BY queue
"""

# Of the rung ones, those that were rung longest ago are looked at: among them is the one that waits longest.
_DUE = """
SELECT q.queue, least(sum(d.jobs), :most)::bigint AS jobs,
       coalesce(extract(epoch FROM now() - min(d.oldest)), 0)::float8 AS oldest_seconds
  FROM unnest(CAST(:queues AS text[])) AS q(queue) CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, min(a.not_before) AS oldest
      FROM unnest(CAST(:priorities AS smallint[])) AS p(priority) CROSS JOIN LATERAL (
        SELECT not_before FROM jobs WHERE queue = q.queue AND state = 'scheduled' AND priority = p.priority
           AND not_before <= now() ORDER BY not_before LIMIT :most) AS a
    UNION ALL
    SELECT count(*), min(b.not_before) FROM (
        SELECT not_before FROM jobs WHERE queue = q.queue AND state = 'rung' ORDER BY rung_at LIMIT :most) AS b
     WHERE b.not_before <= now()) AS d
 GROUP BY q.queue
"""

_DEAD = """
SELECT queue, count(*) AS jobs FROM (
    SELECT queue FROM job_history WHERE state = 'dead' ORDER BY id DESC LIMIT :most) AS newest GROUP BY queue
"""


@dataclass(frozen=True, slots=True)
class Due:
    """Unclaimed jobs of a queue whose time has come: how many, and for how long the first of them."""

    jobs: int
    oldest_seconds: float


def counts(session: Session, *, most: int = SHOWN_MOST) -> dict[tuple[str, str], int]:
    """Unfinished jobs by (queue, state), each counted up to `most`."""
    rows = session.execute(text(_COUNTS), {"queues": list(wire.names()), "most": most})
    return {(row.queue, row.state): row.jobs for row in rows}


def due(session: Session, *, most: int = SHOWN_MOST) -> dict[str, Due]:
    """Due and unclaimed jobs by queue, counted up to `most`; queues that have none are there too."""
    wanted = {"queues": list(wire.names()), "priorities": PRIORITIES, "most": most}
    rows = session.execute(text(_DUE), wanted)
    return {row.queue: Due(row.jobs, row.oldest_seconds) for row in rows}


def dead(session: Session, *, most: int = SHOWN_MOST) -> dict[str, int]:
    """By queue: how many of the newest `most` dead jobs were its."""
    return {row.queue: row.jobs for row in session.execute(text(_DEAD), {"most": most})}


def capped(found: Mapping[str, int], *, most: int = SHOWN_MOST) -> list[str]:
    """Which of these numbers stand for themselves "or more"."""
    return [name for name, number in found.items() if number >= most]


def shown(number: int, *, is_capped: bool) -> str:
    """ "12", "10,000+"."""
    return f"{number:,}+" if is_capped else f"{number:,}"
