"""A report of stored calls agrees with the calls; whose day it is, which budgets count, and what could cost less."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.costs import report_calls, reports
from app.costs.models import AnomalyRow, PriceRow
from app.infra import ids
from app.infra.db import read_only, unit_of_work
from tests.costs.spent import call, spent
from tests.health.catalogs import use

DAY = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 4, 30, tzinfo=UTC)
"""Ten o'clock in India, whose day began at 18:30."""
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
CATALOG = """
[services.redis]
kind = "redis"

[tenants.acme]
timezone = "Asia/Kolkata"

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 15

[budgets.acme_day]
scope = "tenant"
for = "acme"
period = "day"
amount = 10

[budgets.tenant_month]
scope = "tenant"
period = "month"
amount = 100

[budgets.marketing]
scope = "department"
for = "marketing"
period = "month"
amount = 20

[budgets.reply]
scope = "agent"
period = "interaction"
amount = 0.5
"""


@pytest.fixture
def house(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue with budgets, and two prices."""
    use(monkeypatch, home, CATALOG)
    with unit_of_work() as uow:
        for provider, model, rates in (
            ("anthropic", "claude-opus-4-6", (5_000_000, 500_000, 25_000_000)),
            ("moonshotai", "kimi-k2.5", (600_000, 100_000, 3_000_000)),
        ):
            uow.session.add(
                PriceRow(
                    id=ids.uuid7(MORNING),
                    provider=provider,
                    model=model,
                    effective_from=datetime(2026, 1, 1, tzinfo=UTC),
                    input_micro_usd=rates[0],
                    cached_micro_usd=rates[1],
                    output_micro_usd=rates[2],
                    source="test",
                    set_by="test",
                )
            )


def opus(at: datetime, **more: Any) -> dict[str, Any]:
    """A call of the content skill for nine tenths of a cent."""
    return call(
        at,
        **{
            "skill": "content",
            "department": "marketing",
            "provider": "anthropic",
            "model": "claude-opus-4-6",
            "input_tokens": 900,
            "cached_tokens": 0,
            "output_tokens": 180,
            "cost_micro_usd": 9_000,
            **more,
        },
    )


def a_day() -> None:
    """What acme spent on its 20th of November, a moment before and after it, and what others did."""
    minutes = [timedelta(minutes=number) for number in range(100)]
    same = [opus(MORNING + after, prompt_hash="p1", agent="writer") for after in minutes[:50]]
    spent(
        [
            *(opus(MORNING + after) for after in minutes),
            *same,
            opus(MORNING, outcome="timeout", cost_micro_usd=500_000, latency_ms=None),
            call(MORNING, cost_micro_usd=None, priced="unknown", model="new", latency_ms=None),
            opus(datetime(2026, 11, 19, 18, 29, 59, 999_000, tzinfo=UTC), cost_micro_usd=7_000_000),
            opus(datetime(2026, 11, 20, 18, 30, tzinfo=UTC), cost_micro_usd=8_000_000),
            opus(MORNING, tenant="globex", prompt_hash="p1", cost_micro_usd=3_000_000),
        ]
    )


def made(tenant: str | None = "acme", day: date = DAY) -> dict[str, Any]:
    with read_only() as session:
        return reports.look(session, day, tenant, now=NOW)


def test_a_report_of_a_tenants_own_day_agrees_with_its_calls(house: None) -> None:
    a_day()
    with unit_of_work() as uow:
        uow.session.add(
            AnomalyRow(
                id=ids.uuid7(MORNING),
                hour=MORNING.replace(minute=0),
                tenant="acme",
                model="anthropic/claude-opus-4-6",
                skill="content",
                expected_micro_usd=100_000,
                actual_micro_usd=1_350_000,
                score=9.0,
                cause="volume",
                facts={},
            )
        )
    found = made()
    assert {key: found[key] for key in list(found)[:6]} == {
        "date": "2026-11-20",
        "total_cost": 1.85,
        "budget": 10.0,
        "percentage_used": 18.5,
        "breakdown_by_model": {
            "claude-opus-4-6": {"calls": 151, "cost": 1.85, "percentage": 100.0},
            "new": {"calls": 1, "cost": 0.0, "percentage": 0.0},
        },
        "breakdown_by_skill": {"content": 1.85, "chat": 0.0},
    }
    assert found["optimization_opportunities"] == [
        "content: 150 calls to claude-opus-4-6 averaged 180 output tokens; kimi-k2.5 would have cost $0.16 instead of"
        " $1.35 (saves $1.19 a day)",
        "content: 1 call to claude-opus-4-6 failed and was paid for (1 timeout): $0.50",
        "content: 48 calls to claude-opus-4-6 repeated a prompt of the same hour word for word; a cache of answers"
        " would have saved $0.43",
    ]
    assert (found["calls"], found["unpriced_calls"], found["failed_calls"]) == (152, 1, 1)
    assert found["average_latency_ms"] == 500
    assert sum(hour["cost"] for hour in found["by_hour"]) == pytest.approx(1.85)
    assert [row["cost"] for row in found["high_cost_operations"]["calls"]][:2] == [0.5, 0.009]
    assert [(item["name"], item["spent"], item["amount"]) for item in found["budgets"]] == [
        ("tenant_day", 1.85, 15.0),
        ("acme_day", 1.85, 10.0),
        ("tenant_month", 8.85, 100.0),
    ]
    assert [(row["cause"], row["actual"]) for row in found["anomalies"]] == [("volume", 1.35)]
    assert found["projection"]["spent"] == 8.85
    assert found["by_agent"][0] == {"name": "bot", "calls": 102, "cost": 1.4, "percentage": 75.68}


def test_a_report_of_all_has_the_tenants_and_the_budgets_that_are_for_one(house: None) -> None:
    a_day()
    found = made(None)
    assert (found["tenant"], found["timezone"]) == (None, "UTC")
    assert found["total_cost"] == 12.85
    assert [(row["name"], row["cost"]) for row in found["by_tenant"]] == [("acme", 9.85), ("globex", 3.0)]
    assert (found["budget"], found["percentage_used"]) == (25.0, 51.4)
    assert [(item["name"], item["spent"]) for item in found["budgets"]] == [("marketing", 19.85)]


def test_no_more_than_the_days_partitions_are_read(house: None) -> None:
    with unit_of_work() as uow:
        for number in (18, 19, 20, 21):
            bounds = [ids.floor(datetime(2026, 11, number + more, tzinfo=UTC)) for more in (0, 1)]
            uow.execute(
                f"CREATE TABLE cost_tracking_p202611{number} PARTITION OF cost_tracking"
                f" FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
            )
    a_day()
    with read_only() as session:
        before = scans(session)
        found = reports.look(session, DAY, "acme", now=NOW)
        after = scans(session)
    assert found["total_cost"] == 1.85
    assert {name for name, number in after.items() if number > before[name]} == {
        "cost_tracking_p20261119",
        "cost_tracking_p20261120",
    }


def scans(session: Any) -> dict[str, int]:
    """How often this connection has read each day's calls."""
    rows = session.execute(text("SELECT relname, seq_scan + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables"))
    return {name: number for name, number in rows if name.startswith("cost_tracking_p")}


def test_a_day_of_the_past_has_the_month_as_it_stood_then(house: None) -> None:
    a_day()
    found = made(day=date(2026, 11, 19))
    assert (found["total_cost"], found["projection"]["spent"]) == (7.0, 7.0)
    assert report_calls.DEAREST >= len(found["high_cost_operations"]["calls"]) == 1
