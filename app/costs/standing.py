"""How far a subject has used a budget in the period it is in, and which thresholds that reaches."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.catalog import Threshold
from app.costs.budget_store import Crossed, Place
from app.errors import Transient
from app.limits import live
from app.limits.budgets import Counted
from app.limits.plans import crossings
from app.limits.states import ROLLING_SINCE
from app.limits.windows import window_at

LATER = frozenset({"throttle", "pause", "stop"})
"""Actions that wait for the end of the time of grace."""

AT_ONCE = 500
"""Counters that are looked at in one round trip."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget of one subject. `spent` is in millionths of a dollar; the period is from `start` up to `end`."""

    counted: Counted
    start: datetime
    end: datetime
    spent: int

    @property
    def place(self) -> Place:
        """Whose it is."""
        return place_of(self.counted)

    @property
    def amount(self) -> int:
        """All that it may spend."""
        return self.counted.limit.units

    def reached(self) -> list[Threshold]:
        """The steps of its ladder up to where it is, the lowest first: as the limiter sees them."""
        ladder = self.counted.budget.ladder
        least = crossings(self.amount, self.counted.limit.warn_at)
        return [step for step, needed in zip(ladder, least, strict=True) if self.spent >= needed]

    def row(self, step: Threshold, now: datetime) -> Crossed:
        """What is kept of a step that is reached."""
        grace = timedelta(hours=self.counted.budget.grace_hours)
        return Crossed(
            budget=self.counted.budget.name,
            subject=self.counted.subject,
            start_at=self.start,
            per_mille=step.per_mille,
            amount_micro_usd=self.amount,
            end_at=self.end,
            spent_micro_usd=self.spent,
            actions=tuple(step.actions),
            at=now,
            waits_until=now + grace if grace and LATER.intersection(step.actions) else None,
        )

    def is_stale(self, row: Crossed, now: datetime) -> bool:
        """Is what was reached then not what counts now: is it another period, or another amount?"""
        return is_over(row, now) or row.start_at != self.start or row.amount_micro_usd != self.amount


def place_of(counted: Counted) -> Place:
    """The budget's name and the subject."""
    return counted.budget.name, counted.subject


def is_over(row: Crossed, now: datetime) -> bool:
    """Has the period ended?"""
    return row.end_at is not None and row.end_at <= now


def standing(counted: Counted, spent: int, at: datetime) -> Standing:
    """In the period that `at` is in. That of an interaction ends a day after what was seen last."""
    if counted.limit.window == "rolling":
        return Standing(counted, ROLLING_SINCE, at + timedelta(seconds=counted.limit.seconds), spent)
    window = window_at(counted.limit, at)
    return Standing(counted, window.start, window.end, spent)


def spent_now(wanted: Collection[Counted]) -> dict[Place, int]:
    """By the counters, in millionths of a dollar, without what is only reserved; of those that can be read now."""
    found: dict[Place, int] = {}
    ordered = list(wanted)
    for first in range(0, len(ordered), AT_ONCE):
        part = ordered[first : first + AT_ONCE]
        try:
            sight = live.look([one.subject for one in part])
        except Transient:
            return found
        if sight is not None:
            for one in part:
                figures = sight.figures(one.limit, one.subject)
                found[place_of(one)] = figures.used - figures.held
    return found
