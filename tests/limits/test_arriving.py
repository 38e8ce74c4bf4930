"""A call that was reported is counted from its report on, as the platform does, and not since it was allowed."""

from __future__ import annotations

from typing import Any

import pytest

from app.limits import deciding, keys, settling
from app.limits.asking import read
from app.limits.core import Ask, Counting
from app.limits.plans import Plan
from tests.limits.asked import ask, limit, plan, state
from tests.limits.clocked import begin, clocked, set_clock

HOUR = 3_600_000
START = 1_800_000_000_000 // HOUR * HOUR
BUCKET = HOUR // 60


class Clock:
    """Scripts by a clock that a test moves."""

    def __init__(self) -> None:
        begin()
        self._decide, self._arrive = clocked("decide"), clocked("arrive")
        self.now = START

    def allow(self, planned: Plan, key: str = "") -> Ask:
        one = ask(planned, key=key)
        assert self._ask(one)["v"] == "allow"
        return one

    def used(self, planned: Plan) -> list[int]:
        return list(self._ask(ask(planned, counting=Counting.PEEK))["l"])

    def arrive(self, one: Ask) -> str:
        set_clock(self.now)
        named = [keys.RECORD + one.key, *(keys.STATE + subject for subject in one.subjects)]
        return str(read(self._arrive.call(named, []))["v"])

    def _ask(self, one: Ask) -> Any:
        set_clock(self.now)
        return read(self._decide.call(*deciding.call_of(one, self.now / 1000)))


@pytest.fixture
def at(redis_server: str) -> Clock:
    return Clock()


ROLLING = plan(limit("rolling", 5, window="rolling", period="hour"), limit("daily", 9))


def test_what_arrived_late_is_counted_a_whole_window_from_then(at: Clock) -> None:
    one = at.allow(ROLLING)
    at.now += HOUR // 2
    assert at.arrive(one) == "done"
    assert at.used(ROLLING) == [1, 1]
    at.now += HOUR  # an hour and a half after it was allowed
    assert at.used(ROLLING)[0] == 1
    at.now += 2 * BUCKET
    assert at.used(ROLLING)[0] == 0


def test_what_is_not_reported_is_counted_from_the_moment_it_was_allowed(at: Clock) -> None:
    at.allow(ROLLING)
    at.now += HOUR
    assert at.used(ROLLING)[0] == 1
    at.now += 2 * BUCKET
    assert at.used(ROLLING)[0] == 0


def test_what_was_forgotten_when_it_arrives_is_counted_again(at: Clock) -> None:
    one = at.allow(ROLLING)
    at.now += 2 * HOUR
    assert at.used(ROLLING)[0] == 0
    assert at.arrive(one) == "done"
    assert at.used(ROLLING)[0] == 1


def test_it_is_moved_once_and_others_stay_where_they_are(at: Clock) -> None:
    one = at.allow(ROLLING)
    at.allow(ROLLING)
    at.now += 10 * BUCKET
    assert [at.arrive(one), at.arrive(one)] == ["done", "none"]
    assert state()["l"]["rolling"]["b"] == [1, *[0] * 9, 1]
    at.now += 55 * BUCKET
    assert at.used(ROLLING)[0] == 1


def test_what_arrived_can_be_given_back_where_it_is_now(at: Clock) -> None:
    one = at.allow(ROLLING)
    at.now += 10 * BUCKET
    at.arrive(one)
    spending = settling.Spending(one.key, one.subjects, 0)
    assert read(clocked("settle").call(*settling.call_of("refund", spending, at.now / 1000)))["v"] == "done"
    assert at.used(ROLLING) == [0, 0]


def test_an_id_that_is_not_known_or_waits_moves_nothing(at: Clock) -> None:
    assert at.arrive(ask(ROLLING)) == "none"
    assert state() == {}
