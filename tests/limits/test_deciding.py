"""Decisions on a real server: all or nothing, once per id, by the server's clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app import clock
from app.infra import redis
from app.limits import asking, correcting, deciding, keys, lanes
from app.limits.core import Counting, Decision, Use, Verdict
from app.limits.plans import MOST, Plan
from tests.fixtures.waiting import until
from tests.limits.asked import ALICE, TENANT, ask, events, limit, money, plan, state
from tests.limits.clocked import begin, clocked, set_clock

ALLOW, WAIT, AGAIN = Verdict.ALLOW, Verdict.WAIT, Verdict.AGAIN
HOUR_MS = 3_600_000
START = 1_800_000_000_000 // HOUR_MS * HOUR_MS


@pytest.fixture(autouse=True)
def _whole(redis_server: str) -> None:
    begin()


def used(decision: Decision) -> list[int]:
    return [reading.used for reading in decision.readings]


class Clock:
    """Decisions at times that the test chooses."""

    def __init__(self) -> None:
        self.script = clocked("decide")
        self.now = START

    def decide(self, planned: Plan, **more: Any) -> Decision:
        set_clock(self.now)
        made = ask(planned, **more)
        answer = asking.read(self.script.call(*deciding.call_of(made, self.now / 1000)))
        return deciding.decision_of(made, answer)

    def allowed(self, planned: Plan, tries: int) -> int:
        """How many of so many tries are allowed."""
        return sum(self.decide(planned).verdict is ALLOW for _ in range(tries))


@pytest.fixture
def at() -> Clock:
    return Clock()


def test_what_fits_one_limit_but_not_the_other_consumes_nothing() -> None:
    both = plan(limit("wide", 10), limit("narrow", 2), cost=2)
    assert used(deciding.decide(ask(both))) == [2, 2]
    refused = deciding.decide(ask(both))
    assert refused.verdict is WAIT
    assert used(refused) == [2, 2]
    wide, narrow = refused.readings
    assert (wide.room_at, narrow.room_at) == (None, narrow.ends_at)
    assert used(deciding.peek(ask(both))) == [2, 2]


def test_the_same_id_consumes_once_and_learns_what_it_took() -> None:
    one = ask(plan(limit(), limit("rolling", window="rolling")))
    assert deciding.decide(one).verdict is ALLOW
    again = deciding.decide(one)
    assert again.verdict is AGAIN
    assert again.before is not None
    assert [(taken.limit, taken.subject_place, taken.cost) for taken in again.before.taken] == [
        ("calls", 0, 1),
        ("rolling", 0, 1),
    ]
    assert used(deciding.peek(one)) == [1, 1]


def test_many_decisions_are_made_in_their_order() -> None:
    asks = [ask(plan(limit(capacity=3))) for _ in range(5)]
    assert [made.verdict for made in deciding.decide_many(asks)] == [ALLOW] * 3 + [WAIT] * 2
    assert deciding.decide_many([]) == []


def test_each_class_has_its_ceiling() -> None:
    shared = limit(capacity=10, ceilings={"background": 0.5})
    background, interactive = plan(shared, rank=3), plan(shared, rank=1)
    assert sum(deciding.decide(ask(background)).verdict is ALLOW for _ in range(10)) == 5
    assert sum(deciding.decide(ask(interactive)).verdict is ALLOW for _ in range(10)) == 5
    assert deciding.decide(ask(interactive)).readings[0].used == 10


def test_a_peek_changes_nothing_not_even_where_nothing_is() -> None:
    both = plan(limit(capacity=1), limit("rolling", 1, window="rolling"))
    assert deciding.peek(ask(both)).verdict is ALLOW
    assert redis.client().keys(f"{keys.ROOT}*") == [keys.EPOCH]
    deciding.decide(ask(both))
    before = (state(), redis.client().ttl(keys.STATE + ALICE) > 0, redis.client().keys("*").sort())
    peeked = deciding.peek(ask(both, pass_="one"))
    assert (peeked.verdict, used(peeked)) == (WAIT, [1, 1])
    assert (state(), True, redis.client().keys("*").sort()) == before


def test_an_operation_without_limits_is_allowed_and_leaves_no_counters() -> None:
    assert deciding.decide(ask(plan())).verdict is ALLOW
    assert state() == {}


def test_what_costs_nothing_goes_also_where_all_is_used() -> None:
    spend = plan(money(capacity=0.00001, per="account"))
    assert deciding.decide(ask(spend, estimate=10)).verdict is ALLOW
    assert deciding.decide(ask(spend, estimate=1)).verdict is WAIT
    assert deciding.decide(ask(spend)).verdict is ALLOW
    assert used(deciding.decide(ask(spend, estimate=0))) == [10]


def test_an_absurd_estimate_waits_and_a_negative_one_gives_nothing_back() -> None:
    spend = plan(money(per="account"))
    assert deciding.decide(ask(spend, estimate=10**30)).verdict is WAIT
    assert used(deciding.decide(ask(spend, estimate=500))) == [500]
    assert used(deciding.decide(ask(spend, estimate=-400))) == [500]


def test_the_largest_amounts_stay_exact() -> None:
    largest = money(capacity=10_000_000, ceilings={"interactive": 10})
    for amount, sum_ in ((10**13 - 7, 10**13 - 7), (8, 10**13 + 1), (8 * 10**13, 9 * 10**13 + 1)):
        assert used(deciding.decide(ask(plan(largest), estimate=amount))) == [sum_]
    rest = MOST - (9 * 10**13 + 1)
    assert deciding.decide(ask(plan(largest), estimate=rest + 1)).verdict is WAIT
    assert used(deciding.decide(ask(plan(largest), estimate=rest))) == [MOST]


def test_the_same_subject_twice_is_counted_twice() -> None:
    calls, posts = limit("calls"), limit("posts")
    planned = Plan("reply", 1, [Use(calls, 0, 1, 5), Use(posts, 1, 2, 5)])
    decision = deciding.decide(ask(planned, subjects=(ALICE, ALICE)))
    assert used(decision) == [1, 2]
    assert {name: counter["u"] for name, counter in state()["l"].items()} == {"calls": 1, "posts": 2}


@pytest.mark.parametrize(
    "name",
    [
        'a"b',
        "a\\b",
        "a\nb\r",
        "%s%d%%",
        "\x00\x01\x7f",
        "😀🇩🇪",
        "a b{c}*?[d]",
        "'; return 1 --",
        "\u2028",
        "\ud800",
        "x" * 10_000,
        "",
    ],
)
def test_whatever_an_account_is_called_it_has_its_own_counters(name: str) -> None:
    subject = f"account:instagram/{name}"
    one = ask(plan(limit(capacity=1), money(per="tenant")), subject, estimate=3, lease_seconds=60)
    assert deciding.decide(one).verdict is ALLOW
    assert deciding.decide(one).verdict is AGAIN
    assert deciding.decide(ask(one.plan, subject)).verdict is WAIT
    assert deciding.decide(ask(one.plan, f"{subject}x")).verdict is ALLOW
    assert state(subject)["l"]["calls"]["u"] == 1
    lanes.mark(subject, {"calls": 1}, whole=True)
    assert state(subject)["q"] == {"calls": 1}


def test_reasons_of_holds_arrive_as_they_were_written() -> None:
    reason = 'token "x" of \\a\\ is 100% gone 😀'
    redis.client().hset(keys.HOLDS, mapping={ALICE: f"0 0 wait {reason}\n2 0 deny not us", "all": "0 0 hint by hand"})
    stopped = deciding.decide(ask(plan(limit())))
    assert [(hold.effect, hold.reason, hold.until) for hold in stopped.holds] == [("wait", reason, None)]
    assert [hold.reason for hold in stopped.hints] == ["by hand"]
    assert stopped.room_at is None


def test_a_hold_is_told_once_though_subject_and_scope_are_the_same() -> None:
    redis.client().hset(keys.HOLDS, TENANT, "0 0 wait over budget")
    spend = plan(money(per="tenant"))
    assert len(deciding.decide(ask(spend, scope=TENANT)).holds) == 1


def test_a_hold_ends_by_itself_and_concerns_classes_from_one_on() -> None:
    soon = round((clock.now() + timedelta(seconds=1)).timestamp() * 1000)
    redis.client().hset(keys.HOLDS, "all", f"2 {soon} wait busy")
    assert deciding.decide(ask(plan(limit(), rank=1))).verdict is ALLOW
    stopped = deciding.decide(ask(plan(limit(), rank=2)))
    assert stopped.room_at == datetime.fromtimestamp(soon / 1000, UTC)
    until(lambda: deciding.decide(ask(plan(limit(), rank=2))).verdict is ALLOW)


def test_only_what_needs_the_token_waits_for_it() -> None:
    redis.client().hset(keys.HOLDS, ALICE, "0 0 token expired")
    assert deciding.decide(ask(plan(limit()))).verdict is ALLOW
    assert deciding.decide(ask(plan(limit(), needs_token=True))).verdict is WAIT


def test_a_calendar_window_turns_by_the_servers_clock() -> None:
    short = plan(limit(capacity=2, period=1))
    made = until(
        lambda: [found for found in deciding.decide_many([ask(short) for _ in range(3)]) if found.verdict is WAIT]
    )
    assert made[0].room_at == made[0].readings[0].ends_at
    assert until(lambda: deciding.decide(ask(short)).verdict is ALLOW, seconds=3)


def test_a_rolling_window_gives_room_when_it_said(at: Clock) -> None:
    rolling = plan(limit(capacity=2, window="rolling", period="hour"))
    at.decide(rolling)
    at.now += 600_000
    at.decide(rolling)
    refused = at.decide(rolling)
    assert refused.room_at is not None
    room = round(refused.room_at.timestamp() * 1000)
    assert START + HOUR_MS < room <= START + HOUR_MS * 62 // 60
    at.now = room - 1
    assert at.decide(rolling).verdict is WAIT
    at.now = room
    assert at.decide(rolling).verdict is ALLOW
    assert at.decide(rolling).verdict is WAIT


@pytest.mark.parametrize("hours", [-30, -1, 1, 30])
def test_a_callers_clock_may_be_off_by_hours(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    daily = plan(limit(capacity=1, period="hour"))
    assert deciding.decide(ask(daily)).verdict is ALLOW
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(hours=hours))
    monkeypatch.setattr(asking, "_ahead", 0.0)
    assert deciding.decide(ask(daily)).verdict is WAIT
    assert deciding.decide(ask(daily)).at < datetime.now(UTC) + timedelta(minutes=1)


def test_a_server_whose_clock_is_set_back_a_little_forgets_nothing(at: Clock) -> None:
    hourly = plan(limit(capacity=10, period="hour"))
    assert at.allowed(hourly, 4) == 4
    at.now = START + HOUR_MS + 10
    assert at.allowed(hourly, 3) == 3
    at.now = START + HOUR_MS - 10
    assert at.allowed(hourly, 20) == 3  # 4 of this hour's, and those of the next one
    at.now = START + HOUR_MS + 20
    assert at.allowed(hourly, 20) == 4


def test_a_server_whose_clock_is_set_back_a_year_does_not_wait_for_it(at: Clock) -> None:
    both = plan(limit(capacity=10, period="hour"), limit("rolling", 10, window="rolling", period="hour"))
    at.now = START + 365 * 24 * HOUR_MS
    assert at.allowed(both, 4) == 4
    at.now = START
    assert at.allowed(both, 20) == 6
    at.now = START + 2 * HOUR_MS
    assert at.allowed(both, 20) == 10


def test_a_limit_that_becomes_another_forgets_nothing_that_may_still_count(at: Clock) -> None:
    kinds = [
        limit(capacity=10, period="hour"),
        limit(capacity=10, window="rolling", period="hour"),
        limit(capacity=10, period="day"),
        limit(capacity=10, window="rolling", period="minute"),
        limit(capacity=10, period="hour"),
    ]
    for number, kind in enumerate(kinds):
        assert used(at.decide(plan(kind))) == [number + 1]


def test_the_hour_before_counts_where_a_calendar_hour_becomes_a_rolling_one(at: Clock) -> None:
    at.allowed(plan(limit(capacity=10, period="hour")), 4)
    at.now += HOUR_MS
    at.allowed(plan(limit(capacity=10, period="hour")), 3)
    assert used(at.decide(plan(limit(capacity=10, window="rolling", period="hour")))) == [8]


def test_a_short_window_does_not_make_a_long_one_forget(at: Clock) -> None:
    at.decide(plan(limit("daily", period="day")))
    at.decide(plan(limit("brief", period="minute")))
    assert redis.client().pttl(keys.STATE + ALICE) > state()["l"]["daily"]["e"] - START


def test_lanes_live_an_hour_and_blocks_until_they_end() -> None:
    lanes.mark(ALICE, {"calls": 1}, whole=True)
    assert redis.client().ttl(keys.STATE + ALICE) >= 3600
    brief = limit(period="minute")
    deciding.decide(ask(plan(brief, rank=0)))
    assert redis.client().ttl(keys.STATE + ALICE) >= 3600
    correcting.block(ALICE, [brief], clock.now() + timedelta(hours=30))
    deciding.decide(ask(plan(brief, rank=0)))
    assert redis.client().ttl(keys.STATE + ALICE) >= 30 * 3600


def test_newcomers_wait_behind_those_who_wait_for_the_same() -> None:
    lanes.mark(ALICE, {"posts": 1, "publish": 2}, whole=True)
    calls, posts = limit("calls"), limit("posts")
    assert deciding.decide(ask(plan(calls))).verdict is ALLOW
    assert deciding.decide(ask(plan(calls, posts))).behind == "posts"
    assert deciding.decide(ask(plan(calls, posts, rank=0))).verdict is ALLOW
    assert deciding.decide(ask(plan(calls, operation="publish", rank=3))).behind == "publish"
    assert deciding.decide(ask(plan(calls, operation="publish", rank=1))).verdict is ALLOW
    released = ask(plan(calls, posts), counting=Counting.RELEASE)
    assert deciding.decide(released).verdict is ALLOW


def test_within_a_pass_nothing_overtakes_what_stayed_and_needs_the_same() -> None:
    calls, posts = limit("calls", 5), limit("posts", 1)
    publish, reply = plan(calls, posts, operation="publish"), plan(calls)

    def release(planned: Plan, pass_: str, cost: int = 1) -> Decision:
        return deciding.decide(ask(planned, counting=Counting.RELEASE, pass_=pass_))

    assert [release(publish, "one").verdict for _ in range(3)] == [ALLOW, WAIT, WAIT]
    assert release(reply, "one").verdict is ALLOW  # it needs calls, and those who stayed wait for posts
    two = plan(calls, cost=4, operation="read")
    assert release(two, "one").verdict is WAIT  # there are 3 left
    assert release(reply, "one").behind == "calls"
    assert release(reply, "two").verdict is ALLOW


def test_a_waiting_id_is_known_to_newcomers_and_open_to_the_releaser() -> None:
    one = ask(plan(limit()))
    assert lanes.note_waiting(one.key, "reply", 60_000)
    again = deciding.decide(one)
    assert again.before is not None
    assert (again.verdict, again.before.waits, again.before.operation) == (AGAIN, True, "reply")
    released = ask(one.plan, key=one.key, counting=Counting.RELEASE)
    assert [deciding.decide(released).verdict for _ in range(2)] == [ALLOW, AGAIN]
    assert not lanes.note_waiting(one.key, "reply", 60_000)
    assert not lanes.forget_waiting(one.key)


def test_crossings_are_told_once_each(at: Clock) -> None:
    planned = plan(limit(capacity=10, warn_at=[0.5, 0.8, 1.0]))
    at.allowed(planned, 12)
    told = [(one["limit"], one["level"], one["used"], one["operation"]) for one in events()]
    assert told == [("calls", 1, 5, "reply"), ("calls", 2, 8, "reply"), ("calls", 3, 10, "reply")]


def test_one_step_over_several_crossings_tells_the_highest() -> None:
    deciding.decide(ask(plan(limit(capacity=10), cost=10)))
    assert [(one["level"], one["subject"]) for one in events()] == [(3, ALICE)]


def test_refusals_are_counted_as_refused_or_deferred() -> None:
    planned = plan(limit(capacity=1))
    for counting in (Counting.NOW, Counting.NOW, Counting.DEFER, Counting.RELEASE, Counting.PEEK):
        deciding.decide(ask(planned, counting=counting))
    counter = state()["l"]["calls"]
    assert (counter["u"], counter["r"], counter["d"]) == (1, 1, 1)


def test_what_is_not_kept_leaves_no_record_and_needs_no_epoch() -> None:
    redis.client().delete(keys.EPOCH)
    passing = plan(limit(capacity=1, window="rolling", period=1), kept=False)
    assert [deciding.decide(ask(passing, key="same")).verdict for _ in range(2)] == [ALLOW, WAIT]
    assert set(redis.client().keys("*")) <= {keys.STATE + ALICE}
    assert redis.client().pttl(keys.STATE + ALICE) < 2000


def test_a_decision_works_right_after_the_scripts_were_flushed() -> None:
    redis.client().script_flush()
    assert deciding.decide(ask(plan(limit()))).verdict is ALLOW


def test_states_are_plain_json() -> None:
    deciding.decide(ask(plan(limit(), limit("rolling", window="rolling"))))
    assert json.loads(redis.client().get(keys.STATE + ALICE))["l"]["rolling"]["b"] == [1]


def test_what_was_released_is_known_for_a_day_and_other_ids_for_a_while(redis_server: str) -> None:
    begin()
    now, released = ask(plan(limit())), ask(plan(limit()), counting=Counting.RELEASE)
    assert [one.verdict for one in deciding.decide_many([now, released])] == [Verdict.ALLOW, Verdict.ALLOW]
    lives = [redis.client().ttl(keys.RECORD + one.key) for one in (now, released)]
    assert 800 < lives[0] <= 900
    assert 86_000 < lives[1] <= 86_400


@pytest.mark.parametrize("told", [1, 2, 3])
def test_a_platform_that_allows_little_leaves_something_to_every_class(redis_server: str, told: int) -> None:
    begin()
    background = plan(limit(capacity=50, platform="demo"), rank=3)
    deciding.decide(ask(background))
    correcting.correct(ALICE, [correcting.Correction(background.uses[0].limit, 0, told)])
    [reading] = deciding.peek(ask(background)).readings
    assert (reading.capacity, reading.ceiling) == (told, told)
