"""Flapping, staleness and the state of the stack."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.health.core import State
from app.health.flapping import change_percent, is_flapping
from app.health.standing import StackState, stack_state, stale_after, standing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Service:
    state: State
    essential: bool = False
    in_maintenance: bool = False


def test_change_is_measured_only_over_a_full_window():
    assert change_percent("ud" * 10) == 0
    assert change_percent(("ud" * 11)[:21]) == pytest.approx(99.0)
    assert change_percent("u" * 21) == 0


def test_a_new_change_weighs_more_than_an_old_one():
    assert change_percent("d" + "u" * 20) == pytest.approx(4.0)
    assert change_percent("u" * 20 + "d") == pytest.approx(5.9)


@given(st.text("udg", min_size=21, max_size=21), st.booleans())
def test_between_the_two_limits_flapping_stays_what_it_was(history: str, was: bool):
    percent = change_percent(history)
    expected = was if 25 <= percent < 50 else percent >= 50
    assert is_flapping(history, was=was) is expected


def test_no_result_for_three_intervals_and_at_least_a_minute_is_unknown():
    assert stale_after(timedelta(seconds=15)) == timedelta(seconds=60)
    assert stale_after(timedelta(seconds=60)) == timedelta(seconds=180)
    since, interval = NOW - timedelta(hours=1), timedelta(seconds=60)
    fresh = standing(State.UP, since, NOW - timedelta(seconds=180), interval, NOW)
    assert (fresh.state, fresh.since, fresh.stale) == (State.UP, since, None)
    old = standing(State.UP, since, NOW - timedelta(seconds=181), interval, NOW)
    assert old.state is State.UNKNOWN
    assert old.stale == "no result since 2026-03-01T11:56:59.000Z"
    assert standing(State.UP, None, None, interval, NOW).stale == "no result yet"


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([], StackState.UNKNOWN),
        ([Service(State.UNKNOWN)], StackState.UNKNOWN),
        ([Service(State.UP), Service(State.UNKNOWN)], StackState.HEALTHY),
        ([Service(State.UP), Service(State.UNKNOWN, essential=True)], StackState.UNKNOWN),
        ([Service(State.UP, essential=True), Service(State.DOWN)], StackState.DEGRADED),
        ([Service(State.DEGRADED, essential=True)], StackState.DEGRADED),
        ([Service(State.DOWN, essential=True), Service(State.UNKNOWN, essential=True)], StackState.UNHEALTHY),
        ([Service(State.UP), Service(State.DOWN, essential=True, in_maintenance=True)], StackState.HEALTHY),
    ],
)
def test_the_stack_is_as_bad_as_what_counts(services: list[Service], expected: StackState):
    assert stack_state(services) is expected
