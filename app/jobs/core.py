"""What a job is and what happens to it next. No I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum

from app.errors import Cancelled, Conflict, Misconfigured, NotFound, Permanent, Transient


class JobState(StrEnum):
    """scheduled → rung → running → one of the four finished states."""

    SCHEDULED = "scheduled"
    RUNG = "rung"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


UNFINISHED = (JobState.SCHEDULED, JobState.RUNG, JobState.RUNNING)
UNCLAIMED = (JobState.SCHEDULED, JobState.RUNG)
FINISHED = (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED)


class Priority(IntEnum):
    """Order within one queue: lower goes first, as in Redis. Queues do not compete: each has its own workers."""

    HIGH = 0
    NORMAL = 3
    LOW = 6


PRIORITIES = [int(priority) for priority in Priority]
"""All of them, the most urgent first."""


class FailureReason(StrEnum):
    """Why a failed attempt leads where it leads: also the metric label and the log field."""

    TRANSIENT = "transient"
    UNEXPECTED = "unexpected"
    EXHAUSTED = "exhausted"
    PERMANENT = "permanent"
    MISCONFIGURED = "misconfigured"
    CONFLICT = "conflict"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class AfterFailure:
    """What becomes of a job whose attempt raised: a next state and why; `delay` only for another try."""

    state: JobState
    reason: FailureReason
    delay: timedelta = timedelta()


FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(hours=1)


def backoff(attempt: int, *, jitter: float) -> timedelta:
    """Wait before the try after `attempt` (from 1): 5 s doubling to 1 h, times 0.75 to 1.25 as `jitter` goes 0 to 1."""
    plain = FIRST_DELAY * float(2 ** min(attempt - 1, 16))
    return min(plain, LONGEST_DELAY) * (0.75 + jitter / 2)


def after_failure(
    error: BaseException,
    *,
    attempt: int,
    max_attempts: int,
    cancel_requested: bool = False,
    jitter: float | None = None,
) -> AfterFailure:
    """The retry policy, and it lives in the error's type. What nobody foresaw is tried again."""
    spread = random.random() if jitter is None else jitter  # noqa: S311 (spreads load; guards nothing)
    match error:
        case Conflict():
            return AfterFailure(JobState.SUCCEEDED, FailureReason.CONFLICT)
        case Cancelled():
            return AfterFailure(JobState.CANCELLED, FailureReason.CANCELLED)
        case Permanent() | NotFound():
            return AfterFailure(JobState.DEAD, FailureReason.PERMANENT)
        case Misconfigured():
            return AfterFailure(JobState.DEAD, FailureReason.MISCONFIGURED)
    if cancel_requested:
        return AfterFailure(JobState.CANCELLED, FailureReason.CANCELLED)
    if attempt >= max_attempts:
        return AfterFailure(JobState.DEAD, FailureReason.EXHAUSTED)
    delay = backoff(attempt, jitter=spread)
    if isinstance(error, Transient):
        if error.retry_after is not None:
            delay = max(delay, error.retry_after)
        return AfterFailure(JobState.SCHEDULED, FailureReason.TRANSIENT, delay)
    return AfterFailure(JobState.SCHEDULED, FailureReason.UNEXPECTED, delay)
