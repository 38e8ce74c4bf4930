"""Error budgets that burn: rates, minimums, hysteresis, over made-up outages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog import Availability, BurnWindows
from app.health.availability.burning import (
    GOES_ON,
    Fault,
    Least,
    Reason,
    Span,
    Verdict,
    burn_rate,
    judge,
    minutes_of,
)

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
FAST, SLOW = Availability().fast, Availability().slow
HOUR = timedelta(hours=1)

# Outages of the last three days, in seconds before now: apart and in order.
edges = st.lists(st.integers(0, 3 * 86_400), min_size=2, max_size=16, unique=True).map(lambda edge: sorted(edge)[::-1])
outages = edges.map(lambda edge: [down(begin, end) for begin, end in zip(edge[::2], edge[1::2], strict=False)])


def down(begin: float, end: float = 0) -> Span:
    """Down from so many seconds ago until so many seconds ago."""
    return Span(NOW - timedelta(seconds=begin), NOW - timedelta(seconds=end))


def verdict(
    *spans: Span,
    pairs: tuple[BurnWindows, ...] = FAST,
    objective: float = 99.5,
    was: bool = False,
    failures: int = 3,
    now: datetime = NOW,
) -> Verdict:
    faults = [Fault(span.begin, span.end, failures) for span in spans]
    return judge(spans, faults, pairs, objective=objective, least=Least(), was=was, now=now)


def test_a_rate_of_one_uses_the_budget_up_exactly() -> None:
    assert burn_rate([down(3600 * 0.005)], NOW - HOUR, NOW, 99.5) == pytest.approx(1)
    assert burn_rate([down(3600)], NOW - HOUR, NOW, 99.5) == pytest.approx(200)
    assert burn_rate([], NOW - HOUR, NOW, 99.5) == 0


def test_an_outage_of_four_and_a_half_minutes_is_a_page() -> None:
    """14.4 times 0.5 % of an hour are 259 seconds."""
    assert not verdict(down(258)).burning
    burns = verdict(down(260))
    assert (burns.burning, burns.reason) == (True, Reason.BOTH_WINDOWS)


def test_an_outage_that_is_over_is_no_page_and_ends_one() -> None:
    long_ago = down(1200, 900)
    assert verdict(long_ago) == Verdict(False, Reason.SLOW_ENOUGH, verdict(long_ago).rates)
    assert verdict(down(1200, 900), was=True).reason is Reason.STOPPED


def test_what_burns_goes_on_to_half_the_rate() -> None:
    """In the short window 21.6 s are the rate, 10.8 s half of it."""
    assert not verdict(down(600, 285)).burning
    assert verdict(down(600, 285), was=True).reason is Reason.STILL_FAST
    assert not verdict(down(600, 291), was=True).burning


def test_a_slow_burn_is_a_ticket_and_no_page() -> None:
    """A minute of every hour for two days: 3.3 times the pace of 99.5 %."""
    spans = [down(3600 * hours + 60, 3600 * hours) for hours in range(47, -1, -1)]
    assert verdict(*spans, pairs=SLOW).burning
    assert not verdict(*spans, pairs=FAST).burning


def test_one_failing_probe_never_burns_however_long_it_speaks_for_its_service() -> None:
    once = verdict(down(900), failures=1)
    assert (once.burning, once.reason) == (False, Reason.TOO_FEW_FAILURES)
    assert verdict(down(900), failures=2).burning


def test_a_short_fault_of_a_strict_objective_is_too_little() -> None:
    short = verdict(down(100, 0), objective=99.9)
    assert (short.burning, short.reason) == (False, Reason.TOO_FEW_MINUTES)
    assert verdict(down(100, 0), objective=99.9, now=NOW + timedelta(seconds=10)).reason is Reason.TOO_FEW_MINUTES
    assert verdict(down(130, 0), objective=99.9).burning


def test_minutes_are_those_of_the_clock_and_count_once() -> None:
    since = NOW - HOUR
    assert minutes_of([down(60)], since, NOW) == 1
    assert minutes_of([down(61)], since, NOW) == 2
    assert minutes_of([down(59, 50), down(40, 30), down(20, 10)], since, NOW) == 1
    assert minutes_of([down(90, 50), down(40, 30)], since, NOW) == 2
    assert minutes_of([down(7200, 3540)], since, NOW) == 1
    assert minutes_of([down(30, 30)], since, NOW) == 0


@given(outages)
def test_minutes_are_counted_as_one_would_by_hand(spans: list[Span]) -> None:
    since = NOW - 24 * HOUR
    touched = {
        second // 60
        for span in spans
        for second in range(int(max(span.begin, since).timestamp()), int(min(span.end, NOW).timestamp()))
    }
    assert minutes_of(spans, since, NOW) == len(touched)


@given(outages, st.sampled_from([95.0, 99.5, 99.9]), st.booleans())
def test_more_down_time_never_burns_less(spans: list[Span], objective: float, was: bool) -> None:
    """One outage from before the first until now instead of all of them."""
    whole = [Span(min(span.begin for span in spans) - HOUR, NOW)]
    for pairs in (FAST, SLOW):
        if verdict(*spans, pairs=pairs, objective=objective, was=was).burning:
            assert verdict(*whole, pairs=pairs, objective=objective, was=was).burning


@given(outages)
def test_what_begins_to_burn_goes_on_a_moment_later(spans: list[Span]) -> None:
    for pairs in (FAST, SLOW):
        if verdict(*spans, pairs=pairs).burning:
            assert verdict(*spans, pairs=pairs, was=True).burning


@given(outages)
def test_both_windows_must_reach_the_rate_at_which_it_begins(spans: list[Span]) -> None:
    found = verdict(*spans)
    if found.burning:
        assert any(min(pair.long, pair.short) >= pair.windows.rate for pair in found.rates)
    else:
        assert found.reason is not Reason.SLOW_ENOUGH or not any(pair.reach() for pair in found.rates)
    assert GOES_ON < 1


@given(outages)
def test_everything_ends_after_a_quiet_time(spans: list[Span]) -> None:
    later = NOW + timedelta(seconds=max(pair.short for pair in (*FAST, *SLOW)))
    assert not verdict(*spans, pairs=(*FAST, *SLOW), was=True, now=later).burning
