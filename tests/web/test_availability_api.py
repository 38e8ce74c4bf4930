"""Availability and latency over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.clock import iso
from tests.health.catalogs import catalog_of, tcp, use
from tests.health.outages import an_outage

CATALOG = tcp("db", essential="true", objective=99) + tcp("web")


@pytest.fixture
def watched(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, home, CATALOG)


@pytest.mark.usefixtures("watched")
def test_availability_has_every_service_and_the_stack(client: TestClient) -> None:
    now = an_outage(catalog_of(CATALOG))
    found = client.get("/api/v1/availability").json()
    assert found["rolled_at"] == iso(now)
    assert list(found["windows"]) == ["24h", "7d", "30d", "90d"]
    assert set(found["services"]) == {"db", "web"}
    for entry in (found["stack"], found["services"]["db"]):
        day = entry["uptime"]["24h"]
        assert day["down_seconds"] == 1800
        assert day["percent"] == pytest.approx(75, abs=0.01)
        assert day["incidents"] == 1
        assert [burn["speed"] for burn in entry["burning"]] == ["fast", "slow"][: len(entry["burning"])]
        assert entry["recovery_seconds"] == {"median": 1800, "p95": 1800, "mean": 1800, "count": 1}
    assert found["services"]["db"]["budget"]["used_percent"] == pytest.approx(100 * 1800 / 25_920, abs=0.01)
    assert found["services"]["web"]["uptime"]["24h"]["percent"] is None
    assert found["services"]["web"]["detection_seconds"] is None


@pytest.mark.usefixtures("watched")
def test_one_service_or_the_stack_says_the_same(client: TestClient) -> None:
    an_outage(catalog_of(CATALOG))
    everything = client.get("/api/v1/availability").json()
    one = client.get("/api/v1/availability/db").json()
    assert one["service"] == "db"
    assert one["budget"] == everything["services"]["db"]["budget"]
    stack = client.get("/api/v1/availability/stack").json()
    assert stack["recovery_seconds"] == everything["stack"]["recovery_seconds"]
    assert client.get("/api/v1/availability/nobody").status_code == 404


@pytest.mark.usefixtures("watched")
def test_before_the_first_pass_nothing_is_known(client: TestClient) -> None:
    found = client.get("/api/v1/availability").json()
    assert (found["rolled_at"], found["stack"]["uptime"]["90d"]["percent"]) == (None, None)


@pytest.mark.usefixtures("watched")
def test_latency_comes_in_the_steps_that_its_span_deserves(client: TestClient) -> None:
    an_outage(catalog_of(CATALOG))
    for hours, step in ((1, 300), (24, 300), (25, 3600), (24 * 30, 86_400)):
        found = client.get(f"/api/v1/services/db/latency?hours={hours}").json()
        assert found["step_seconds"] == step
        assert {bucket["p50_ms"] for bucket in found["buckets"]} == {20}
    assert client.get("/api/v1/services/nobody/latency").status_code == 404
    assert client.get("/api/v1/services/db/latency?hours=0").status_code == 422


def test_strangers_are_told_nothing(stranger: TestClient) -> None:
    for path in ("availability", "availability/db", "services/db/latency"):
        assert stranger.get(f"/api/v1/{path}").status_code == 401
