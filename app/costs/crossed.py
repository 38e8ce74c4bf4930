"""Thresholds of budgets: each is acted on once in a period, and is over with it, or when another amount is set.

A threshold that is reached is a row of a budget, a subject, a period, a share and an amount. One call may reach
several. What is told carries all that is in effect by then: whoever acts on it needs the newest only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from app.costs import budget_signals, budget_store, in_force
from app.costs.budget_store import Crossed, Place
from app.costs.standing import Standing, is_over, spent_now, standing
from app.infra.db import UnitOfWork
from app.limits.budgets import Counted, Effective
from app.limits.crossings import Crossing

KEEP = "tasks.costs.keep_budgets"
"""The task that ends what is over: periods, time of grace, and amounts that were set for a time."""


def on_crossings(uow: UnitOfWork, crossings: Sequence[Crossing]) -> None:
    """What the limiter noted, in any order and as often as it likes. That of a period which is over is not acted on."""
    now = budget_store.take_turns(uow)
    effective = in_force.of(uow.session)
    names = {budget.counter: name for name, budget in effective.budgets.items()}
    found: dict[Place, Standing] = {}
    for crossing in crossings:
        name = names.get(crossing.limit)
        counted = None if name is None else effective.counted(name, crossing.subject)
        if counted is not None and (crossing.end is None or crossing.end > now):
            one = standing(counted, crossing.used, crossing.at)
            if one.place not in found or one.spent > found[one.place].spent:
                found[one.place] = one
    settle(uow, found, now)


def follow(uow: UnitOfWork, names: Collection[str] | None = None, also: Collection[Place] = ()) -> None:
    """Act on what time or people changed: periods that ended, grace that is over, other amounts; of all, or of these.

    It belongs to the transaction that sets an amount: nobody sees one without the other. `also` is looked at though no
    threshold is reached there yet.
    """
    now = budget_store.take_turns(uow)
    effective = in_force.of(uow.session)
    changed = {
        place: effective.counted(*place)
        for place, rows in by_place(budget_store.open_crossings(uow)).items()
        if (names is None or place[0] in names) and _is_changed(rows, effective, now)
    }
    changed |= {place: counted for place in also if (counted := effective.counted(*place)) is not None}
    settle(uow, _standings(uow, changed, now), now)


def _is_changed(rows: Sequence[Crossed], effective: Effective, now: datetime) -> bool:
    counted = effective.counted(*rows[0].place)
    return counted is None or any(
        is_over(row, now)
        or row.amount_micro_usd != counted.limit.units
        or (row.waits_until is not None and row.waits_until <= now)
        for row in rows
    )


def _standings(uow: UnitOfWork, changed: Mapping[Place, Counted | None], now: datetime) -> dict[Place, Standing | None]:
    """By the counters; while they are away, by what was known when the thresholds were reached."""
    spent = spent_now([counted for counted in changed.values() if counted is not None])
    known = by_place(budget_store.open_crossings(uow, list(changed))) if len(spent) < len(changed) else {}
    found: dict[Place, Standing | None] = {}
    for place, counted in changed.items():
        if counted is None:
            found[place] = None
            continue
        before = [row.spent_micro_usd for row in known.get(place, ()) if not is_over(row, now)]
        found[place] = standing(counted, spent.get(place, max(before, default=0)), now)
    return found


def settle(uow: UnitOfWork, found: Mapping[Place, Standing | None], now: datetime) -> None:
    """Bring the rows in step with how budgets stand (None: the budget is gone), and tell what is new.

    Only whoever has its turn may do this.
    """
    if not found:
        return
    rows = by_place(budget_store.open_crossings(uow, list(found)))
    for place in sorted(found):
        _settle(uow, found[place], rows.get(place, []), now)


def _settle(uow: UnitOfWork, now_at: Standing | None, rows: Sequence[Crossed], now: datetime) -> None:
    ended = [row for row in rows if now_at is None or now_at.is_stale(row, now)]
    kept = [row for row in rows if row not in ended]
    due = [row for row in kept if row.waits_until is not None and row.waits_until <= now]
    budget_store.end_crossings(uow, ended, now)
    budget_store.end_grace(uow, due)
    fresh = [] if now_at is None else _insert(uow, now_at, kept, now)
    in_effect = [replace(row, waits_until=None) if row in due else row for row in kept] + fresh
    if ended:
        budget_signals.renewed(uow, now_at, ended, in_effect, now=now)
    if now_at is not None and fresh:
        budget_signals.crossed(uow, now_at, fresh, in_effect)
    if now_at is not None and due:
        budget_signals.in_effect(uow, now_at, due, in_effect)


def _insert(uow: UnitOfWork, now_at: Standing, kept: Sequence[Crossed], now: datetime) -> list[Crossed]:
    known = {row.per_mille for row in kept}
    rows = [now_at.row(step, now) for step in now_at.reached() if step.per_mille not in known]
    return [row for row in rows if budget_store.insert_crossing(uow, row)]


def by_place(rows: Sequence[Crossed]) -> dict[Place, list[Crossed]]:
    """The rows of each budget and subject."""
    found: dict[Place, list[Crossed]] = {}
    for row in rows:
        found.setdefault(row.place, []).append(row)
    return found
