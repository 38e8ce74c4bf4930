"""Costs as their users meet them: `smm-admin up`, a month of calls over HTTP, workers killed, budgets, and a report."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.infra import ids
from tests.costs.month import OPUS, Arrival, Month, Runaway, Totals, add_up
from tests.engine.asking import Asking, asking
from tests.fixtures.stack import Stack, eventually

__all__ = ["asking"]

pytestmark = pytest.mark.slow

DAYS = 28


@pytest.fixture(scope="module")
def month() -> Month:
    """Four weeks that end now. A loop ran away in the last whole hour, or in this one when it is nearly over."""
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=now.minute < 55)
    loop = Runaway(start=hour + timedelta(minutes=5), length=timedelta(minutes=45))
    return Month(first=(now - timedelta(days=DAYS)).date(), days=DAYS + 1, calls_per_day=80, runaway=loop)


def sent(month: Month) -> Iterator[Arrival]:
    now = datetime.now(UTC)
    return (arrival for arrival in month.arrivals() if arrival.call.at <= now)


def test_a_month_is_counted_once_while_workers_die_and_is_explained(stack: Stack, asking: Asking, month: Month) -> None:
    eventually(lambda: asking.get("/costs/prices")["prices"], within=60, what="prices are known")
    everything = list(sent(month))
    for place in range(-(-len(everything) // 500)):
        batch = everything[500 * place : 500 * (place + 1)]
        # Every other batch says what it cost; the price table must come to the same for the rest.
        calls = [arrival.call.body(with_cost=bool(place % 2)) for arrival in batch]
        durable = place == 2
        told = asking.post(f"/costs/calls?durable={durable}", {"calls": calls}, status=200 if durable else 202)
        assert (told["rejected"], told["set_aside"]) == ([], [])
        if place in (1, 3):
            stack.child("worker-default").kill()
    expected = add_up(everything)
    _agrees(asking, month, expected)
    _names_the_loop(asking, month)
    _reports(asking, month, expected)


def _agrees(asking: Asking, month: Month, expected: Totals) -> None:
    whole = {"since": month.start.isoformat(), "until": month.end.isoformat()}
    calls = expected.by["total"][""].calls
    tenants = expected.by["tenant"]

    def counted() -> bool:
        rows = asking.get("/costs/sums", by="tenant", **whole)["rows"]
        return bool(sum(row["calls"] for row in rows if row["name"] in tenants) == calls)

    eventually(counted, within=60, what=f"all {calls} calls are summed up")
    for dimension in ("tenant", "skill", "model", "agent", "user", "department"):
        rows = {row["name"]: row for row in asking.get("/costs/sums", by=dimension, limit=10_000, **whole)["rows"]}
        for name, sums in expected.by[dimension].items():
            found = rows[name]
            assert round(found["cost"] * 1_000_000) == sums.cost_micro_usd, (dimension, name)
            assert (found["calls"], found["failed"]) == (sums.calls, sums.failed), (dimension, name)
            assert (found["input_tokens"], found["output_tokens"]) == (sums.input_tokens, sums.output_tokens)


def _names_the_loop(asking: Asking, month: Month) -> None:
    loop = month.runaway
    assert loop is not None
    asking.command("schedule", "run", "cost-watch")
    model = f"{OPUS.provider}/{OPUS.name}"

    def found() -> Any:
        return [one for one in asking.get("/costs/anomalies")["anomalies"] if one["tenant"] == loop.tenant]

    anomalies = eventually(found, within=60, what="the loop is noticed")
    assert {(one["model"], one["skill"], one["cause"]) for one in anomalies} == {(model, loop.skill, "volume")}
    raised = eventually(
        lambda: [one for one in asking.get("/alerts")["alerts"] if one["name"] == "SMM_CostAnomaly"],
        within=30,
        what="people are told",
    )
    assert loop.tenant in json.dumps(raised)


def _reports(asking: Asking, month: Month, expected: Totals) -> None:
    day = datetime.now(UTC).date() - timedelta(days=2)
    report = json.loads(asking.command("costs", "report", str(day), "--tenant", "chai", "--format", "json"))
    sums = expected.days[("chai", day)]
    assert list(report)[:7] == [
        "date",
        "total_cost",
        "budget",
        "percentage_used",
        "breakdown_by_model",
        "breakdown_by_skill",
        "optimization_opportunities",
    ]
    assert report["timezone"] == "UTC", "the shipped catalogue names no tenants"
    whole = asking.get("/costs/sums", tenant="chai", day=str(day), zone="Asia/Kolkata")["total"]
    assert (round(whole["cost"] * 1_000_000), whole["calls"]) == (sums.cost_micro_usd, sums.calls)
    spent = asking.get("/costs/sums", tenant="chai", day=str(day))["total"]["cost"]
    assert (report["date"], report["budget"], report["total_cost"]) == (str(day), 5.0, spent)
    assert round(sum(one["cost"] for one in report["breakdown_by_model"].values()), 6) == spent
    assert round(sum(report["breakdown_by_skill"].values()), 6) == spent


def test_a_budget_stops_background_work_at_once_and_goes_on_when_it_is_raised(asking: Asking) -> None:
    def record(cost: float) -> None:
        call = {"id": str(ids.uuid7()), "tenant": "shop", "provider": "openai", "model": "gpt-5", "cost": cost}
        told = asking.post("/costs/calls", call, status=202)
        assert told["accepted"] == 1

    def admitted(operation: str) -> tuple[str, str]:
        body = {"operation": operation, "tenant": "shop", "estimate": 0.05, "on_wait": "deny"}
        answer = asking.post("/admissions", body)
        return answer["decision"], answer["reason"]

    def names() -> set[str]:
        found = asking.get("/alerts", open=True)["alerts"]
        return {one["name"] for one in found if one["labels"].get("subject") == "tenant:shop"}

    record(4.1)
    assert admitted("llm-background") == ("allow", "room")
    eventually(lambda: "SMM_BudgetThresholdExceeded" in names(), within=30, what="80 % are told")
    record(0.95)
    assert admitted("llm-background")[0] == "deny"
    assert admitted("llm-interactive")[0] == "allow"
    eventually(lambda: "SMM_BudgetCriticalOverspend" in names(), within=30, what="95 % are told")
    paused = eventually(
        lambda: [one for one in asking.get("/pauses")["pauses"] if one["scope"] == "tenant:shop"],
        within=30,
        what="the tenant's background work is paused",
    )
    assert [one["class"] for one in paused] == ["background"]
    verdict = asking.get("/budgets/verdict", tenant="shop", **{"class": "background"})
    assert (verdict["decision"], verdict["budget"]) == ("wait", "tenant_day")
    asking.command("budgets", "raise", "tenant_day", "20", "--subject", "tenant:shop", "--reason", "a campaign")
    eventually(lambda: admitted("llm-background") == ("allow", "room"), within=30, what="background work goes on")
    eventually(lambda: not names() & {"SMM_BudgetCriticalOverspend"}, within=30, what="the alert is over")


def test_calls_that_were_accepted_survive_both_servers(stack: Stack, asking: Asking) -> None:
    """Killed, not unplugged: what Valkey wrote to its file is there when it is back."""
    call = {"tenant": "survivor", "provider": "openai", "model": "gpt-5", "cost": 0.01}
    quick, durable = ({"calls": [{"id": str(ids.uuid7()), **call} for _ in range(50)]} for _ in range(2))

    def counted() -> bool:
        total = asking.get("/costs/sums", tenant="survivor", since="1d")["total"]
        return (total["calls"], total["cost"]) == (100, 1.0)

    stack.server("postgres").send_signal(signal.SIGINT)
    asking.post("/costs/calls", quick, status=202)
    stack.server("redis").kill()
    eventually(lambda: asking.post("/costs/calls?durable=true", durable), within=60, what="durable calls are taken")
    eventually(counted, within=60, what="all that was accepted is counted")
