"""How far what has waited may go: never over the ceiling, never nothing for ever, evenly at first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.admission.release_core import (
    LONGEST,
    SOON,
    Stay,
    bounded,
    ceiling,
    lanes_after,
    lanes_of,
    longest,
    look_again_in,
    reached_at,
    reason_of,
)
from app.catalog import CLASSES, RateLimit
from app.limits.core import Ask, Decision, Hold, Use, Verdict
from app.limits.plans import Plan

HOUR = datetime(2026, 11, 21, 12, tzinfo=UTC)
CRITICAL, INTERACTIVE, NORMAL, BACKGROUND = range(4)


def limit(**given: object) -> RateLimit:
    return RateLimit.model_validate({"name": "calls", "capacity": 180, "window": "calendar", "period": "hour"} | given)


def at(share: float) -> datetime:
    """That far in the hour."""
    return HOUR + timedelta(hours=1) * share


limits = st.builds(
    limit,
    capacity=st.integers(1, 10_000),
    reserve=st.floats(0, 0.9),
    spread=st.floats(0, 1),
    window=st.sampled_from(["calendar", "rolling"]),
    ceilings=st.dictionaries(st.sampled_from(CLASSES), st.floats(0.1, 2), max_size=4),
)
ranks = st.integers(0, 3)
shares = st.floats(0, 0.999999)


def test_a_new_hour_is_not_used_up_in_its_first_second() -> None:
    assert ceiling(limit(), INTERACTIVE, cost=1, now=at(0)) == 1
    assert ceiling(limit(), INTERACTIVE, cost=1, now=at(0.025)) == 91
    assert ceiling(limit(), INTERACTIVE, cost=1, now=at(0.05)) == 180
    assert ceiling(limit(), CRITICAL, cost=1, now=at(0)) == 180
    assert ceiling(limit(spread=0), INTERACTIVE, cost=1, now=at(0)) == 180


def test_a_reserve_stays_for_people_and_melts_away() -> None:
    assert [ceiling(limit(), NORMAL, cost=1, now=at(share)) for share in (0.1, 0.5, 0.9, 0.9999)] == [
        164,
        171,
        179,
        180,
    ]
    assert [ceiling(limit(), BACKGROUND, cost=1, now=at(share)) for share in (0.1, 0.9999)] == [164, 171]
    assert ceiling(limit(), INTERACTIVE, cost=1, now=at(0.1)) == 180


def test_half_a_reserve_stays_where_a_window_has_no_end() -> None:
    assert ceiling(limit(window="rolling"), NORMAL, cost=1, now=HOUR) == 171
    assert ceiling(limit(window="rolling"), INTERACTIVE, cost=1, now=HOUR) == 180


def test_one_post_a_day_can_be_posted() -> None:
    for rank in range(4):
        for window in ("calendar", "rolling"):
            one = limit(capacity=1, window=window, ceilings={})
            assert ceiling(one, rank, cost=1, now=at(0.01)) == 1


@given(limits, ranks, st.integers(0, 500), shares)
def test_it_is_never_over_the_classes_ceiling_and_never_less_than_one_needs(
    one: RateLimit, rank: int, cost: int, share: float
) -> None:
    full = one.ceiling(rank)
    assert min(cost, full) <= ceiling(one, rank, cost=cost, now=at(share)) <= full


@given(limits, ranks, shares, shares)
def test_it_only_rises_within_a_window(one: RateLimit, rank: int, some: float, other: float) -> None:
    early, late = sorted((some, other))
    assert ceiling(one, rank, cost=1, now=at(early)) <= ceiling(one, rank, cost=1, now=at(late))


@given(limits, shares)
def test_who_is_more_urgent_may_go_as_far(one: RateLimit, share: float) -> None:
    plain = one.model_copy(update={"ceilings": {}})
    found = [ceiling(plain, rank, cost=1, now=at(share)) for rank in range(4)]
    assert found == sorted(found, reverse=True)


@given(limits.filter(lambda one: one.window == "calendar"), ranks)
def test_nothing_is_wasted_at_the_end(one: RateLimit, rank: int) -> None:
    end = HOUR + timedelta(hours=1) - timedelta(microseconds=1)
    assert ceiling(one, rank, cost=1, now=end) == one.ceiling(rank)


@given(limits, ranks, st.integers(1, 20_000), shares)
def test_it_is_known_when_the_ceiling_reaches_what_is_needed(
    one: RateLimit, rank: int, need: int, share: float
) -> None:
    now = at(share)
    reached = reached_at(one, rank, need=need, now=now)
    if one.window == "rolling" or need > one.ceiling(rank):
        assert reached is None
        return
    assert reached is not None
    assert now <= reached <= HOUR + timedelta(hours=1)
    moment = min(reached + timedelta(milliseconds=1), HOUR + timedelta(hours=1) - timedelta(microseconds=1))
    assert ceiling(one, rank, cost=0, now=moment) >= need
    earlier = reached - timedelta(milliseconds=1)
    if earlier > now:
        assert ceiling(one, rank, cost=0, now=earlier) < need


def stopped(*uses: tuple[RateLimit, int, int], now: datetime, rank: int = NORMAL, **more: object) -> Decision:
    """Each limit with what is used of it, and its ceiling: what costs 1 has to stay where it is used up."""
    known = [Use(one, 0, 1, top) for one, _, top in uses]
    plan = Plan("call", rank, known)
    plan.text(now.timestamp())
    end = plan.ends_at(0, now) if uses and uses[0][0].window == "calendar" else now + timedelta(minutes=20)
    told = [
        [used, round(end.timestamp() * 1000) if used + 1 > top and end else 0, one.units] for one, used, top in uses
    ]
    return Decision(Verdict.WAIT, now, Ask(plan, "k", ("account:-/ann",)), told=told, **more)  # type: ignore[arg-type]


def test_what_the_spread_stops_is_looked_at_when_the_ceiling_has_risen() -> None:
    now = at(0.01)
    decision = stopped((limit(), 37, 37), now=now, rank=INTERACTIVE)
    wait = look_again_in(decision)
    assert wait is not None
    assert timedelta(0) < wait < timedelta(seconds=10)
    assert ceiling(limit(), INTERACTIVE, cost=1, now=now + wait + timedelta(milliseconds=1)) == 38


def test_what_is_full_is_looked_at_when_the_window_is_over() -> None:
    decision = stopped((limit(), 180, 180), now=at(0.5), rank=INTERACTIVE)
    assert look_again_in(decision) == timedelta(minutes=30)
    assert bounded(look_again_in(decision)) == LONGEST
    rolling = stopped((limit(window="rolling"), 180, 180), now=at(0.5))
    assert look_again_in(rolling) == timedelta(minutes=20)


def test_a_hold_says_until_when_or_nobody_does() -> None:
    until = at(0.5) + timedelta(seconds=7)
    held = stopped((limit(), 0, 180), now=at(0.5), holds=(Hold(0, until, "wait", "pause: upkeep"),))
    assert look_again_in(held) == timedelta(seconds=7)
    endless = stopped((limit(), 180, 180), now=at(0.5), holds=(Hold(0, None, "wait", "pause: upkeep"),))
    assert look_again_in(endless) is None
    assert bounded(None) == LONGEST
    assert bounded(timedelta(0)) == SOON


def test_where_thousands_wait_each_is_looked_at_less_often() -> None:
    assert [longest(count) for count in (0, 1200, 12_000, 10**6)] == [
        timedelta(minutes=1),
        timedelta(minutes=1),
        timedelta(minutes=10),
        timedelta(minutes=20),
    ]
    assert bounded(timedelta(hours=1), longest(12_000)) == timedelta(minutes=10)


def test_newcomers_wait_behind_what_is_full_or_behind_the_operation() -> None:
    decision = stopped((limit(), 180, 180), (limit(name="posts"), 0, 180), now=at(0.5))
    assert lanes_of(decision, "call") == {"calls"}
    assert reason_of(decision) == "room in calls"
    held = stopped((limit(), 0, 180), now=at(0.5), holds=(Hold(0, None, "wait", "pause: upkeep"),))
    assert lanes_of(held, "call") == {"call"}
    assert reason_of(held) == "pause: upkeep"
    behind = stopped((limit(), 0, 180), now=at(0.5), behind="calls")
    assert lanes_of(behind, "call") == {"calls"}
    assert reason_of(behind) == "those before it, which wait for calls"
    assert lanes_of(None, "call") == {"call"}


def test_lanes_are_of_the_most_urgent_and_of_all_that_nobody_looked_at() -> None:
    stays = {"call": Stay(frozenset({"calls"}), None, "room in calls")}
    everything = {"call": frozenset({"call", "calls", "rolling"}), "post": frozenset({"post", "calls", "posts"})}
    assert lanes_after({"call": 2}, stays, everything) == {"calls": 2}
    assert lanes_after({"call": 2, "post": 1}, stays, everything) == {"calls": 1, "post": 1, "posts": 1}
    assert lanes_after({"gone": 3}, {}, everything) == {"gone": 3}
    assert lanes_after({}, stays, everything) == {}
