"""The end-of-day summary as a document: its keys are a contract, and what is in them is put together here. Pure.

Dollars are numbers rounded to six digits, percentages to two. A name nobody gave is the empty text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from app import clock
from app.costs.opportunities import Group, Opportunity
from app.costs.report_calls import CallFacts
from app.costs.sums import Row, Sums, dollars

TOP = 10
"""Names of a list; what the rest spent is in the sums."""


@dataclass(frozen=True, slots=True)
class BudgetUsed:
    """What was spent of a budget in its period, up to the end of the day; millionths of a dollar."""

    name: str
    scope: str
    subject: str
    period: str
    amount: int
    spent: int
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report is made of. `tenant` None: all. `budget`: millionths of a dollar a day; None: there is none."""

    day: date
    tenant: str | None
    timezone: str
    since: datetime
    until: datetime
    made_at: datetime
    total: Sums
    budget: int | None = None
    models: Sequence[Row] = ()
    skills: Sequence[Row] = ()
    users: Sequence[Row] = ()
    agents: Sequence[Row] = ()
    departments: Sequence[Row] = ()
    tenants: Sequence[Row] = ()
    hours: Sequence[Row] = ()
    budgets: Sequence[BudgetUsed] = ()
    calls: CallFacts = field(default_factory=CallFacts)
    opportunities: Sequence[Opportunity] = ()
    anomalies: Sequence[Mapping[str, Any]] = ()
    projection: Mapping[str, Any] | None = None


def document(facts: Facts) -> dict[str, Any]:
    """JSON-ready, in the order of the contract."""
    total = facts.total
    cost = total.cost_micro_usd
    return {
        "date": facts.day.isoformat(),
        "total_cost": dollars(cost),
        "budget": None if facts.budget is None else dollars(facts.budget),
        "percentage_used": None if facts.budget is None else percentage(cost, facts.budget),
        "breakdown_by_model": _by_model(facts.models, cost),
        "breakdown_by_skill": {row.name: dollars(row.sums.cost_micro_usd) for row in facts.skills},
        "optimization_opportunities": [item.text for item in facts.opportunities],
        "tenant": facts.tenant,
        "timezone": facts.timezone,
        "since": clock.iso(facts.since),
        "until": clock.iso(facts.until),
        "made_at": clock.iso(facts.made_at),
        "is_over": facts.made_at >= facts.until,
        "calls": total.calls,
        "unpriced_calls": total.unpriced,
        "failed_calls": total.failed,
        "failed_percentage": percentage(total.failed, total.calls),
        "average_latency_ms": facts.calls.latency_ms,
        "tokens": {
            "input": total.input_tokens,
            "cached": total.cached_tokens,
            "cache_write": total.cache_write_tokens,
            "output": total.output_tokens,
        },
        "by_hour": [_hour(row) for row in facts.hours],
        "budgets": [_budget(item) for item in facts.budgets],
        "high_cost_operations": {
            "calls": [_call(row) for row in facts.calls.dearest],
            "skill_models": _pairs(facts.calls.groups, cost),
        },
        "projection": None if facts.projection is None else dict(facts.projection),
        "anomalies": [_anomaly(row) for row in facts.anomalies],
        "by_tenant": _top(facts.tenants, cost),
        "by_user": _top(facts.users, cost),
        "by_agent": _top(facts.agents, cost),
        "by_department": _top(facts.departments, cost),
        "opportunities": [item.document() for item in facts.opportunities],
    }


def percentage(part: float, whole: float) -> float:
    """Of 100, to two digits; 0 of nothing."""
    return round(part / whole * 100, 2) if whole else 0.0


def _by_model(rows: Sequence[Row], cost: int) -> dict[str, dict[str, Any]]:
    """By the model's name; where two providers have it, by the provider's with it."""
    names = [row.name.partition("/")[2] for row in rows]
    return {
        (row.name if names.count(name) > 1 else name): {
            "calls": row.sums.calls,
            "cost": dollars(row.sums.cost_micro_usd),
            "percentage": percentage(row.sums.cost_micro_usd, cost),
        }
        for row, name in zip(rows, names, strict=True)
    }


def _hour(row: Row) -> dict[str, Any]:
    at = None if row.start_at is None else clock.iso(row.start_at)
    return {"at": at, "calls": row.sums.calls, "cost": dollars(row.sums.cost_micro_usd)}


def _budget(item: BudgetUsed) -> dict[str, Any]:
    return {
        "name": item.name,
        "scope": item.scope,
        "subject": item.subject,
        "period": item.period,
        "since": clock.iso(item.start_at),
        "until": clock.iso(item.end_at),
        "spent": dollars(item.spent),
        "amount": dollars(item.amount),
        "percentage": percentage(item.spent, item.amount),
    }


def _call(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "at": clock.iso(row["at"]),
        "tenant": row["tenant"],
        "skill": row["skill"],
        "agent": row["agent"],
        "user": row["user_id"],
        "provider": row["provider"],
        "model": row["model"],
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "cost": dollars(row["cost_micro_usd"]),
        "outcome": row["outcome"],
    }


def _pairs(groups: Iterable[Group], cost: int) -> list[dict[str, Any]]:
    """The dearest pairs of a skill and a model."""
    spent: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for group in groups:
        figures = spent[group.skill, group.model]
        figures[0] += group.calls
        figures[1] += group.cost
    dearest = sorted(spent.items(), key=lambda item: (-item[1][1], item[0]))[:TOP]
    return [
        {
            "skill": skill,
            "model": model,
            "calls": calls,
            "cost": dollars(micro),
            "percentage": percentage(micro, cost),
            "cost_per_call": dollars(round(micro / calls)),
        }
        for (skill, model), (calls, micro) in dearest
    ]


def _anomaly(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hour": clock.iso(row["hour"]),
        "tenant": row["tenant"],
        "model": row["model"],
        "skill": row["skill"],
        "expected": dollars(row["expected_micro_usd"]),
        "actual": dollars(row["actual_micro_usd"]),
        "cause": row["cause"],
    }


def _top(rows: Sequence[Row], cost: int) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "calls": row.sums.calls,
            "cost": dollars(row.sums.cost_micro_usd),
            "percentage": percentage(row.sums.cost_micro_usd, cost),
        }
        for row in rows
        if row.name
    ][:TOP]
