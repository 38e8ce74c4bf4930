from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Cancelled, Conflict, Misconfigured, NotFound, Permanent, Transient
from app.jobs.core import FIRST_DELAY, LONGEST_DELAY, FailureReason, JobState, after_failure, backoff


@given(attempt=st.integers(1, 1000), jitter=st.floats(0, 1))
def test_backoff_stays_between_its_bounds(attempt: int, jitter: float) -> None:
    delay = backoff(attempt, jitter=jitter)
    assert FIRST_DELAY * 0.75 <= delay <= LONGEST_DELAY * 1.25


@given(attempt=st.integers(1, 9))
def test_backoff_doubles_until_an_hour(attempt: int) -> None:
    assert backoff(attempt + 1, jitter=0.5) == min(backoff(attempt, jitter=0.5) * 2, LONGEST_DELAY)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Transient("x"), JobState.SCHEDULED, FailureReason.TRANSIENT),
        (RuntimeError("x"), JobState.SCHEDULED, FailureReason.UNEXPECTED),
        (Permanent("x"), JobState.DEAD, FailureReason.PERMANENT),
        (NotFound("x"), JobState.DEAD, FailureReason.PERMANENT),
        (Misconfigured("x"), JobState.DEAD, FailureReason.MISCONFIGURED),
        (Conflict("x"), JobState.SUCCEEDED, FailureReason.CONFLICT),
        (Cancelled("x"), JobState.CANCELLED, FailureReason.CANCELLED),
    ],
)
def test_the_type_of_the_error_says_what_happens_next(error: Exception, state: JobState, reason: FailureReason) -> None:
    outcome = after_failure(error, attempt=1, max_attempts=3, jitter=0.5)
    assert (outcome.state, outcome.reason) == (state, reason)


@given(attempt=st.integers(1, 20), max_attempts=st.integers(1, 20))
def test_no_job_is_tried_more_often_than_it_may(attempt: int, max_attempts: int) -> None:
    outcome = after_failure(RuntimeError("x"), attempt=attempt, max_attempts=max_attempts)
    assert (outcome.state is JobState.SCHEDULED) == (attempt < max_attempts)


def test_the_other_sides_wait_is_the_least_wait() -> None:
    asked = Transient("busy", retry_after=timedelta(hours=5))
    assert after_failure(asked, attempt=1, max_attempts=3).delay == timedelta(hours=5)
    short = Transient("busy", retry_after=timedelta(seconds=1))
    assert after_failure(short, attempt=1, max_attempts=3, jitter=0).delay >= FIRST_DELAY * 0.75


def test_a_job_asked_to_stop_is_not_tried_again() -> None:
    outcome = after_failure(Transient("x"), attempt=1, max_attempts=9, cancel_requested=True)
    assert outcome.state is JobState.CANCELLED
