"""What was reserved becomes what was spent, once; what was not done is given back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.errors import Invalid
from app.infra import redis
from app.limits import correcting, deciding, keys, lanes, settling
from app.limits.asking import read
from app.limits.core import Ask, Verdict
from app.limits.correcting import Correction
from app.limits.plans import Plan
from tests.fixtures.waiting import until
from tests.limits.asked import ALICE, TENANT, ask, events, limit, money, plan, state
from tests.limits.clocked import begin, clocked, set_clock

HOUR_MS = 3_600_000
START = 1_800_000_000_000 // HOUR_MS * HOUR_MS


@pytest.fixture(autouse=True)
def _whole(redis_server: str) -> None:
    begin()


def thinking(**more: Any) -> Plan:
    """A call that spends a tenant's money, by calendar and rolling."""
    per: dict[str, Any] = {"per": "tenant", "capacity": 0.001, **more}
    return plan(limit("calls", 100), money("spend", **per), money("spend_rolling", window="rolling", **per))


def reserved(planned: Plan, estimate: int = 100, lease: float = 600) -> Ask:
    one = ask(planned, estimate=estimate, lease_seconds=lease)
    assert deciding.decide(one).verdict is Verdict.ALLOW
    return one


def used(planned: Plan) -> list[int]:
    return [reading.used for reading in deciding.peek(ask(planned)).readings]


def leases() -> list[str]:
    return list(redis.client().zrange(keys.LEASES, 0, -1))


@pytest.mark.parametrize("actual", [0, 30, 100, 450, 5000])
def test_money_becomes_what_was_spent_and_calls_stay(actual: int) -> None:
    planned = thinking()
    one = reserved(planned)
    assert leases() == [keys.RECORD + one.key]
    assert settling.settle(one.key, one.subjects, actual)
    assert used(planned) == [1, actual, actual]
    assert leases() == []


def test_settling_happens_once_and_the_first_figure_counts() -> None:
    planned = thinking()
    one = reserved(planned)
    assert [settling.settle(one.key, one.subjects, actual) for actual in (70, 70, 90)] == [True, False, False]
    assert not settling.give_back(one.key, one.subjects)
    assert used(planned) == [1, 70, 70]
    again = deciding.decide(one)
    assert again.before is not None
    assert (again.before.ended, [taken.cost for taken in again.before.taken]) == ("settled", [1, 70, 70])


def test_what_was_given_back_is_free_again_calls_as_well() -> None:
    planned = thinking()
    one = reserved(planned)
    assert [settling.give_back(one.key, one.subjects) for _ in range(2)] == [True, False]
    assert used(planned) == [0, 0, 0]
    assert state()["l"]["calls"]["m"] == 1
    again = deciding.decide(one)
    assert again.before is not None
    assert again.before.ended == "refunded"


def test_a_lease_that_is_over_gives_back_money_only_and_not_before() -> None:
    planned = thinking()
    one = reserved(planned)
    assert not settling.lapse(one.key, one.subjects)
    assert used(planned) == [1, 100, 100]
    brief = reserved(planned, lease=0.001)
    assert until(lambda: settling.lapse(brief.key, brief.subjects))
    assert used(planned) == [2, 100, 100]
    assert not settling.lapse(brief.key, brief.subjects)


def test_what_was_spent_after_its_lease_is_counted_after_all() -> None:
    planned = thinking()
    one = reserved(planned, lease=0.001)
    assert until(lambda: settling.lapse(one.key, one.subjects))
    assert [settling.settle(one.key, one.subjects, 60) for _ in range(2)] == [True, False]
    assert used(planned) == [1, 60, 60]


def test_an_id_that_is_not_known_is_settled_by_a_plan_beyond_any_ceiling() -> None:
    planned = thinking(capacity=0.00001)
    one = ask(planned)
    assert not settling.settle(one.key, one.subjects, 25)
    assert [settling.settle(one.key, one.subjects, 25, plan=planned) for _ in range(2)] == [True, False]
    assert used(planned) == [0, 25, 25]
    assert {event["limit"] for event in events()} == {"spend", "spend_rolling"}
    assert deciding.decide(one).verdict is Verdict.AGAIN


