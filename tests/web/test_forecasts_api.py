"""/api/v1/costs/forecast and /anomalies, and the same on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import clock
from app.cli.main import run
from app.costs import watch_store
from app.costs.anomalies import Place
from app.costs.watch_store import Anomaly
from app.infra.db import unit_of_work
from tests.health.catalogs import use

CATALOG = """
[services.redis]
kind = "redis"

[tenants.acme]
timezone = "Asia/Kolkata"

[budgets.tenant_month]
scope = "tenant"
period = "month"
amount = 100

[budgets.house_day]
scope = "global"
period = "day"
amount = 0.5

[budgets.talk]
scope = "agent"
period = "interaction"
amount = 1
"""

_HOURS = """
INSERT INTO cost_hours (dimension, start_at, tenant, name, skill, calls, cost_micro_usd)
SELECT 'model', at, 'acme', 'openai/gpt-5', 'chat', 10, 1000000
  FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '20 days', now(), interval '1 hour') AS at
"""
_DAYS = """
INSERT INTO cost_days (dimension, start_at, tenant, name, skill, calls, cost_micro_usd)
SELECT dimension, date_trunc('day', start_at, 'UTC'), tenant, name, skill, sum(calls), sum(cost_micro_usd)
  FROM cost_hours GROUP BY 1, 2, 3, 4, 5
"""


@pytest.fixture
def spender(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """acme spends a dollar an hour, and has for twenty days."""
    use(monkeypatch, home, CATALOG)
    with unit_of_work() as uow:
        uow.execute(_HOURS)
        uow.execute(_DAYS)
    return client


def found(hour: datetime, tenant: str, cause: str = "volume") -> Anomaly:
    facts = {"why": f"{cause}: 40 times the usual calls", "split": {"volume": 7.5}, "calls": 200, "usual_calls": 5.0}
    return Anomaly(hour, Place(tenant, "openai/gpt-5", "chat"), 500_000, 8_000_000, 40.0, cause, facts)


def test_a_budget_s_forecast_says_when_it_is_used_up(spender: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    shown = spender.get("/api/v1/costs/forecast", params={"budget": "tenant_month", "subject": "acme"}).json()
    assert shown["budget"] == {"name": "tenant_month", "scope": "tenant", "subject": "tenant:acme", "amount": 100.0}
    assert shown["timezone"] == "Asia/Kolkata"
    assert shown["spent"] <= shown["low"] <= shown["projected"] <= shown["high"]
    assert shown["level"] == pytest.approx(1.0, abs=0.01)
    assert shown["last_24_hours"] == pytest.approx(24, abs=1)
    house = spender.get("/api/v1/costs/forecast", params={"budget": "house_day"}).json()
    assert house["budget"]["subject"] == "all"
    assert house["exhausted_at"] is not None or house["projected"] < 0.5
    assert run(["costs", "forecast", "tenant_month", "tenant:acme"]) == 0
    assert "in the last 24 hours" in capsys.readouterr().out


def test_a_tenant_s_and_everybody_s_spending_are_foretold(spender: TestClient) -> None:
    day = spender.get("/api/v1/costs/forecast", params={"tenant": "acme", "period": "day"}).json()
    assert day["projected"] == pytest.approx(24, abs=1)
    week = spender.get("/api/v1/costs/forecast", params={"period": "week"}).json()
    assert week["tenant"] is None
    assert week["projected"] == pytest.approx(168, abs=2)
    nobody = spender.get("/api/v1/costs/forecast", params={"tenant": "nobody"}).json()
    assert (nobody["projected"], nobody["rough"]) == (0.0, True)


def test_what_cannot_be_foretold_is_said(spender: TestClient) -> None:
    for asked, status, fields in (
        ({"budget": "tenant_mont", "subject": "acme"}, 404, []),
        ({"budget": "tenant_month"}, 422, ["subject"]),
        ({"budget": "talk", "subject": "bot"}, 422, ["budget"]),
        ({"subject": "acme"}, 422, ["query.subject"]),
        ({"budget": "house_day", "period": "day"}, 422, ["query.period"]),
        ({"period": "year"}, 422, ["query.period"]),
    ):
        answer = spender.get("/api/v1/costs/forecast", params=asked)
        assert answer.status_code == status, asked
        assert [error["field"] for error in answer.json().get("errors", [])] == fields


def test_anomalies_are_listed_in_pages_newest_first(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    hour = clock.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    with unit_of_work() as uow:
        kept = [found(hour - timedelta(hours=place), "acme") for place in range(3)]
        watch_store.keep(uow, [*kept, found(hour, "bolt", "price")])
        watch_store.keep(uow, [found(hour, "acme")])
    first = client.get("/api/v1/costs/anomalies", params={"tenant": "acme", "limit": 2}).json()
    assert [row["hour"] for row in first["anomalies"]] == [
        clock.iso(hour),
        clock.iso(hour - timedelta(hours=1)),
    ]
    assert first["anomalies"][0]["actual"] == 8.0
    assert first["anomalies"][0]["why"] == "volume: 40 times the usual calls"
    rest = client.get("/api/v1/costs/anomalies", params={"tenant": "acme", "cursor": first["next"]}).json()
    assert (len(rest["anomalies"]), rest["next"]) == (1, None)
    of_price = client.get("/api/v1/costs/anomalies", params={"cause": "price"}).json()["anomalies"]
    assert [row["tenant"] for row in of_price] == ["bolt"]
    assert client.get("/api/v1/costs/anomalies", params={"since": "2026-03-01T00:00:00"}).status_code == 422
    assert run(["costs", "anomalies", "--tenant", "bolt"]) == 0
    assert "price: 40 times the usual calls" in capsys.readouterr().out
