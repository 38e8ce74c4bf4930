"""A difference is judged by its share, and explained by tokens before prices."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from app.costs.bill_judging import Captured, State, Verdict, is_near, judge, percent
from app.costs.bill_source import Billed, Counted
from tests.costs.billed import provider

DAY = date(2026, 11, 10)
BEGAN = date(2026, 11, 1)
NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
TOKENS = Counted(1_000_000, 400_000, 100_000)
ACCOUNT = provider("openai", "http://127.0.0.1")


def judged(
    captured: Captured, billed: int | None = 10_000_000, tokens: Counted | None = TOKENS, note: str = "", **more: object
) -> Verdict:
    given = {"settled": True, "began": BEGAN, "moved_at": None} | more
    one = Billed(DAY, billed, tokens, settled=bool(given["settled"]), note=note)
    return judge(captured, one, ACCOUNT, NOW, began=given["began"], moved_at=given["moved_at"])  # type: ignore[arg-type]


def ours(dollars: float, share: float = 1.0, **more: int) -> Captured:
    counted = Counted(*(round(share * count) for count in (TOKENS.input, TOKENS.cached, TOKENS.output)))
    return Captured(round(dollars * 1_000_000), counted, 50, **more)


@pytest.mark.parametrize("dollars", [10, 9.8, 10.2])
def test_within_two_percent_the_two_agree(dollars: float) -> None:
    assert judged(ours(dollars)) == Verdict(State.AGREES, "")


def test_missing_calls_are_told_from_wrong_prices() -> None:
    assert judged(ours(9, 0.9)) == Verdict(
        State.DIFFERS,
        "calls are missing: 900,000 of 1,000,000 input tokens were captured (-10.0 %);"
        " $9.00 captured, $10.00 billed (-10.0 %)",
    )
    assert judged(ours(7)) == Verdict(
        State.DIFFERS,
        "tokens agree, prices do not: a million cost $6.36 here and $9.09 there;"
        " $7.00 captured, $10.00 billed (-30.0 %)",
    )
    assert judged(ours(8, unpriced=12)).why.startswith("tokens agree, but 12 of 50 calls have no price: $8.00 captured")
    assert judged(ours(20, 2)).why.startswith("more was captured than was used, calls of another account or twice: 2,0")
    uncached = Captured(13_000_000, Counted(TOKENS.input, 0, TOKENS.output), 50)
    assert judged(uncached).why.startswith("cached tokens are counted otherwise: 0 here and 400,000 there; $13.00")
    short = Captured(9_000_000, Counted(TOKENS.input, TOKENS.cached, 50_000), 50)
    assert judged(short).why.startswith("calls are missing: 50,000 of 100,000 output tokens were captured (-50.0 %)")


def test_a_provider_that_tells_no_tokens_is_compared_by_money_alone() -> None:
    found = judged(ours(9, unpriced=3), tokens=None, note="from here to there")
    assert found.state is State.DIFFERS
    assert found.why == (
        "the provider tells no tokens: $9.00 captured, $10.00 billed (-10.0 %); 3 of 50 calls have no price;"
        " from here to there"
    )


def test_money_that_agrees_beside_tokens_that_do_not_is_said() -> None:
    found = judged(ours(10, 0.5))
    assert found.state is State.AGREES
    assert found.why.startswith("calls are missing: 500,000 of 1,000,000")


def test_less_than_a_cent_is_rounding() -> None:
    assert judged(Captured(9_999), 0, Counted()).state is State.AGREES
    assert judged(Captured(10_000), 0, Counted()).state is State.DIFFERS
    assert judged(Captured(), 0, Counted()).state is State.AGREES
    assert (percent(1, 0), percent(90, 100), is_near(0, 0, 0)) == (None, -10.0, True)


def test_a_day_is_not_decided_before_its_bill_is_final() -> None:
    assert judged(ours(1), settled=False) == Verdict(State.SETTLING, "final 2 days after it is over")
    moved = judged(ours(1), moved_at=NOW - timedelta(hours=19))
    assert moved == Verdict(State.SETTLING, "the bill has changed since it was read before")
    assert judged(ours(1), moved_at=NOW - timedelta(hours=20)).state is State.DIFFERS


def test_what_cannot_be_known_is_unknown() -> None:
    assert judged(ours(1), None, note="is billed in EUR") == Verdict(State.UNKNOWN, "is billed in EUR")
    assert judged(ours(1), began=DAY) == Verdict(State.UNKNOWN, "calls are recorded only since amid 2026-11-10")
    assert judged(ours(1), began=None) == Verdict(State.UNKNOWN, "no call has been recorded yet")
