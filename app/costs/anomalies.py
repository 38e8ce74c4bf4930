"""Is this hour's spending far from what that hour of the week usually costs? Median and median deviation. Pure.

A finding needs both: it is far beyond how much such hours scatter, and it is real money. One hour that is very far is
enough, the running one too, so that a loop is found within the hour; two in a row need not be as far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from app.costs.causes import Figures

SCORE, SCORE_OF_TWO, SCORE_TO_STAY = 6.0, 4.0, 3.0
"""How many times the usual scatter: of one hour, of each of two in a row, of one that follows a finding."""

LEAST_EXCESS = 1_000_000
"""Millionths of a dollar beyond the usual below which nothing is a finding: cents do not wake anybody."""

LEAST_SIGMA = 150_000
"""Millionths of a dollar that any hour is taken to scatter by."""

LEAST_SHARE = 0.2
"""The same as a share of what is usual: four weeks that happen to agree do not make a scatter of nothing."""

LEAST_ELAPSED = 1 / 6
"""Of the running hour must be over: before, it is not extrapolated."""

ENOUGH = 3
_TO_SIGMA = 1.4826
"""A normal distribution's deviation is so many times its median deviation."""


class Place(NamedTuple):
    """Where money is spent. `model`: PROVIDER/MODEL."""

    tenant: str
    model: str
    skill: str

    @property
    def subject(self) -> str:
        """As signals are about it."""
        return " ".join(name or "-" for name in self)


@dataclass(frozen=True, slots=True)
class Usual:
    """What an hour of a place usually is, and by how many millionths of a dollar it scatters.

    `most`: the dearest hour that was looked at, for a place of which too little is known to say more; else None.
    """

    figures: Figures
    sigma: float
    most: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """An hour, or `elapsed` of it, against what is usual. `excess`: millionths of a dollar beyond that share so far."""

    usual: Usual
    actual: Figures
    elapsed: float
    score: float
    excess: float

    @property
    def by_now(self) -> Figures:
        """What is usual of the part that is over."""
        return self.usual.figures.times(self.elapsed)

    def exceeds(self, score: float) -> bool:
        """Is it that far, and real money?"""
        if self.elapsed < LEAST_ELAPSED or self.excess < LEAST_EXCESS or self.score < score:
            return False
        return self.usual.most is None or self.actual.cost >= 2 * self.usual.most


def usual(weekly: Sequence[Figures], daily: Sequence[Figures] = (), recent: Sequence[Figures] = ()) -> Usual:
    """Of the same hour of the last weeks; where fewer than three are known, of the last days; else of the last hours.

    Each from the oldest on; hours before the first that cost anything are not known of this place.
    """
    known = _since_used(weekly)
    if len(known) >= ENOUGH:
        return _usual(known, None)
    samples = next((found for found in map(_since_used, (daily, recent)) if len(found) >= ENOUGH), [])
    every = [figures.cost for figures in (*weekly, *daily, *recent)]
    return _usual(samples, max(every, default=0.0))


def read(known: Usual, actual: Figures, elapsed: float = 1.0) -> Reading:
    """`elapsed`: the share of the hour that is over; the whole hour is taken to go on as it began."""
    extrapolated = actual.cost / elapsed if elapsed > 0 else 0.0
    score = (extrapolated - known.figures.cost) / known.sigma
    return Reading(known, actual, elapsed, score, actual.cost - known.figures.cost * elapsed)


def is_found(reading: Reading, before: Reading | None, *, of_skill: Reading | None, is_on: bool = False) -> bool:
    """Shall people know? `before`: the whole hour before it. `is_on`: the place was found in the hour before.

    `of_skill`: all models of its skill together. Where these do not cost more, work only went from one model to
    another, and nobody pays for it.
    """
    if of_skill is not None and of_skill.excess < LEAST_EXCESS:
        return False
    if reading.exceeds(SCORE_TO_STAY if is_on else SCORE):
        return True
    return before is not None and reading.exceeds(SCORE_OF_TWO) and before.exceeds(SCORE_OF_TWO)


def _since_used(samples: Sequence[Figures]) -> list[Figures]:
    first = next((place for place, figures in enumerate(samples) if figures.cost > 0), len(samples))
    return list(samples[first:])


def _usual(samples: Sequence[Figures], most: float | None) -> Usual:
    if not samples:
        return Usual(Figures(), float(LEAST_SIGMA), most)
    costs = [figures.cost for figures in samples]
    middle = Figures(*(median(values) for values in zip(*samples, strict=True)))
    # The sum of a few calls scatters by itself, as their number does.
    by_chance = middle.cost / math.sqrt(middle.calls) if middle.calls >= 1 else middle.cost
    deviation = median(abs(cost - middle.cost) for cost in costs)
    sigma = max(_TO_SIGMA * deviation, LEAST_SHARE * middle.cost, by_chance, float(LEAST_SIGMA))
    return Usual(middle, sigma, most)
