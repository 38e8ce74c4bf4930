"""/api/v1/costs/bills: days as they were compared, and comparing them anew."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from app import clock
from app.costs import bill_store
from app.costs.bill_judging import Captured, State
from app.costs.bill_source import Counted
from app.costs.bill_store import Bill
from app.infra.db import read_only, unit_of_work
from app.jobs import admin
from tests.costs.billed import KEY, table
from tests.health.catalogs import use

PATH = "/api/v1/costs/bills"
DAY = date(2026, 11, 10)


def kept(provider: str, day: date, state: State) -> Bill:
    ours = Captured(9_000_000, Counted(100, 40, 10), 3, 1)
    return Bill(provider, day, ours, 10_000_000, None, "file", state, "so", None, clock.now())


def test_days_are_listed_newest_first_page_by_page(client: TestClient) -> None:
    assert client.get(PATH).json() == {"bills": [], "next": None}
    with unit_of_work() as uow:
        bill_store.put(
            uow,
            [
                kept("openai", DAY, State.DIFFERS),
                kept("moonshot", DAY, State.AGREES),
                kept("openai", DAY + timedelta(1), State.AGREES),
            ],
        )
    first = client.get(PATH, params={"limit": 2}).json()
    assert [(one["day"], one["provider"]) for one in first["bills"]] == [
        ("2026-11-11", "openai"),
        ("2026-11-10", "moonshot"),
    ]
    rest = client.get(PATH, params={"limit": 2, "cursor": first["next"]}).json()
    assert ([one["state"] for one in rest["bills"]], rest["next"]) == (["differs"], None)
    [one] = client.get(PATH, params={"state": "differs", "provider": "openai", "until": "2026-11-10"}).json()["bills"]
    assert (one["captured"], one["billed"], one["percent"], one["billed_tokens"]) == (9.0, 10.0, -10.0, None)
    for params in ({"cursor": "x"}, {"state": "odd"}, {"since": "soon"}, {"limit": 0}):
        assert client.get(PATH, params=params).status_code == 422


def test_bills_are_read_by_jobs(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = table("openai", "http://127.0.0.1:1") + table("moonshot", "http://127.0.0.1:1")
    use(monkeypatch, home, f"[services.x]\nkind = 'disk'\npath = '/'\n{tables}")
    made = client.post(f"{PATH}/reconcile")
    assert made.status_code == 202
    assert [one["provider"] for one in made.json()["jobs"]] == ["openai", "moonshot"]
    since = (clock.now() - timedelta(days=3)).date().isoformat()
    [job] = client.post(f"{PATH}/reconcile", json={"provider": "moonshotai", "since": since}).json()["jobs"]
    with read_only() as session:
        view = admin.get(session, UUID(job["id"]))
    assert (view.task, view.kwargs) == ("tasks.costs.reconcile_provider", {"provider": "moonshot", "since": since})
    assert client.post(f"{PATH}/reconcile", json={"provider": "none"}).status_code == 404
    for body in ({"since": "soon"}, {"since": "2999-01-01"}, {"days": 3}):
        assert client.post(f"{PATH}/reconcile", json=body).status_code == 422
    assert KEY not in client.get(PATH).text + made.text
