"""A month is watched as it was spent: the loop is found within its hour with its cause, and nothing else is told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from app import catalog
from app.alerts import rules
from app.alerts.rules import Raise
from app.config import resource
from app.costs import finding, forecasting, watching
from app.infra.db import read_only
from app.jobs import spec, worker
from app.signals import Signal
from tasks import costs_watch
from tests.costs.month import CLIENTS, Call, Month, Sum
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use

MONTH = Month(calls_per_day=800)
HOUR = timedelta(hours=1)
LOOP = MONTH.runaway
assert LOOP is not None

CATALOG = """
[services.redis]
kind = "redis"

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 10

[budgets.house_month]
scope = "global"
period = "month"
amount = 1000

[budgets.acme_week]
scope = "tenant"
for = "acme"
period = "week"
amount = 60
""" + "".join(f'[tenants.{client.name}]\ntimezone = "{client.zone}"\n' for client in CLIENTS)

_INSERT = """
INSERT INTO cost_{level}s (dimension, start_at, tenant, name, skill, calls, input_tokens, output_tokens, cost_micro_usd)
SELECT 'model', r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(start_at timestamptz, tenant text, name text,
    skill text, calls bigint, input_tokens bigint, output_tokens bigint, cost_micro_usd bigint)
"""

Rows = dict[tuple[datetime, str, str, str], Sum]


@lru_cache(maxsize=1)
def calls() -> tuple[Call, ...]:
    return tuple(MONTH.calls())


def rolled_up(some: Iterable[Call], *, days: bool) -> Rows:
    found: Rows = {}
    for call in some:
        start = call.at.replace(minute=0, second=0, microsecond=0)
        start = start.replace(hour=0) if days else start
        found.setdefault((start, call.tenant, f"{call.provider}/{call.model}", call.skill), Sum()).add(call)
    return found


class Watched:
    """A house in which it is some moment of the month: what was called before is rolled up, and nothing else."""

    def __init__(self, ledger: Ledger) -> None:
        self.sql = ledger.sql
        self._until = datetime.min.replace(tzinfo=UTC)

    def at(self, now: datetime) -> dict[str, dict[str, int]]:
        """Go on to that moment, and look as the timetable would."""
        day = max(self._until, MONTH.start).replace(hour=0, minute=0, second=0, microsecond=0)
        fresh = [call for call in calls() if day <= call.at < now]
        for level in ("hour", "day"):
            self.sql(f"DELETE FROM cost_{level}s WHERE start_at >= :day", day=day)
            rows = [
                {
                    "start_at": start.isoformat(),
                    "tenant": tenant,
                    "name": name,
                    "skill": skill,
                    "calls": sums.calls,
                    "input_tokens": sums.input_tokens,
                    "output_tokens": sums.output_tokens,
                    "cost_micro_usd": sums.cost_micro_usd,
                }
                for (start, tenant, name, skill), sums in rolled_up(fresh, days=level == "day").items()
            ]
            self.sql(_INSERT.format(level=level), rows=json.dumps(rows))
        self._until = now
        return {"budgets": watching.watch(now), "anomalies": finding.find(now)}

    def signals(self) -> list[tuple[str, str]]:
        rows = self.sql("SELECT kind, subject FROM signals WHERE kind LIKE 'costs.%' ORDER BY id")
        return [(row.kind, row.subject) for row in rows]

    def signal(self, kind: str) -> Any:
        [row] = self.sql("SELECT labels, facts FROM signals WHERE kind = :kind", kind=kind)
        return row

    def anomalies(self) -> list[dict[str, Any]]:
        with read_only() as session:
            return forecasting.anomalies(session, {}, limit=10)[0]


@pytest.fixture
def watched(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    use(monkeypatch, home, CATALOG)
    return Watched(ledger)


SOON = LOOP.start + timedelta(minutes=65)
PLACE = f"{LOOP.tenant} {LOOP.model.provider}/{LOOP.model.name} {LOOP.skill}"


def test_the_loop_is_told_within_its_hour_with_its_cause_and_its_end(watched: Watched) -> None:
    watched.at(LOOP.start)
    assert watched.signals() == []
    watched.at(LOOP.start + timedelta(minutes=25))
    assert watched.signals() == [("costs.anomaly", PLACE)]
    told = watched.signal("costs.anomaly")
    assert told.labels == {
        "tenant": "acme",
        "model": "anthropic/claude-opus-4-6",
        "skill": "comms",
        "cause": "volume",
    }
    assert told.facts["why"].startswith("volume: ")
    difference = told.facts["actual"] - told.facts["expected"]
    assert sum(told.facts["split"].values()) == pytest.approx(difference, abs=1e-5)
    for minutes in (50, 65, 110):
        watched.at(LOOP.start + timedelta(minutes=minutes))
    budgets = [("costs.exhaustion_predicted", "budget:tenant_day tenant:acme")]
    budgets.append(("costs.burning", "budget:acme_week tenant:acme"))
    assert sorted(watched.signals()[1:]) == sorted(budgets)
    watched.at(LOOP.start + LOOP.length + 2 * HOUR)
    assert watched.signals()[-1] == ("costs.anomaly_over", PLACE)
    assert [row["hour"][11:13] for row in watched.anomalies()][-2:] == ["17", "16"]
    assert {row["cause"] for row in watched.anomalies()} == {"volume"}


def test_a_budget_s_trouble_is_over_when_its_next_period_is_quiet(watched: Watched) -> None:
    watched.at(SOON)
    told = watched.signal("costs.exhaustion_predicted")
    assert told.labels == {"budget": "tenant_day", "scope": "tenant", "subject": "tenant:acme", "period": "day"}
    assert told.facts["projected"] > told.facts["amount"] == 10.0
    assert watched.at(LOOP.start + LOOP.length)["budgets"]["ended"] == 0, "what is used up is not averted"
    watched.at(LOOP.start + timedelta(days=1, hours=4))
    kinds = [kind for kind, _ in watched.signals()]
    assert "costs.exhaustion_averted" in kinds
    assert "costs.burn_over" in kinds
    assert watched.sql("SELECT * FROM cost_watch") == []


def test_what_is_watched_ends_with_its_budget(watched: Watched, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.at(SOON)
    use(monkeypatch, home, CATALOG.replace("[budgets.tenant_day]", "[budgets.other]"))
    watched.at(SOON)
    assert ("costs.exhaustion_averted", "budget:tenant_day tenant:acme") in watched.signals()


def test_the_timetable_s_job_looks_at_both(watched: Watched, ledger: Ledger) -> None:
    watched.at(MONTH.start + timedelta(days=3))
    claimed = ledger.claim(ledger.submit("tasks.costs.watch"))
    assert claimed is not None
    worker.run(claimed, spec.get("tasks.costs.watch"), costs_watch.watch)
    [job] = watched.sql("SELECT state, result FROM job_history WHERE task = 'tasks.costs.watch'")
    assert job.state == "succeeded"
    assert set(job.result) == {"budgets", "anomalies"}


def test_what_people_read_names_the_budget_the_figures_and_the_cause(watched: Watched) -> None:
    watched.at(SOON)
    rows = watched.sql("SELECT * FROM signals WHERE kind LIKE 'costs.%'")
    telling = catalog.load(resource("deploy/smm-admin.toml")).telling
    raised = [made for row in rows for made in rules.matching(telling, Signal(**row._asdict()))]
    texts = {made.name: made.annotations for made in raised if isinstance(made, Raise)}
    assert set(texts) == {"SMM_CostAnomaly", "SMM_BudgetBurnRateHigh", "SMM_BudgetExhaustionPredicted"}
    assert PLACE + ": volume: " in texts["SMM_CostAnomaly"]["summary"]
    assert "tenant_day tenant:acme" in texts["SMM_BudgetExhaustionPredicted"]["summary"]
    assert "of 10 dollars are spent" in texts["SMM_BudgetExhaustionPredicted"]["description"]
    assert "A day may cost 8.571 dollars" in texts["SMM_BudgetBurnRateHigh"]["description"]


def test_days_spread_over_hours_foretell_what_hours_do(watched: Watched) -> None:
    now = LOOP.start - timedelta(hours=3)
    watched.at(now)
    with read_only() as session:
        house = forecasting.of_budget(session, "house_month", None, now)
        tenants = [forecasting.of_spending(session, client.name, "month", now) for client in CLIENTS]
        everybody = forecasting.of_spending(session, None, "month", now)
    assert house["projected"] == everybody["projected"]
    assert house["projected"] == pytest.approx(sum(one["projected"] for one in tenants), rel=0.06)
    assert house["exhausted_at"] is None
