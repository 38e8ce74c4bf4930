"""Does what was captured agree with what is billed? Tokens are compared before prices. Pure; money in micro-dollars."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from app.catalog import MICRO, Provider
from app.costs.bill_source import Billed, Counted

CENT = 10_000
"""Differences of less than a cent are the provider's rounding, whatever share they are."""

STILL = timedelta(hours=20)
"""A bill that changed so lately may change again: it is looked at every day."""


class State(StrEnum):
    """What a day's comparison came to."""

    SETTLING = "settling"
    AGREES = "agrees"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Captured:
    """What we have of a day. `unpriced` calls are in the tokens, but not in the money."""

    micro_usd: int = 0
    tokens: Counted = field(default_factory=Counted)
    calls: int = 0
    unpriced: int = 0

    def document(self) -> dict[str, int]:
        """The counts, JSON-ready."""
        return {**self.tokens.document(), "calls": self.calls, "unpriced": self.unpriced}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, and the reason in words with figures."""

    state: State
    why: str


def judge(
    captured: Captured,
    billed: Billed,
    provider: Provider,
    now: datetime,
    *,
    began: date | None,
    moved_at: datetime | None,
) -> Verdict:
    """`began`: the day of the first call that was ever recorded. `moved_at`: when the bill last changed."""
    if began is None or billed.day <= began:
        since = "no call has been recorded yet" if began is None else f"calls are recorded only since amid {began}"
        return Verdict(State.UNKNOWN, since)
    if not billed.settled:
        return Verdict(State.SETTLING, _joined(f"final {provider.settle_days} days after it is over", billed.note))
    if billed.micro_usd is None:
        return Verdict(State.UNKNOWN, billed.note)
    if moved_at is not None and now - moved_at < STILL:
        return Verdict(State.SETTLING, _joined("the bill has changed since it was read before", billed.note))
    if is_near(captured.micro_usd, billed.micro_usd, provider.tolerance, least=CENT):
        return Verdict(State.AGREES, _joined(_tokens(captured, billed.tokens, provider.tolerance), billed.note))
    return Verdict(State.DIFFERS, _joined(_why(captured, billed, provider.tolerance), billed.note))


def is_near(ours: int, theirs: int, tolerance: float, *, least: int = 0) -> bool:
    """Is the difference within that share of theirs, or less than `least`?"""
    difference = abs(ours - theirs)
    return difference == 0 or difference < least or difference <= tolerance * abs(theirs)


def percent(ours: int, theirs: int) -> float | None:
    """By how much ours is more than theirs; None where theirs is nothing."""
    return round(100 * (ours - theirs) / theirs, 2) if theirs else None


def _why(captured: Captured, billed: Billed, tolerance: float) -> str:
    if billed.micro_usd is None or billed.tokens is None:
        return _joined(f"the provider tells no tokens: {_money(captured, billed)}", _unpriced(captured))
    gap = _tokens(captured, billed.tokens, tolerance)
    if gap:
        return _joined(gap, _money(captured, billed))
    if captured.unpriced:
        return f"tokens agree, but {_unpriced(captured)}: {_money(captured, billed)}"
    ours, theirs = (
        _per_million(*pair) for pair in ((captured.micro_usd, captured.tokens), (billed.micro_usd, billed.tokens))
    )
    return f"tokens agree, prices do not: a million cost {ours} here and {theirs} there; {_money(captured, billed)}"


def _tokens(captured: Captured, theirs: Counted | None, tolerance: float) -> str:
    """How tokens differ; "" where they agree, or are not told."""
    if theirs is None:
        return ""
    ours = captured.tokens
    for what, mine, billed in (("input", ours.input, theirs.input), ("output", ours.output, theirs.output)):
        if is_near(mine, billed, tolerance):
            continue
        figures = f"{mine:,} of {billed:,} {what} tokens were captured{_share(mine, billed)}"
        if mine < billed:
            return f"calls are missing: {figures}"
        return f"more was captured than was used, calls of another account or twice: {figures}"
    if not is_near(ours.cached, theirs.cached, tolerance):
        return f"cached tokens are counted otherwise: {ours.cached:,} here and {theirs.cached:,} there"
    return ""


def _unpriced(captured: Captured) -> str:
    if not captured.unpriced:
        return ""
    return f"{captured.unpriced:,} of {captured.calls:,} calls have no price"


def _money(captured: Captured, billed: Billed) -> str:
    theirs = billed.micro_usd or 0
    return f"{usd(captured.micro_usd)} captured, {usd(theirs)} billed{_share(captured.micro_usd, theirs)}"


def _share(ours: int, theirs: int) -> str:
    share = percent(ours, theirs)
    return "" if share is None else f" ({share:+.1f} %)"


def _per_million(micro_usd: int, tokens: Counted) -> str:
    total = tokens.input + tokens.output
    return usd(round(micro_usd * 1_000_000 / total)) if total else "nothing"


def usd(micro_usd: int) -> str:
    """`$1,234.50`; of less than a dollar four digits."""
    return f"${micro_usd / MICRO:,.2f}" if micro_usd >= MICRO or not micro_usd else f"${micro_usd / MICRO:,.4f}"


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
