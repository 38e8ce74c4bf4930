"""Does an error budget burn too fast? Two windows must agree: the long one that it matters, the short that it goes on.

The rates are those of the SRE Workbook, chapter 5 (https://sre.google/workbook/alerting-on-slos/). Services that are
probed once a minute are little traffic: a few minutes and a few failed probes are asked for besides. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.catalog import BurnWindows

GOES_ON = 0.5
"""What burns goes on to burn until it is slower than this share of the rate at which it began to."""

_MINUTE = timedelta(minutes=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


class Reason(StrEnum):
    """Why a verdict is what it is."""

    BOTH_WINDOWS = "both_windows"
    STILL_FAST = "still_fast"
    STOPPED = "stopped"
    TOO_FEW_MINUTES = "too_few_minutes"
    TOO_FEW_FAILURES = "too_few_failures"
    SLOW_ENOUGH = "slow_enough"


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment until another: a time of being down that counts."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Fault:
    """One incident and how many probes of it failed; `end` is now while it is open."""

    begin: datetime
    end: datetime
    failures: int


@dataclass(frozen=True, slots=True)
class Least:
    """What must be in the long window before anything may begin to burn."""

    minutes: int = 3
    failures: int = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast the budget went in a pair of windows; at 1 it would be used up exactly by the objective's period."""

    windows: BurnWindows
    long: float
    short: float

    def reach(self, share: float = 1.0) -> bool:
        """Are both at least that share of the pair's rate?"""
        return min(self.long, self.short) >= self.windows.rate * share


@dataclass(frozen=True, slots=True)
class Verdict:
    """Does it burn, why, and the rates of every pair of windows."""

    burning: bool
    reason: Reason
    rates: tuple[Rates, ...]


def judge(
    spans: Sequence[Span],
    faults: Sequence[Fault],
    pairs: Iterable[BurnWindows],
    *,
    objective: float,
    least: Least,
    was: bool,
    now: datetime,
) -> Verdict:
    """Whether the budget of `objective` percent burns at any of these pairs of windows. `was`: it did until now."""
    rates = tuple(_rates(spans, windows, objective, now) for windows in pairs)
    if was:
        burning = any(pair.reach(GOES_ON) for pair in rates)
        return Verdict(burning, Reason.STILL_FAST if burning else Reason.STOPPED, rates)
    reason = Reason.SLOW_ENOUGH
    for pair in rates:
        if not pair.reach():
            continue
        since = now - timedelta(seconds=pair.windows.long)
        if minutes_of(spans, since, now) < least.minutes:
            reason = Reason.TOO_FEW_MINUTES
        elif _failures(faults, since, now) < least.failures:
            reason = Reason.TOO_FEW_FAILURES
        else:
            return Verdict(True, Reason.BOTH_WINDOWS, rates)
    return Verdict(False, reason, rates)


def burn_rate(spans: Iterable[Span], since: datetime, until: datetime, objective: float) -> float:
    """The share of the time that was down, by the share that may be."""
    down = sum((_inside(span, since, until) for span in spans), timedelta())
    return down / (until - since) / (1 - objective / 100)


def minutes_of(spans: Iterable[Span], since: datetime, until: datetime) -> int:
    """How many minutes by the clock have a moment of these spans; spans are in order and apart."""
    counted, done = 0, None
    for span in spans:
        if not _inside(span, since, until):
            continue
        first = (max(span.begin, since) - _EPOCH) // _MINUTE
        last = -((_EPOCH - min(span.end, until)) // _MINUTE) - 1
        first = first if done is None else max(first, done + 1)
        counted += max(0, last - first + 1)
        done = last
    return counted


def _rates(spans: Sequence[Span], windows: BurnWindows, objective: float, now: datetime) -> Rates:
    long, short = (
        burn_rate(spans, now - timedelta(seconds=seconds), now, objective) for seconds in (windows.long, windows.short)
    )
    return Rates(windows, long, short)


def _failures(faults: Iterable[Fault], since: datetime, until: datetime) -> int:
    return sum(fault.failures for fault in faults if fault.end > since and fault.begin < until)


def _inside(span: Span, since: datetime, until: datetime) -> timedelta:
    return max(min(span.end, until) - max(span.begin, since), timedelta())
