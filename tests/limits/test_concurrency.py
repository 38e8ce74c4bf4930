"""Many processes at once: a limit admits what it has and not one more, an id consumes once, whoever asks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool

import pytest

from app.limits import deciding, settling
from app.limits.core import Verdict
from tests.limits.asked import TENANT, ask, limit, money, plan
from tests.limits.clocked import begin

PROCESSES, TRIES, CAPACITY, IDS = 4, 10_000, 180, 200
MONTH = 2_678_400


@pytest.fixture(autouse=True)
def _whole(redis_server: str) -> None:
    begin()


def one_by_one(number: int) -> int:
    """So many tries of a calendar limit; how many were allowed."""
    planned = plan(limit("calls", CAPACITY, period=MONTH))
    return sum(
        deciding.decide(ask(planned, key=f"{number} {place}")).verdict is Verdict.ALLOW for place in range(TRIES)
    )


def together(number: int) -> int:
    """So many tries of a calendar limit and a rolling one, of which the rolling one has less, fifty at a time."""
    planned = plan(limit("calls", 2 * CAPACITY, period=MONTH), limit("rolling", CAPACITY, "rolling"))
    allowed = 0
    for first in range(0, TRIES // 5, 50):
        asks = [ask(planned, key=f"{number} {place}") for place in range(first, first + 50)]
        allowed += sum(made.verdict is Verdict.ALLOW for made in deciding.decide_many(asks))
    return allowed


def the_same_ids(number: int) -> int:
    """Everybody tries the same ids, reserves for them, and settles them."""
    planned = plan(money("spend", 1, per="tenant"))
    allowed = 0
    for place in range(IDS):
        one = ask(planned, key=f"id {place}", estimate=7, lease_seconds=60)
        allowed += deciding.decide(one).verdict is Verdict.ALLOW
        settling.settle(one.key, one.subjects, 10)
    return allowed


class Crowd:
    """Processes of their own, started at the first use: by then the server's address is in the environment."""

    def __init__(self) -> None:
        self._pool: Pool | None = None

    def all(self, work: Callable[[int], int]) -> int:
        """What all of them allowed together."""
        if self._pool is None:
            self._pool = multiprocessing.get_context("spawn").Pool(PROCESSES)
        return sum(self._pool.map(work, range(PROCESSES)))

    def end(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    made = Crowd()
    yield made
    made.end()


def test_forty_thousand_tries_at_once_admit_exactly_what_there_is(crowd: Crowd) -> None:
    assert PROCESSES * TRIES == 40_000
    assert crowd.all(one_by_one) == CAPACITY


def test_tries_of_two_limits_fifty_at_a_time_admit_exactly_what_the_smaller_one_has(crowd: Crowd) -> None:
    assert crowd.all(together) == CAPACITY


def test_an_id_consumes_and_is_settled_once_whoever_asks(crowd: Crowd) -> None:
    assert crowd.all(the_same_ids) == IDS
    peeked = deciding.peek(ask(plan(money("spend", 1, per="tenant"))))
    assert [(reading.subject, reading.used) for reading in peeked.readings] == [(TENANT, 10 * IDS)]
