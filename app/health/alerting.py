"""How the alert pipeline stands, by what it leaves in Postgres: two short questions that indexes answer, and a verdict.

It stands below the alerts it speaks of, because the watchdog's probe asks it, and asks nothing of the engine's code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ENTRY = "alert-tick"
"""The timetable's entry that keeps the pipeline going."""

TICK = f"""
SELECT extract(epoch FROM now() - c.passed_at)::float8, s.paused_by
FROM alert_clock c LEFT JOIN schedule s ON s.name = '{ENTRY}' AND s.paused_at IS NOT NULL
WHERE c.id = 1
"""
"""Seconds since the last pass (null: never), and who paused the entry (null: nobody)."""

WORK = """
SELECT extract(epoch FROM now() - least(
           (SELECT min(due_at) FROM alert_groups WHERE closed_at IS NULL),
           (SELECT min(due_at) FROM alert_episodes WHERE state <> 'resolved'),
           (SELECT received_at FROM alert_inbox ORDER BY id LIMIT 1)
       ))::float8,
       extract(epoch FROM now() - (
           SELECT min(created_at) FROM notifications
           WHERE state IN ('waiting', 'sending') AND state = 'waiting' AND sent_at IS NULL
       ))::float8
"""
"""Seconds since the longest-due group, episode or posted batch fell due (negative: none has yet; null: there is none),
and since the oldest notification that nobody has tried to send was written (null: there is none)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: without a pass, of work that is due, of a notification without a try."""

    tick: float = 30
    overdue: float = 60
    waiting: float = 120


@dataclass(frozen=True, slots=True)
class Tick:
    """The pipeline's clock, in seconds since its last pass; None when it never passed."""

    seconds: float | None
    paused_by: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What waits to be done, in seconds since it should have been; None where nothing waits."""

    overdue_seconds: float | None = None
    waiting_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the pipeline: a stable code, and a text for people."""

    code: str
    text: str


def paused(tick: Tick) -> Finding | None:
    """Somebody stopped the pipeline on purpose: no failure, and nothing to be silent about."""
    if tick.paused_by is None:
        return None
    return Finding("paused", f"paused by {tick.paused_by or 'somebody'}: no alert is grouped, sent or escalated")


def findings(tick: Tick, work: Work, limits: Limits) -> Iterator[Finding]:
    """What is wrong, the cause first. While it is paused only what was handed to delivery is judged."""
    if tick.paused_by is None:
        if tick.seconds is None:
            yield Finding("silent", "the alert tick has never run")
        elif tick.seconds > limits.tick:
            yield Finding("silent", f"the last alert tick ran {tick.seconds:.0f} s ago")
        elif work.overdue_seconds is not None and work.overdue_seconds > limits.overdue:
            yield Finding("overdue", f"alerts have been due for {work.overdue_seconds:.0f} s")
    if work.waiting_seconds is not None and work.waiting_seconds > limits.waiting:
        yield Finding("unsent", f"a notification has waited {work.waiting_seconds:.0f} s for its first try")
