"""/api/v1/costs: sums of any period, single calls, files; every bad parameter is named."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.catalog import MICRO
from app.config import settings
from app.costs import focus
from app.infra import ids
from app.web.overview import Overviews
from tests.costs.spent import call, spent
from tests.health.catalogs import tcp, use

DAY = datetime(2025, 11, 20, tzinfo=UTC)
CATALOG = tcp("web") + '[tenants.acme]\ntimezone = "Asia/Kolkata"\n'


@pytest.fixture
def api(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """With five calls around a day's midnights, two of them acme's."""
    use(monkeypatch, home, CATALOG)
    spent(
        [
            call(DAY - timedelta(hours=5, minutes=31), cost_micro_usd=1),
            call(DAY - timedelta(hours=5, minutes=30), cost_micro_usd=20_000, skill="copy"),
            call(DAY, cost_micro_usd=300_000, tenant="globex", user_id="=HYPERLINK(1)", tags={"campaign": "x"}),
            call(DAY + timedelta(hours=18), cost_micro_usd=None, tenant="globex", outcome="error", skill=""),
            call(DAY + timedelta(hours=18, minutes=30), cost_micro_usd=5_000_000),
        ]
    )
    return client


def costs(document: dict[str, Any]) -> dict[str, float]:
    return {row["name"]: row["cost"] for row in document["rows"]}


def wrong(api: TestClient, path: str, **params: Any) -> dict[str, str]:
    answer = api.get(f"/api/v1/costs/{path}", params=params)
    assert answer.status_code == 422, answer.text
    return {item["field"]: item["message"] for item in answer.json()["errors"]}


def test_a_day_is_that_of_the_tenants_own_zone(api: TestClient) -> None:
    house = api.get("/api/v1/costs/sums", params={"day": "2025-11-20", "by": "tenant"}).json()
    assert costs(house) == {"acme": 5.0, "globex": 0.3}
    assert house["total"] == house["total"] | {"calls": 3, "cost": 5.3, "unpriced": 1, "failed": 1}
    assert [row["percentage"] for row in house["rows"]] == [94.34, 5.66]
    assert (house["since"], house["zone"], house["more"]) == ("2025-11-20T00:00:00.000Z", "UTC", False)
    own = api.get("/api/v1/costs/sums", params={"day": "2025-11-20", "by": "skill", "tenant": "acme"}).json()
    assert (own["since"], own["zone"], costs(own)) == ("2025-11-19T18:30:00.000Z", "Asia/Kolkata", {"copy": 0.02})


def test_a_period_may_be_of_dates_times_or_back_from_its_end_and_in_steps(api: TestClient) -> None:
    ask = {"since": "2025-11-19", "until": "2025-11-21", "by": "total", "step": "day"}
    days = api.get("/api/v1/costs/sums", params=ask).json()
    assert [(row["start_at"][:10], row["calls"]) for row in days["rows"]] == [("2025-11-19", 2), ("2025-11-20", 3)]
    lost = "/api/v1/costs/sums?since=2025-11-20T00:00:00+05:30&until=2025-11-21T00:00:00%2B05:30"
    assert api.get(lost).json()["total"]["calls"] == 3
    back = api.get("/api/v1/costs/sums", params={"since": "24h", "until": "2025-11-21T00:00:00Z"}).json()
    assert (back["since"], back["total"]["calls"]) == ("2025-11-20T00:00:00.000Z", 3)
    cut = api.get("/api/v1/costs/sums", params=ask | {"limit": 1}).json()
    assert (len(cut["rows"]), cut["more"], cut["total"]["calls"]) == (1, True, 5)
    assert api.get("/api/v1/costs/sums").json()["total"]["calls"] == 0, "today"


def test_everything_that_is_wrong_is_named(api: TestClient) -> None:
    assert wrong(api, "sums", by="modle", step="week", limit=0).keys() == {"query.by", "query.step", "query.limit"}
    assert wrong(api, "sums", day="20.11.", until="2025-11-21").keys() == {"day"}
    assert wrong(api, "sums", since="soon", until="2025-11-20T09:00").keys() == {"since", "until"}
    assert wrong(api, "sums", until="2025-11-20") == {"since": "is required with until"}
    assert wrong(api, "sums", since="2025-11-20", until="2025-11-19") == {"until": "is before since"}
    assert wrong(api, "sums", since="0001-01-01").keys() == {"since"}
    assert wrong(api, "sums", day="9999-12-31").keys() == {"day"}
    assert wrong(api, "sums", zone="Mars/Olympus").keys() == {"zone"}
    assert wrong(api, "sums", zone="../etc").keys() == {"zone"}
    assert wrong(api, "sums", by="user", skill="chat", model="openai/gpt-5").keys() == {"skill", "model"}
    assert wrong(api, "sums", since="2020-01-01", step="hour").keys() == {"step"}
    assert wrong(api, "calls", min_cost=-1, cursor="x").keys() == {"query.min_cost", "query.cursor"}
    assert wrong(api, "export", what="all", format="xls").keys() == {"query.what", "query.format"}
    asked = {"what": "focus", "since": "2025-11-20T00:30:00Z", "until": "2025-11-21"}
    message = "must be where a day begins in UTC, as with the zone UTC: a charge period is not cut"
    assert wrong(api, "export", **asked) == {"since": message}


def test_calls_are_paged_newest_first_and_found_by_what_they_are(api: TestClient) -> None:
    period = {"since": "2025-11-19", "until": "2025-11-21"}
    first = api.get("/api/v1/costs/calls", params=period | {"page_size": 2}).json()
    rest = api.get("/api/v1/costs/calls", params=period | {"cursor": first["next"]}).json()
    assert [item["cost"] for item in first["calls"] + rest["calls"]] == [5.0, None, 0.3, 0.02, 0.000001]
    assert rest["next"] is None

    def found(**params: Any) -> list[Any]:
        return [item["cost"] for item in api.get("/api/v1/costs/calls", params=period | params).json()["calls"]]

    assert found(tenant="globex") == [None, 0.3]
    assert found(outcome="error", skill="") == [None]
    assert found(user="=HYPERLINK(1)", model="openai/gpt-5", agent="bot", department="sales") == [0.3]
    assert found(min_cost=0.3) == [5.0, 0.3]
    assert wrong(api, "calls", tenant="\x00") == {"query": "holds a NUL character"}


def test_one_call_is_shown_with_all_that_is_kept_of_it(api: TestClient) -> None:
    listed = api.get("/api/v1/costs/calls", params={"day": "2025-11-20", "tenant": "globex", "min_cost": 0.1}).json()
    one = api.get(f"/api/v1/costs/calls/{listed['calls'][0]['id']}").json()
    assert one == listed["calls"][0]
    assert (one["user"], one["at"], one["tags"]) == ("=HYPERLINK(1)", "2025-11-20T00:00:00.000Z", {"campaign": "x"})
    assert api.get(f"/api/v1/costs/calls/{ids.uuid7()}").status_code == 404


def test_calls_are_exported_as_csv_and_as_lines_of_json(api: TestClient) -> None:
    period = {"since": "2025-11-19", "until": "2025-11-21"}
    answer = api.get("/api/v1/costs/export", params=period)
    assert answer.headers["content-disposition"] == 'attachment; filename="costs-calls-2025-11-19.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["cost"] for row in rows] == ["0.000001", "0.02", "0.3", "", "5"]
    assert rows[2]["user"] == "'=HYPERLINK(1)"
    lines = api.get("/api/v1/costs/export", params=period | {"format": "ndjson", "tenant": "globex"}).text.splitlines()
    assert [(json.loads(line)["user"], json.loads(line)["cost"]) for line in lines] == [
        ("=HYPERLINK(1)", 0.3),
        ("ann", None),
    ]


def test_sums_and_focus_rows_are_exported(api: TestClient) -> None:
    period = {"since": "2025-11-19", "until": "2025-11-21"}
    sums = api.get("/api/v1/costs/export", params=period | {"what": "sums", "by": "model"}).text.splitlines()
    assert sums[1].split(",")[:3] == ["openai/gpt-5", "", "5"]
    rows = list(csv.DictReader(io.StringIO(api.get("/api/v1/costs/export", params=period | {"what": "focus"}).text)))
    assert tuple(rows[0]) == focus.NAMES
    assert sum(round(float(row["BilledCost"]) * MICRO) for row in rows) == 5_320_001
    last = [row for row in rows if row["SubAccountId"] == "acme"][-1]
    assert (last["ChargePeriodEnd"], last["ConsumedQuantity"]) == ("2025-11-21T00:00:00.000Z", "110")
    assert (last["ServiceCategory"], last["Tags"]) == ("AI and Machine Learning", '{"skill":"chat"}')
    hours = api.get("/api/v1/costs/export", params=period | {"what": "focus", "step": "hour", "format": "ndjson"})
    assert len(hours.text.splitlines()) == 5


def test_the_status_tells_what_was_spent_today_of_the_tenants_daily_budgets(
    client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = """
[tenants.globex]
[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 5
[budgets.globex_day]
scope = "tenant"
for = "globex"
period = "day"
amount = 2.5
[budgets.all_day]
scope = "global"
period = "day"
amount = 500
"""
    use(monkeypatch, home, CATALOG + budgets)
    spent([call(clock.now()), call(clock.now(), tenant="other", cost_micro_usd=250_000), call(DAY)])
    client.app.state.overviews = Overviews(settings())  # type: ignore[attr-defined]
    house = client.get("/api/v1/status").json()
    assert (house["cost_today"], house["cost_limit"]) == (0.26, 12.5)
    own = client.get("/api/v1/status", params={"tenant": "globex"}).json()
    assert (own["cost_today"], own["cost_limit"]) == (0, 2.5)
    assert client.get("/api/v1/status", params={"tenant": "acme"}).json()["cost_today"] == 0.01


def test_costs_are_for_callers_with_a_key(stranger: TestClient) -> None:
    for path in ("sums", "calls", f"calls/{ids.uuid7()}", "export"):
        assert stranger.get(f"/api/v1/costs/{path}").status_code == 401