def test_a_reservation_of_nothing_can_be_settled() -> None:
    planned = thinking()
    one = reserved(planned, estimate=0)
    assert settling.settle(one.key, one.subjects, 40)
    assert used(planned) == [1, 40, 40]


def test_settling_tells_crossings_and_giving_back_tells_none_again() -> None:
    planned = plan(money("spend", capacity=0.0001, per="tenant"))
    one = reserved(planned, estimate=10)
    settling.settle(one.key, one.subjects, 96)
    assert [(event["limit"], event["level"], event["used"], event["subject"]) for event in events()] == [
        ("spend", 2, 96, TENANT)
    ]
    two = reserved(planned, estimate=4)
    settling.give_back(two.key, two.subjects)
    reserved(planned, estimate=4)
    assert [event["level"] for event in events()] == [2, 3]


def test_many_are_settled_in_one_round_trip() -> None:
    planned = thinking()
    made = [reserved(planned, estimate=10) for _ in range(5)]
    spendings = [settling.Spending(one.key, one.subjects, number) for number, one in enumerate(made)]
    assert settling.settle_many([*spendings, spendings[0]]) == [True] * 5 + [False]
    assert used(planned) == [5, 10, 10]
    assert settling.settle_many([]) == []


@pytest.mark.parametrize("actual", [-1, 10**13 + 1])
def test_nobody_spends_less_than_nothing_or_more_than_there_is(actual: int) -> None:
    with pytest.raises(Invalid):
        settling.settle("id", (ALICE, TENANT), actual)


def test_the_most_that_can_be_spent_stays_exact() -> None:
    planned = plan(money("spend", capacity=10_000_000, per="tenant"))
    for _ in range(12):
        one = ask(planned)
        settling.settle(one.key, one.subjects, 10**13 - 1, plan=planned)
    assert used(planned) == [99_999_999_999_999]


class Clock:
    """The scripts at times that the test chooses."""

    def __init__(self) -> None:
        self._decide, self._settle = clocked("decide"), clocked("settle")
        self.now = START

    def reserve(self, planned: Plan, estimate: int) -> Ask:
        set_clock(self.now)
        one = ask(planned, estimate=estimate)
        assert read(self._decide.call(*deciding.call_of(one, self.now / 1000)))["v"] == "allow"
        return one

    def end(self, mode: str, one: Ask, actual: int = 0) -> str:
        set_clock(self.now)
        spending = settling.Spending(one.key, one.subjects, actual)
        return str(read(self._settle.call(*settling.call_of(mode, spending, self.now / 1000)))["v"])


def test_a_window_that_is_over_is_settled_where_it_was_consumed() -> None:
    at, hourly = Clock(), plan(money("spend", per="tenant", period="hour"))
    one = at.reserve(hourly, 100)
    two = at.reserve(hourly, 50)
    at.now += HOUR_MS
    assert at.end("settle", two, 10) == "done"  # nobody asked in this hour yet
    at.reserve(hourly, 7)
    assert at.end("settle", one, 140) == "done"
    counter = state(TENANT)["l"]["spend"]
    assert (counter["u"], counter["o"]["u"], counter["o"]["m"]) == (7, 150, 150)


def test_a_window_before_the_one_before_is_left_alone() -> None:
    at, hourly = Clock(), plan(money("spend", per="tenant", period="hour"))
    one = at.reserve(hourly, 100)
    for _ in range(2):
        at.now += HOUR_MS
        at.reserve(hourly, 5)
    assert at.end("settle", one, 900) == "done"
    counter = state(TENANT)["l"]["spend"]
    assert (counter["u"], counter["o"]["u"]) == (5, 5)


