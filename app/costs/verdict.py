"""May money be spent now? Every budget that a call would count in, and the one that decides first.

It is asked of the limiter's own counters: what it says has changed by the time that the call which crosses is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.catalog import CLASSES, Budget, did_you_mean
from app.clock import iso
from app.costs.sums import dollars
from app.errors import Invalid, Problem
from app.limits import budgets, deciding, keys
from app.limits.budgets import Counted, Who
from app.limits.core import Ask, Decision, Hold, Reading, Use
from app.limits.crossings import percent
from app.limits.plans import MOST, Plan, crossings


class Outcome(StrEnum):
    """What whoever is about to spend shall do."""

    ALLOW = "allow"
    THROTTLE = "throttle"
    """Go on, slowly: of a budget that is throttled there is room in this hour."""
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Figures:
    """One budget of one subject. Amounts are millionths of a dollar; `ceiling` is that of the class, None: none."""

    budget: Budget
    subject: str
    period: str
    spent: int
    amount: int
    ceiling: int | None
    ends_at: datetime | None
    room_at: datetime | None
    is_throttle: bool

    def document(self) -> dict[str, Any]:
        """JSON-ready, in dollars."""
        return {
            "budget": self.budget.name,
            "scope": self.budget.scope,
            "subject": self.subject,
            "period": self.period,
            "spent": dollars(self.spent),
            "amount": dollars(self.amount),
            "percent": percent(self.spent, self.amount),
            "left": dollars(max(0, self.amount - self.spent)),
            "ceiling": None if self.ceiling is None else dollars(self.ceiling),
            "ends_at": None if self.ends_at is None else iso(self.ends_at),
            "throttled": self.is_throttle,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is answered. `decided_by` is the first budget that has no room, or slows down; `until` when it may have."""

    outcome: Outcome
    detail: str
    at: datetime
    rank: int
    decided_by: Figures | None
    until: datetime | None
    cheaper: Mapping[str, str]
    figures: Sequence[Figures]

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "decision": self.outcome,
            "class": CLASSES[self.rank],
            "budget": None if self.decided_by is None else self.decided_by.budget.name,
            "subject": None if self.decided_by is None else self.decided_by.subject,
            "detail": self.detail,
            "until": None if self.until is None else iso(self.until),
            "cheaper": [{"budget": name, "hint": hint} for name, hint in self.cheaper.items()],
            "as_of": iso(self.at),
            "budgets": [one.document() for one in self.figures],
        }


def of(who: Who, rank: int, estimate: int = 0) -> Verdict:
    """For a call of that class, which is expected to cost `estimate` millionths of a dollar. Nothing is reserved.

    Raises Transient while the counters cannot be read.
    """
    counted = budgets.effective().of(who)
    subjects = tuple(dict.fromkeys([*(one.subject for one in counted), keys.EVERYBODY]))
    estimate = max(1, estimate)  # where nothing is left, nothing may be spent, whatever is expected
    uses = [Use(one.limit, subjects.index(one.subject), None, one.ceiling(rank, estimate)) for one in counted]
    ask = Ask(Plan("budgets", rank, uses), "verdict", subjects, estimate=estimate)
    return judge(counted, deciding.peek(ask), rank)


def rank_of(name: str) -> int:
    """The rank of a class, by its name. Raises Invalid naming `class`."""
    if name not in CLASSES:
        message = f"must be {', '.join(CLASSES[:-1])} or {CLASSES[-1]}{did_you_mean(name, CLASSES)}"
        raise Invalid([Problem("class", message)], subject="question")
    return CLASSES.index(name)


def judge(counted: Sequence[Counted], decision: Decision, rank: int) -> Verdict:
    """The limiter's answer, as budgets are spoken of. What people pause is not looked at here. Pure."""
    figures = [_figures(one, reading) for one, reading in zip(counted, decision.readings, strict=True)]
    cheaper = {one.budget.name: one.budget.cheaper for one in figures if _is_reached(one, "cheaper")}
    full = next((one for one in figures if one.room_at is not None), None)
    if full is not None:
        what = "may spend no more in this hour" if full.is_throttle else "is used up"
        detail = f"{full.budget.name} of {full.subject} {what}: ${dollars(full.spent):g} of ${dollars(full.amount):g}"
        return Verdict(Outcome.WAIT, detail, decision.at, rank, full, full.room_at, cheaper, figures)
    held = _held(counted, decision.holds)
    if held is not None:
        place, hold = held
        return Verdict(Outcome.WAIT, hold.reason, decision.at, rank, figures[place], hold.until, cheaper, figures)
    slow = next((one for one in figures if one.is_throttle and one.ceiling is not None), None)
    if slow is not None:
        detail = f"{slow.budget.name} of {slow.subject} is throttled to ${dollars(slow.amount):g} an hour"
        return Verdict(Outcome.THROTTLE, detail, decision.at, rank, slow, slow.ends_at, cheaper, figures)
    return Verdict(Outcome.ALLOW, "go on", decision.at, rank, None, None, cheaper, figures)


def _figures(one: Counted, reading: Reading) -> Figures:
    return Figures(
        budget=one.budget,
        subject=one.subject,
        period="hour" if one.is_throttle else one.budget.period,
        spent=reading.used,
        amount=reading.capacity,
        ceiling=None if reading.ceiling >= MOST else reading.ceiling,
        ends_at=reading.ends_at,
        room_at=reading.room_at,
        is_throttle=one.is_throttle,
    )


def _is_reached(one: Figures, action: str) -> bool:
    """Is a step with that action reached? By the counter, before anybody was told."""
    if one.is_throttle:
        return False
    ladder = one.budget.ladder
    least = crossings(one.amount, [step.at for step in ladder])
    return any(action in step.actions and one.spent >= needed for step, needed in zip(ladder, least, strict=True))


def _held(counted: Sequence[Counted], holds: Sequence[Hold]) -> tuple[int, Hold] | None:
    """The first budget that has paused its scope itself, as after a time of grace."""
    for hold in holds:
        for place, one in enumerate(counted):
            if hold.reason.startswith(f"pause by budget:{one.budget.name}:"):
                return place, hold
    return None
