"""The page about costs: sums and shares, budgets, one tenant, nothing at all; and how it is put into words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra import redis
from app.infra.db import unit_of_work
from app.web.console.charts import spending
from app.web.console.costs_view import money, short
from app.web.overview import Overviews
from tests.admission.pausing import pause
from tests.costs.spent import call, spent
from tests.health.catalogs import tcp, use
from tests.web.test_pages import shown, words

CATALOG = (
    tcp("web")
    + """
[tenants.acme]
[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 5
[budgets.tenant_month]
scope = "tenant"
period = "month"
amount = 500
[budgets.all_month]
scope = "global"
period = "month"
amount = 10000
"""
)


@pytest.fixture
def web(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Under a catalogue with budgets; Redis has no counters, so that what is written down counts."""
    use(monkeypatch, home, CATALOG)
    client.app.state.overviews = Overviews(settings())  # type: ignore[attr-defined]
    return client


def test_without_a_call_it_says_how_the_first_one_is_recorded(web: TestClient) -> None:
    page = shown(web, "/costs", "No call was recorded yet")
    text = words(page)
    assert "testserver/api/v1/costs/calls" in text
    assert "Spent $0.00 since midnight" in text
    assert "Nothing is spent of any budget." in text
    assert 'href="/costs"' in web.get("/").text


def test_what_was_spent_is_shown_by_whom_and_on_what(web: TestClient) -> None:
    now = clock.now()
    spent(
        [
            *(call(now, cost_micro_usd=1_000_000, user_id=f"user-{number}") for number in range(4)),
            call(now, tenant="<b>&co", skill="", model="new", cost_micro_usd=None, outcome="error"),
            call(now - timedelta(days=3), tenant="globex", cost_micro_usd=16_000_000),
        ]
    )
    with unit_of_work() as uow:
        uow.execute("INSERT INTO cost_models (provider, model) VALUES ('openai', 'new')")
    page = shown(web, "/costs", "By model")
    text = words(page)
    assert "Spent $4.00 since midnight" in text
    assert "Calls 5 $0.8000 each Failed 1 20.0% of them" in text
    assert re.search(
        r"By model openai/gpt-5 \$4.00 100.0 % 4 calls openai/new \$0.00 0.0 % 1 call, 1 without a price", text
    )
    assert re.search(r"tenant_day \$5.00 a day of each tenant acme \$4.00 of \$5.00 80 % anew in", text)
    assert "Models without a price 1 openai/new" in text
    assert "&lt;b&gt;&amp;co" in page
    assert 'href="/costs?tenant=%3Cb%3E%26co"' in page
    assert 'style="' not in page
    assert "<script>" not in page
    month = words(web.get("/costs", params={"span": "30d"}).text)
    assert "Spent $20.00 since" in month
    assert "At the end of the month" in month
    assert "globex $16.00 80.0 %" in month


def test_one_tenant_is_shown_by_itself_with_its_own_budgets(web: TestClient) -> None:
    spent([call(clock.now(), cost_micro_usd=6_000_000), call(clock.now(), tenant="globex", cost_micro_usd=1)])
    pause("tenant:acme", by="budget:tenant_day", reason="used up", least=3)
    pause("tenant:globex", by="budget:tenant_day", reason="of another", least=3)
    pause("tenant:acme", reason="of a person")
    page = web.get("/costs", params={"tenant": "acme", "span": "7d"}).text
    text = words(page)
    assert "Spent $6.00 since" in text
    assert re.search(r"acme \$6.00 of \$5.00 120 % anew in [\w ]+ background work waits", text)
    assert "Held back by budgets 1 Of What Until tenant:acme used up background work waits" in text
    assert "of a person" not in text
    assert "of another" not in text
    assert "all_month" not in text
    assert "By tenant" not in text
    assert 'href="/costs?span=7d"' in page
    assert "Spent $0.00" in words(web.get("/costs", params={"tenant": "nobody"}).text)
    assert web.get("/costs", params={"span": "year"}).status_code == 422


def test_while_redis_is_away_that_is_said_and_sums_are_shown(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    spent([call(clock.now(), cost_micro_usd=4_000_000)])
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    redis.client.cache_clear()
    text = words(shown(web, "/costs", "Redis does not answer"))
    assert "$4.00 of $5.00 80 %" in text


def test_while_postgres_is_away_nothing_is_known(
    redis_server: str, home: Path, make_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/none")
    use(monkeypatch, home, CATALOG)
    with TestClient(make_app()) as web:
        answer = web.get("/costs")
    assert answer.status_code == 503
    assert "Postgres does not answer" in answer.text


@pytest.mark.parametrize(
    ("amount", "said"), [(0, "$0.00"), (0.000001, "$0.000001"), (0.5, "$0.5000"), (12345.678, "$12,345.68")]
)
def test_money_has_as_many_digits_as_say_something(amount: float, said: str) -> None:
    assert money(amount) == said


@pytest.mark.parametrize(
    ("count", "said"), [(950, "950"), (12_345, "12.3 k"), (999_999, "1,000 k"), (4_560_000, "4.56 million")]
)
def test_large_counts_are_short(count: int, said: str) -> None:
    assert short(count) == said


def test_hours_and_days_are_drawn_where_they_are() -> None:
    start = datetime(2026, 3, 25, 18, 30, tzinfo=UTC)
    steps = [(start, 1_000_000), (start + timedelta(hours=6, minutes=30), 500_000)]
    day = spending(steps, start, start + timedelta(days=1), start + timedelta(hours=12), zone="Asia/Kolkata")
    assert day is not None
    assert [bar[:4] for bar in day.bars] == [(0.0, 9.1, 23.5, 90.9), (162.5, 54.5, 23.5, 45.5)]
    assert (day.bars[1][4], day.now, day.since, day.said) == (
        "06:30: $0.5000",
        300.0,
        "00:00",
        "the dearest hour 00:00: $1.00",
    )
    week = spending(steps, start, start + timedelta(days=7), start, zone="UTC")
    assert week is not None
    assert (week.now, week.until, week.said) == (None, "today", "the dearest day 2026-03-25: $1.00")
    assert spending([(start, 0)], start, start + timedelta(days=1), start, zone="UTC") is None
