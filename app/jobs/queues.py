"""The queues as operators see them: messages in Redis beside jobs in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app.errors import Misconfigured, NotFound, Transient
from app.infra import queue as wire
from app.jobs import admin, counting
from app.jobs.core import UNCLAIMED, UNFINISHED


@dataclass(frozen=True, slots=True)
class Messages:
    """What waits in Redis. `problem` says why nothing is known of it."""

    depths: Mapping[str, wire.QueueDepth] = field(default_factory=dict)
    unacked: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """What waits in Postgres: jobs by queue and state (see counting.SHOWN_MOST), the oldest due ones, pauses."""

    counts: Mapping[tuple[str, str], int]
    oldest_due: Mapping[str, float]
    paused: Mapping[str, Mapping[str, Any]]


def read_messages() -> Messages:
    """Read Redis. Raises Transient or Misconfigured."""
    return Messages(wire.depths(), wire.unacked())


def messages() -> Messages:
    """Read Redis. Never raises: without Redis there is a `problem`."""
    try:
        return read_messages()
    except (Transient, Misconfigured) as error:
        return Messages(problem=str(error))


def ledger(session: Session) -> Ledger:
    """Read Postgres."""
    oldest = {name: due.oldest_seconds for name, due in counting.due(session, most=1).items() if due.jobs}
    return Ledger(counting.counts(session), oldest, admin.paused_queues(session))


def document(held: Ledger, waiting: Messages) -> dict[str, Any]:
    """`{queues: [...], unacked, problem}`. Depths and unacked are None, and `problem` says why, while Redis is away.

    A queue's `capped` names the states of which there are as many jobs as `jobs` says, or more.
    """
    rows = []
    for name in wire.names():
        depth = waiting.depths.get(name)
        jobs = {str(state): held.counts.get((name, state), 0) for state in UNFINISHED}
        rows.append(
            {
                "name": name,
                "depth": None if depth is None else depth.depth,
                "oldest_seconds": None if depth is None else depth.oldest_seconds,
                "jobs": jobs,
                "capped": counting.capped(jobs),
                "oldest_due_seconds": held.oldest_due.get(name),
                "paused": held.paused.get(name),
            }
        )
    return {"queues": rows, "unacked": waiting.unacked, "problem": waiting.problem}


def waiting_jobs(session: Session, name: str) -> str:
    """How many jobs of a queue have not started: "12", "10,000+". Raises NotFound."""
    if name not in wire.names():
        raise NotFound(f"no queue is named {name}; there are {', '.join(wire.names())}")
    counts = counting.counts(session)
    found = {str(state): counts.get((name, state), 0) for state in UNCLAIMED}
    return counting.shown(sum(found.values()), is_capped=bool(counting.capped(found)))