def test_a_bucket_is_adjusted_while_it_is_there() -> None:
    at, rolling = Clock(), plan(money("spend", per="tenant", window="rolling", period="hour"))
    one = at.reserve(rolling, 100)
    at.now += HOUR_MS // 2
    two = at.reserve(rolling, 50)
    assert at.end("settle", one, 80) == "done"
    at.now += HOUR_MS
    at.reserve(rolling, 1)
    assert at.end("refund", two) == "done"
    assert state(TENANT)["l"]["spend"]["b"][-1] == 1
    at.now += HOUR_MS
    three = at.reserve(rolling, 1)
    assert at.end("settle", three, 6) == "done"
    assert sum(state(TENANT)["l"]["spend"]["b"]) == 7


def test_counters_follow_the_platform_upward_only() -> None:
    calls, rolling = limit("calls", 10), limit("rolling", 10, window="rolling")
    both = plan(calls, rolling)
    deciding.decide(ask(both))
    assert correcting.correct(ALICE, [Correction(calls, 9), Correction(rolling, 1)]) == ("calls",)
    assert used(both) == [9, 1]
    assert correcting.correct(ALICE, [Correction(calls, 3), Correction(rolling, 8)]) == ("rolling",)
    assert used(both) == [9, 8]
    assert [(event["limit"], event["level"], event["used"]) for event in events()] == [
        ("calls", 1, 9),
        ("rolling", 1, 8),
    ]
    assert correcting.correct(ALICE, []) == ()


def test_the_platforms_own_capacity_counts_where_it_is_lower() -> None:
    posts = limit("posts", 50, window="rolling", ceilings={"background": 0.5})
    correcting.correct(ALICE, [Correction(posts, capacity_at_most=4)])
    background = deciding.peek(ask(plan(posts, rank=3, cost=3))).readings[0]
    assert (background.capacity, background.ceiling, background.room_at is None) == (4, 2, False)
    assert sum(deciding.decide(ask(plan(posts))).verdict is Verdict.ALLOW for _ in range(9)) == 4
    correcting.correct(ALICE, [Correction(posts)])
    assert deciding.decide(ask(plan(posts))).verdict is Verdict.WAIT
    correcting.correct(ALICE, [Correction(posts, capacity_at_most=100)])
    assert deciding.decide(ask(plan(posts))).verdict is Verdict.ALLOW


def test_a_block_holds_until_its_end_and_a_longer_one_stays() -> None:
    calls, posts = limit("calls"), limit("posts", window="rolling")
    end = clock.now().replace(microsecond=0) + timedelta(hours=2)
    correcting.block(ALICE, [calls, posts], end)
    correcting.block(ALICE, [calls, posts], end - timedelta(hours=1))
    stopped = deciding.decide(ask(plan(posts)))
    assert (stopped.verdict, stopped.room_at) == (Verdict.WAIT, end)
    assert deciding.decide(ask(plan(limit("other")))).verdict is Verdict.ALLOW
    assert deciding.decide(ask(plan(calls), "account:instagram/bob")).verdict is Verdict.ALLOW


def test_lanes_are_merged_with_the_more_urgent_and_replaced_as_a_whole() -> None:
    lanes.mark(ALICE, {"calls": 2, "reply": 1}, whole=False)
    lanes.mark(ALICE, {"calls": 1, "reply": 3}, whole=False)
    assert state()["q"] == {"calls": 1, "reply": 1}
    lanes.mark_many({ALICE: {"posts": 3}, "account:x/y": {"posts": 0}}, whole=True)
    assert (state()["q"], state("account:x/y")["q"]) == ({"posts": 3}, {"posts": 0})
    lanes.mark(ALICE, {}, whole=True)
    assert "q" not in state()
    lanes.mark("account:x/nobody", {}, whole=True)
    assert state("account:x/nobody") == {}


def test_who_waits_is_forgotten_only_where_it_waits() -> None:
    one = ask(plan(limit()))
    assert not lanes.forget_waiting(one.key)
    assert lanes.note_waiting(one.key, "reply", 60_000)
    assert lanes.note_waiting(one.key, "reply", 90_000)
    assert redis.client().pttl(keys.RECORD + one.key) > 60_000
    assert not settling.give_back(one.key, one.subjects)
    assert lanes.forget_waiting(one.key)
    assert deciding.decide(one).verdict is Verdict.ALLOW
