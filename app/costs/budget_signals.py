"""What is told about budgets: thresholds that were reached, their actions taking effect, and the end of all of it.

Of several thresholds that one call reached, only the highest of each severity and team is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import clock, signals
from app.catalog import Threshold
from app.costs import sums
from app.costs.budget_store import Crossed, Place
from app.costs.standing import LATER, Standing, is_over
from app.costs.sums import dollars
from app.infra.db import UnitOfWork
from app.limits.crossings import percent

CROSSED, RENEWED, IN_EFFECT = "costs.budget_crossed", "costs.budget_renewed", "costs.budget_in_effect"

NOW = "now"
"""What the label `escalate` says of a threshold at which a person is called at once."""


def crossed(uow: UnitOfWork, at: Standing, fresh: Sequence[Crossed], rows: Sequence[Crossed]) -> None:
    """The thresholds `fresh` were just reached; `rows` are all that are reached by now."""
    steps = {step.per_mille: step for step in at.counted.budget.ladder}
    groups: dict[tuple[str, str | None], list[Threshold]] = {}
    for step in (steps[row.per_mille] for row in fresh):
        groups.setdefault((step.severity, step.team), []).append(step)
    spenders = spends_most(uow.session, at)
    for told in sorted(groups.values(), key=lambda group: group[-1].per_mille):
        actions = list(dict.fromkeys(action for step in told for action in step.actions))
        labels = _labels(at) | _label_of(told[-1], actions)
        facts = _facts(at, rows) | {"actions": actions, "notify": "notify" in actions, "spends_most": spenders}
        facts["most"] = _said(spenders)
        facts["grace"] = _graced(facts["grace_until"] if LATER.intersection(actions) else None)
        signals.record(uow, CROSSED, subject_of(at.place), labels=labels, facts=facts)


def _said(spenders: Mapping[str, Mapping[str, Any]]) -> str:
    """For people; nothing where nobody is known."""
    named = [f"{what} {one['name'] or '-'} (${one['cost']:g})" for what, one in spenders.items()]
    return f"Most of it: {', '.join(named)}." if named else ""


def _graced(until: str | None) -> str:
    """For people; nothing where everything takes effect at once."""
    return f"What holds work back begins {until}, when the time of grace is over." if until else ""


def in_effect(uow: UnitOfWork, at: Standing, due: Sequence[Crossed], rows: Sequence[Crossed]) -> None:
    """The time of grace of `due` is over."""
    actions = list(dict.fromkeys(action for row in due for action in row.actions))
    signals.record(
        uow, IN_EFFECT, subject_of(at.place), labels=_labels(at), facts=_facts(at, rows) | {"actions": actions}
    )


def renewed(
    uow: UnitOfWork,
    at: Standing | None,
    ended: Sequence[Crossed],
    rows: Sequence[Crossed],
    *,
    now: datetime,
) -> None:
    """What was reached is over; `rows` is what is reached all the same, by the amount that counts now."""
    place = ended[0].place
    why = "its period is over" if all(is_over(row, now) for row in ended) else "another amount was set"
    facts = {"why": "the budget is gone", "effects": {}} if at is None else {"why": why, **_facts(at, rows)}
    before = {
        "amount": dollars(ended[-1].amount_micro_usd),
        "percent": ended[-1].per_mille / 10,
        "since": clock.iso(ended[0].at),
    }
    labels = {"budget": place[0], "subject": place[1]} if at is None else _labels(at)
    signals.record(uow, RENEWED, subject_of(place), labels=labels, facts={**facts, "before": before})


def subject_of(place: Place) -> str:
    """`budget:NAME SUBJECT`."""
    return f"budget:{place[0]} {place[1]}"


def _labels(at: Standing) -> dict[str, str]:
    budget, subject = at.counted.budget, at.counted.subject
    kind, _, name = subject.partition(":")
    tenant = {"tenant": name} if kind == "tenant" else {}
    return {"budget": budget.name, "scope": budget.scope, "subject": subject, "period": budget.period, **tenant}


def _label_of(step: Threshold, actions: Sequence[str]) -> dict[str, str]:
    team = {} if step.team is None else {"team": step.team}
    escalates = {"escalate": NOW} if "escalate" in actions else {}
    return {"threshold": f"{step.per_mille / 10:g}", "severity": step.severity, **team, **escalates}


def _facts(at: Standing, rows: Sequence[Crossed]) -> dict[str, Any]:
    waits = [row.waits_until for row in rows if row.waits_until is not None]
    return {
        "spent": dollars(at.spent),
        "amount": dollars(at.amount),
        "percent": percent(at.spent, at.amount),
        "ends_at": clock.iso(at.end),
        "effects": effects(rows),
        "grace_until": clock.iso(min(waits)) if waits else None,
        "cheaper": at.counted.budget.cheaper,
    }


def effects(rows: Sequence[Crossed]) -> dict[str, str | None]:
    """Every action that is in effect, and until when."""
    found: dict[str, str | None] = {}
    for row in rows:
        active = row.actions if row.waits_until is None else [one for one in row.actions if one not in LATER]
        found |= dict.fromkeys(active, None if row.end_at is None else clock.iso(row.end_at))
    return found


def spends_most(session: Session, at: Standing) -> dict[str, Mapping[str, Any]]:
    """Who spent most in the period so far, of what is written down: for all, a tenant or a skill."""
    kind, _, name = at.counted.subject.partition(":")
    wanted: dict[str, tuple[sums.Dimension, ...]] = {
        "all": ("tenant", "model"),
        "tenant": ("skill", "model"),
        "skill": ("tenant", "model"),
    }
    tenant, skill = name if kind == "tenant" else None, name if kind == "skill" else None
    found: dict[str, Mapping[str, Any]] = {}
    for dimension in wanted.get(kind, ()):
        for row in sums.by(session, dimension, at.start, at.end, tenant=tenant, skill=skill, limit=1):
            found[dimension] = {"name": row.name, "cost": dollars(row.sums.cost_micro_usd)}
    return found
