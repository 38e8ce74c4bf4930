"""Budgets' counters agree with what is written down: compared every minute, and made anew after a loss of Redis.

What is written down is the truth; beside it a counter has what still waits in the stream, and what is reserved. Nobody
writes calls down while the two are compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy.orm import Session

from app import clock
from app.catalog import Budget, RateLimit
from app.catalog.budgeting import Scope
from app.costs import budget_store, crossed, in_force, sums, turns
from app.costs.standing import Standing, standing
from app.costs.sums import Dimension, Row
from app.infra.db import read_only, unit_of_work
from app.limits import budgets, spending
from app.limits.budgets import Effective, subject_of
from app.limits.windows import Window, window_at

Committed = dict[str, dict[str, tuple[datetime, int]]]
"""By subject and counter: the start of the period, and what calls in it cost, in millionths of a dollar."""

FEW = 20
"""Tenants or skills that are summed up one by one; more of them all together."""

_DIMENSIONS: Mapping[Scope, Dimension] = {
    "global": "total",
    "tenant": "tenant",
    "department": "department",
    "user": "user",
    "agent": "agent",
    "skill": "skill",
}


def agree() -> int:
    """Compare all counters with what is written down; how many differed. Raises Transient.

    A threshold that is reached and not known, as Redis lost what the limiter had noted, is acted on.
    """
    with turns.alone() as uow:
        now: datetime = uow.execute("SELECT clock_timestamp()").scalar_one()
        found = committed(uow.session, in_force.of(uow.session), now)
        differed = spending.agree(found)
    with unit_of_work() as uow:
        now = budget_store.take_turns(uow)
        effective = in_force.of(uow.session)
        reached = {one.place: one for one in _standings(effective, found, now) if one.reached()}
        crossed.settle(uow, reached, now)
    return differed


def _standings(effective: Effective, found: Committed, now: datetime) -> Iterator[Standing]:
    """Of the periods that are not over meanwhile."""
    names = {budget.counter: name for name, budget in effective.budgets.items()}
    for subject, counters in found.items():
        for counter, (start, spent) in counters.items():
            counted = effective.counted(names[counter], subject) if counter in names else None
            if counted is not None and (one := standing(counted, spent, now)).start == start:
                yield one


def committed_of(subjects: Collection[str]) -> Committed:
    """What is written down for these subjects, in the present periods. Raises Transient."""
    with read_only() as session:
        return committed(session, budgets.effective(), clock.now(), frozenset(subjects))


def committed(
    session: Session, effective: Effective, now: datetime, subjects: frozenset[str] | None = None
) -> Committed:
    """Of every subject that had calls in a budget's present period, or of these subjects alone.

    Interactions are in no roll-up: after a loss their counters are as the last snapshot has them.
    """
    known = _Known(session, subjects)
    found: Committed = {}
    for budget in effective.budgets.values():
        if budget.period == "interaction":
            continue
        for zone in zones(effective, budget):
            window = window_at(_period(budget.period, zone), now)
            for row in known.rows(budget.scope, window):
                counted = effective.counted(budget.name, subject_of(budget.scope, row.name))
                if counted is not None and counted.limit.timezone == zone:
                    amount = (window.start, row.sums.cost_micro_usd)
                    found.setdefault(counted.subject, {})[budget.counter] = amount
    return found


class _Known:
    """Sums of the wanted subjects, each asked for once."""

    def __init__(self, session: Session, subjects: frozenset[str] | None) -> None:
        self._session = session
        self._subjects = subjects
        self._known: dict[tuple[Scope, datetime, datetime], Sequence[Row]] = {}

    def rows(self, scope: Scope, window: Window) -> Sequence[Row]:
        """What every wanted subject of a scope spent in the window; a name nobody gave has no budget."""
        key = (scope, window.start, window.end)
        if key not in self._known:
            rows = self._read(scope, window)
            self._known[key] = [row for row in rows if row.name or scope == "global"]
        return self._known[key]

    def _read(self, scope: Scope, window: Window) -> Sequence[Row]:
        if self._subjects is None:
            return sums.by(self._session, _DIMENSIONS[scope], window.start, window.end)
        prefix = subject_of(scope, "")
        names = [one.removeprefix(prefix) for one in self._subjects if one.startswith(prefix)]
        if scope in ("tenant", "skill") and len(names) <= FEW:
            return [self._one(scope, name, window) for name in names]
        if not names:
            return []
        found = sums.by(self._session, _DIMENSIONS[scope], window.start, window.end)
        return [row for row in found if row.name in names]

    def _one(self, scope: Scope, name: str, window: Window) -> Row:
        tenant, skill = (name, None) if scope == "tenant" else (None, name)
        return Row(name, sums.total(self._session, window.start, window.end, tenant=tenant, skill=skill))


def zones(effective: Effective, budget: Budget) -> Sequence[str]:
    """Where the budget's periods begin: a tenant's own zone, if it has no other."""
    if budget.timezone is not None:
        return [budget.timezone]
    if budget.scope != "tenant":
        return ["UTC"]
    return sorted({"UTC", *(tenant.timezone for tenant in effective.budgeting.tenants.values())})


@lru_cache(maxsize=1024)
def _period(period: str, zone: str) -> RateLimit:
    """What tells windows of that kind."""
    given = {"name": "period", "capacity": 1, "window": "calendar", "period": period, "timezone": zone}
    return RateLimit.model_validate(given)
