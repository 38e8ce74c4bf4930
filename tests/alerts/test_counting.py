"""Counting signals against a simple model; confirming, refreshing and ending an alert."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.core import Policy, State, advance
from app.alerts.counting import LATE, Counted, again, begin, ended
from app.alerts.rules import Raise

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def raised(second: float, **given_: object) -> Raise:
    plain = Raise(
        rule="R", subject="s", fingerprint="f", name="R", severity="warning", team=None, service=None, labels={},
        annotations={}, starts_at=at(second), at=at(second),
    )  # fmt: skip
    return replace(plain, **given_)  # type: ignore[arg-type]


def told(moments: list[float], **rule: object) -> Counted:
    """What these signals made, each handled at once."""
    known = begin(raised(moments[0], **rule), at(moments[0]))
    for moment in moments[1:]:
        known = again(known, raised(moment, **rule), at(moment))
    return known


def test_one_signal_is_enough_where_nothing_else_is_said() -> None:
    life = told([1]).life
    assert (life.state, life.fired_at, life.ends_at, life.due_at) == (State.FIRING, at(1), None, None)


def test_a_rule_that_waits_fires_when_it_has_lasted() -> None:
    known = told([1], wait=timedelta(seconds=60))
    assert (known.life.state, known.life.fires_at, known.life.due_at) == (State.PENDING, at(61), at(61))
    later = again(known, raised(30, wait=timedelta(seconds=60)), at(30))
    assert later.life.fires_at == at(61)
    assert advance(later.life, at(61), Policy()).episode.state is State.FIRING


def test_what_expires_lives_as_long_as_it_is_told_again() -> None:
    assert told([0, 50], expires_after=timedelta(seconds=60)).life.due_at == at(110)


def test_failures_in_a_row_fire_at_the_last_one_and_wait_from_then_on() -> None:
    assert told([0, 5], count=3).life.state is State.PENDING
    known = told([0, 5, 9], count=3)
    assert (known.life.state, known.life.fired_at, known.life.starts_at) == (State.FIRING, at(9), at(0))
    assert known.occurrences == 3
    assert told([0, 5, 9], count=3, wait=timedelta(seconds=10)).life.fires_at == at(19)


def test_an_end_between_breaks_the_row() -> None:
    known = told([0, 5], count=3)
    broken = replace(known, life=ended(known.life, at(6), at(6)))
    assert broken.life.due_at == at(6)
    fresh = again(broken, raised(7, count=3), at(7))
    assert (fresh.life.state, fresh.recent, fresh.life.starts_at) == (State.PENDING, (at(7),), at(7))
    assert fresh.life.due_at is None


def test_within_a_window_only_the_signals_in_it_count() -> None:
    window = {"count": 3, "within": timedelta(seconds=10)}
    assert told([0, 9, 11], **window).life.state is State.PENDING
    known = told([0, 9, 11, 19], **window)
    assert (known.life.state, known.life.starts_at) == (State.FIRING, at(9))


def test_a_window_that_passes_ends_what_was_never_confirmed() -> None:
    known = told([0], count=3, within=timedelta(seconds=10))
    assert known.life.due_at == at(10) + LATE
    assert advance(known.life, at(10) + LATE, Policy()).episode.state is State.RESOLVED
    assert told([0, 1, 2], count=3, within=timedelta(seconds=10)).life.due_at is None


def test_signals_that_are_handled_late_and_in_any_order_are_counted_by_when_they_were() -> None:
    window = {"count": 3, "within": timedelta(seconds=10)}
    known = begin(raised(9, **window), at(100))
    known = again(known, raised(1, **window), at(130))
    assert (known.life.state, known.life.starts_at) == (State.PENDING, at(1))
    assert again(known, raised(8, **window), at(131)).life.state is State.FIRING


def test_told_again_an_end_is_taken_back() -> None:
    known = told([0])
    over = replace(known, life=replace(ended(known.life, at(3), at(4)), held=True))
    life = again(over, raised(5), at(5)).life
    assert (life.state, life.ends_at, life.ends_explicitly, life.held) == (State.FIRING, None, False, False)


def test_an_end_is_neither_in_the_future_nor_before_the_beginning_nor_told_twice() -> None:
    life = told([10]).life
    assert ended(life, at(99), at(20)).ends_at == at(20)
    assert ended(life, at(1), at(20)).ends_at == at(10)
    once = ended(life, at(15), at(20))
    assert ended(once, at(18), at(21)) == once
    held = replace(once, held=True, ends_at=at(600))
    assert ended(held, at(30), at(30)) == held


def test_who_is_at_it_stays_at_it() -> None:
    known = told([0])
    taken = replace(known, life=replace(known.life, state=State.ACKNOWLEDGED, acknowledged_until=at(50)))
    life = again(taken, raised(5, expires_after=timedelta(seconds=10)), at(5)).life
    assert (life.state, life.due_at) == (State.ACKNOWLEDGED, at(15))


STEPS = st.lists(st.tuples(st.sampled_from(["signal", "signal", "signal", "end"]), st.integers(0, 30)), max_size=40)


@given(STEPS, st.integers(1, 5), st.one_of(st.none(), st.integers(1, 60)))
def test_it_fires_exactly_when_the_model_says(steps: list[tuple[str, int]], count: int, within: int | None) -> None:
    """In a row: since the last end. In a window: the newest and `count` - 1 before it, no farther apart than it is."""
    known: Counted | None = None
    seen: list[int] = []
    now, fires = 0, False
    for kind, pause in steps:
        now += pause
        if kind == "end":
            if known is not None and not fires:
                known = replace(known, life=ended(known.life, at(now), at(now)))
            seen = [] if not fires else seen
            continue
        seen.append(now)
        new = raised(now, count=count, within=seconds(within))
        known = begin(new, at(now)) if known is None else again(known, new, at(now))
        fires = fires or (len(seen) >= count and (within is None or seen[-1] - seen[-count] <= within))
        assert (known.life.state is State.FIRING) == fires
        assert len(known.recent) <= count


@pytest.mark.parametrize("within", [None, 20])
@given(
    moments=st.lists(st.integers(0, 120), min_size=1, max_size=20),
    count=st.integers(1, 4),
    wait=st.integers(0, 30),
    expires=st.one_of(st.none(), st.integers(1, 60)),
)
def test_nothing_is_due_later_than_something_happens(
    within: int | None, moments: list[int], count: int, wait: int, expires: int | None
) -> None:
    rule = {
        "count": count, "within": seconds(within), "wait": timedelta(seconds=wait), "expires_after": seconds(expires),
    }  # fmt: skip
    life = told(sorted(moments), **rule).life
    now = at(max(moments))
    due = life.due_at
    for step in range(200):
        moment = now + timedelta(seconds=step)
        if due is None or moment < due:
            assert advance(life, moment, Policy()).reason is None
