"""Budgets as they stand: what they are, what people changed, and who has used most of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from typing import Any

from sqlalchemy.orm import Session

from app.catalog import Budget
from app.clock import iso
from app.costs import agreeing, budget_store, in_force
from app.costs.budget_store import Change, Place
from app.costs.budgets import amount_of, known, subject_problems
from app.costs.standing import Standing, place_of, spent_now, standing
from app.costs.sums import dollars
from app.errors import Invalid
from app.limits.budgets import Counted, Effective
from app.limits.crossings import percent


@dataclass(frozen=True, slots=True)
class Shown:
    """How one subject stands. `is_live`: by the limiter's counter, else by what is written down."""

    at: Standing
    is_live: bool

    def document(self) -> dict[str, Any]:
        """JSON-ready, in dollars."""
        return {
            "subject": self.at.counted.subject,
            "spent": dollars(self.at.spent),
            "amount": dollars(self.at.amount),
            "percent": percent(self.at.spent, self.at.amount),
            "left": dollars(max(0, self.at.amount - self.at.spent)),
            "ends_at": iso(self.at.end),
            "reached": [step.per_mille / 10 for step in self.at.reached()],
            "live": self.is_live,
        }


def listed(session: Session, now: datetime, *, most: int) -> dict[str, Any]:
    """Every budget, with the subjects that have used most of it."""
    effective = in_force.of(session)
    written = agreeing.committed(session, effective, now)
    changes = budget_store.changes(session)
    throttled = frozenset(effective.changes.throttled)
    fullest = {name: _fullest(effective, budget, written, most) for name, budget in effective.budgets.items()}
    shown = _shown([one for part in fullest.values() for one in part], written, now)
    return {
        "as_of": iso(now),
        "budgets": [
            _document(effective, budget, changes)
            | {"throttled": _throttled(throttled, name), "subjects": _documents(fullest[name], shown)}
            for name, budget in effective.budgets.items()
        ],
    }


def show(session: Session, name: str, now: datetime, *, subject: str | None = None, most: int) -> dict[str, Any]:
    """One budget, of one subject or of those that have used most of it. Raises NotFound, Invalid naming `subject`."""
    effective = in_force.of(session)
    budget = known(effective, name)
    if subject is not None and (problems := list(subject_problems(effective, budget, subject))):
        raise Invalid(problems, subject="budget")
    written = agreeing.committed(session, effective, now, None if subject is None else frozenset([subject]))
    counted = None if subject is None else effective.counted(name, subject)
    wanted = [counted] if counted is not None else _fullest(effective, budget, written, most)
    throttled = _throttled(effective.changes.throttled, name)
    shown = _shown(wanted, written, now)
    document = _document(effective, budget, budget_store.changes(session))
    return {"as_of": iso(now), **document, "throttled": throttled, "subjects": _documents(wanted, shown)}


def _fullest(effective: Effective, budget: Budget, written: agreeing.Committed, most: int) -> Sequence[Counted]:
    """By what is written down: some seconds old at most."""
    found = []
    for subject, counters in written.items():
        if budget.counter in counters and (counted := effective.counted(budget.name, subject)) is not None:
            found.append((counters[budget.counter][1] / counted.limit.units, subject, counted))
    return [counted for _, _, counted in nlargest(most, found, key=lambda one: one[:2])]


def _shown(wanted: Sequence[Counted], written: agreeing.Committed, now: datetime) -> dict[Place, Shown]:
    spent = spent_now(wanted)
    found = {}
    for one in wanted:
        place = place_of(one)
        _, known_of = written.get(one.subject, {}).get(one.budget.counter, (now, 0))
        found[place] = Shown(standing(one, spent.get(place, known_of), now), place in spent)
    return found


def _documents(wanted: Iterable[Counted], shown: Mapping[Place, Shown]) -> list[dict[str, Any]]:
    return [shown[place_of(one)].document() for one in wanted]


def _throttled(throttled: Iterable[Place], name: str) -> list[str]:
    return sorted(subject for budget, subject in throttled if budget == name)


def _document(effective: Effective, budget: Budget, changes: Sequence[Change]) -> dict[str, Any]:
    ours = [change for change in changes if change.name == budget.name]
    return {
        "name": budget.name,
        "description": budget.description,
        "scope": budget.scope,
        "for": budget.only,
        "period": budget.period,
        "amount": dollars(amount_of(effective, budget, "")),
        "timezone": budget.timezone,
        "set_by": "catalogue" if budget.name in effective.budgeting.budgets else "people",
        "thresholds": [
            {"percent": step.per_mille / 10, "severity": step.severity, "actions": step.actions, "team": step.team}
            for step in budget.ladder
        ],
        "grace_hours": budget.grace_hours,
        "throttle_share": budget.throttle_share,
        "cheaper": budget.cheaper,
        "changes": [{"subject": one.subject, **one.document()} for one in ours],
    }
