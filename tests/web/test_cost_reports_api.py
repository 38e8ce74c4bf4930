"""/api/v1/costs/reports and its page: kept reports listed, one shown in three forms, made anew when asked."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import clock
from app.cli.main import run
from app.costs import report_html
from app.infra.db import unit_of_work
from tests.costs.spent import call, spent
from tests.health.catalogs import use

REPORTS = "/api/v1/costs/reports"
CATALOG = """
[services.redis]
kind = "redis"

[tenants.acme]
timezone = "UTC"

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 5
"""


@pytest.fixture
def api(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The API of an installation where acme spent a cent yesterday, and two the day before."""
    use(monkeypatch, home, CATALOG)
    spent([call(noon(1)), call(noon(2)), call(noon(2)), call(clock.now() - timedelta(milliseconds=5), tenant="other")])
    return client


def noon(days_ago: int) -> datetime:
    today = clock.now().replace(hour=12, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def days(*ago: int) -> list[str]:
    return [noon(number).date().isoformat() for number in ago]


def age(day: str, member: str = "failed_calls") -> None:
    """Let a kept report differ from what would be made now."""
    with unit_of_work() as uow:
        uow.execute(
            "UPDATE cost_reports SET document = jsonb_set(document::jsonb, ARRAY[:member], '99')::json"
            " WHERE day = :day",
            member=member,
            day=date.fromisoformat(day),
        )


def test_a_report_is_kept_once_its_day_is_over_and_made_anew_when_asked(api: TestClient) -> None:
    [before] = days(2)
    made = api.get(f"{REPORTS}/{before}", params={"tenant": "acme"}).json()
    assert list(made)[:7] == [
        "date",
        "total_cost",
        "budget",
        "percentage_used",
        "breakdown_by_model",
        "breakdown_by_skill",
        "optimization_opportunities",
    ]
    assert (made["date"], made["total_cost"], made["budget"], made["percentage_used"]) == (before, 0.02, 5.0, 0.4)
    assert list(api.get(f"{REPORTS}/{before}", params={"tenant": "acme"}).json()) == list(made)
    age(before)
    kept = api.get(f"{REPORTS}/{before}", params={"tenant": "acme"}).json()
    fresh = api.get(f"{REPORTS}/{before}", params={"tenant": "acme", "fresh": True}).json()
    again = api.get(f"{REPORTS}/{before}", params={"tenant": "acme"}).json()
    assert (kept["failed_calls"], fresh["failed_calls"], again["failed_calls"]) == (99, 0, 0)
    age(before, "calls")
    assert api.get(f"{REPORTS}/{before}", params={"tenant": "acme"}).json()["calls"] == 2, "others came later"


def test_today_is_never_kept_nor_a_tenant_that_nobody_knows(api: TestClient) -> None:
    today = api.get(f"{REPORTS}/today").json()
    assert (today["tenant"], today["is_over"], today["by_tenant"][0]["name"]) == (None, False, "other")
    assert api.get(f"{REPORTS}/{days(1)[0]}", params={"tenant": "nobody"}).json()["calls"] == 0
    assert api.get(REPORTS).json() == {"reports": [], "next": None}


def test_reports_are_listed_the_latest_first_page_by_page(api: TestClient) -> None:
    for day in days(1, 2):
        for tenant in ({}, {"tenant": "acme"}):
            api.get(f"{REPORTS}/{day}", params=tenant)
    first = api.get(REPORTS, params={"limit": 3}).json()
    rest = api.get(REPORTS, params={"limit": 3, "cursor": first["next"]}).json()
    found = [*first["reports"], *rest["reports"]]
    assert [(row["date"], row["tenant"]) for row in found] == [
        (day, tenant) for day in days(1, 2) for tenant in (None, "acme")
    ]
    assert rest["next"] is None
    assert {key: found[1][key] for key in ("total_cost", "budget", "percentage_used", "calls")} == {
        "total_cost": 0.01,
        "budget": 5.0,
        "percentage_used": 0.2,
        "calls": 1,
    }
    assert [row["tenant"] for row in api.get(REPORTS, params={"tenant": ""}).json()["reports"]] == [None, None]


def test_what_makes_no_sense_is_named(api: TestClient) -> None:
    for path, field in (
        ("/2026-13-01", "day"),
        ("/2999-01-01", "day"),
        ("/1999-01-01", "day"),
        ("/today?format=pdf", "query.format"),
        ("?cursor=nonsense", "query.cursor"),
        ("?limit=0", "query.limit"),
    ):
        answer = api.get(REPORTS + path)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_report_is_text_and_a_page_that_may_load_nothing(api: TestClient) -> None:
    text = api.get(f"{REPORTS}/yesterday", params={"tenant": "acme", "format": "text"})
    assert text.headers["content-type"].startswith("text/plain")
    assert text.text.startswith(f"Costs of acme on {days(1)[0]} (UTC)\n")
    for address in (f"{REPORTS}/yesterday?tenant=acme&format=html", "/costs/reports/yesterday?tenant=acme"):
        page = api.get(address)
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"] == report_html.POLICY
        assert "$0.01" in page.text


def test_the_page_keeps_nothing_and_says_what_is_wrong(stranger: TestClient, api: TestClient) -> None:
    assert stranger.get("/costs/reports/yesterday").status_code == 200
    assert stranger.get("/costs/reports/someday").status_code == 404
    assert api.get(REPORTS).json()["reports"] == []
    del stranger.headers["Authorization"]
    assert stranger.get(f"{REPORTS}/yesterday").status_code == 401


def test_the_command_prints_and_writes_a_report(
    api: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["costs", "report", "--tenant", "acme"]) == 0
    assert capsys.readouterr().out.startswith(f"Costs of acme on {days(1)[0]} (UTC)\n")
    assert run(["costs", "report", days(2)[0], "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["total_cost"] == 0.02
    file = tmp_path / "report.html"
    assert run(["costs", "report", "today", "--format", "html", "--output", str(file)]) == 0
    assert file.read_text().startswith("<!doctype html>")
    assert "written to" in capsys.readouterr().out
    assert run(["costs", "report", "someday"]) == 2
    assert run(["costs", "report", "--output", str(tmp_path / "no" / "where")]) == 2
