"""Health pages: what is stored is what is shown, and losing Postgres neither hangs them nor silences them."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.health import record, sync_catalog
from app.health.results import ProbeError, ProbeResult
from app.infra import db
from app.infra.db import unit_of_work
from tests.fixtures.programs import need
from tests.fixtures.servers import Servers
from tests.fixtures.waiting import until
from tests.health.catalogs import catalog_of, tcp, use
from tests.health.local import silent_port
from tests.web.assembled import served

CATALOG = (
    tcp("shop", essential="true")
    + tcp("mail", depends_on='["shop"]')
    + '[services.nightly]\nkind = "heartbeat"\nperiod_seconds = 60\ndescription = "</script><b>bold</b>"\n'
)


class Tell:
    """Stores results that were probed one second apart, `after` seconds after the story's begin, 20 s ago."""

    def __init__(self) -> None:
        self.start = clock.now() - timedelta(seconds=20)

    def __call__(
        self, service: str, *, ok: bool, after: int = 0, text: str = "connection refused", times: int = 1
    ) -> None:
        moments = [self.start + timedelta(seconds=after + number) for number in range(times)]
        error = None if ok else ProbeError("refused", text)
        results = [
            ProbeResult(
                ok=ok,
                started_at=moment,
                finished_at=moment + timedelta(milliseconds=500),
                latency_ms=12.5 if ok else None,
                error=error,
            )
            for moment in moments
        ]
        with unit_of_work() as uow:
            record(uow, [(service, result) for result in results], source="engine", in_maintenance=lambda *_: False)


@pytest.fixture
def tell(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tell]:
    """Three services of a catalogue, two of them up."""
    use(monkeypatch, home, CATALOG)
    with unit_of_work() as uow:
        sync_catalog(uow, catalog_of(CATALOG))
    story = Tell()
    story("shop", ok=True)
    story("mail", ok=True)
    yield story
    db.dispose()


def shown(client: TestClient, path: str, status_code: int, status: str) -> dict[str, Any]:
    """The page once it shows that: what is stored is read at most once a second."""

    def found() -> dict[str, Any] | None:
        answer = client.get(path)
        document: dict[str, Any] = answer.json()
        return document if (answer.status_code, document["status"]) == (status_code, status) else None

    answer = until(found, what=f"{path} says {status_code} {status}")
    assert answer is not None
    return answer


def test_healthz_speaks_of_the_process_alone(stranger: TestClient) -> None:
    answer = stranger.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert stranger.head("/healthz").status_code == 200


def test_the_stored_result_is_served(tell: Tell, client: TestClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    document = answer.json()
    assert document["status"] == "healthy"
    assert (document["services"]["shop"]["status"], document["services"]["shop"]["latency_ms"]) == ("up", 12.5)
    assert {"timestamp", "rate_limits", "cost_today", "cost_limit"} <= document.keys()
    assert client.get("/api/v1/status").json()["services"] == document["services"]


def test_an_essential_service_that_is_down_makes_503_and_an_incident(tell: Tell, client: TestClient) -> None:
    tell("shop", ok=False, after=1, times=3)
    assert shown(client, "/health", 503, "unhealthy")["alerts"][0]["service"] == "shop"
    assert client.get("/api/v1/status").status_code == 200
    incident = client.get("/api/v1/incidents", params={"open": "true"}).json()["incidents"][0]
    assert incident["service"] == "shop"
    assert incident["detection_seconds"] == pytest.approx(2.5, abs=0.2)
    assert incident["recovery_seconds"] is None

    tell("shop", ok=True, after=5, times=2)
    over = client.get("/api/v1/incidents", params={"service": "shop", "open": "false"}).json()["incidents"]
    assert over[0]["recovery_seconds"] == pytest.approx(4.0, abs=0.5)


def test_another_service_that_is_down_degrades_and_is_still_200(tell: Tell, client: TestClient) -> None:
    tell("mail", ok=False, after=1, times=3)
    assert shown(client, "/health", 200, "degraded")["alerts"][0]["service"] == "mail"


def test_one_service_has_an_address_of_its_own(tell: Tell, client: TestClient) -> None:
    tell("mail", ok=False, after=1, times=3)
    assert client.get("/health/shop").json()["status"] == "up"
    assert shown(client, "/health/mail", 503, "down")
    assert client.get("/health/nightly").status_code == 503
    missing = client.get("/health/nope")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


def test_incidents_are_paged(tell: Tell, client: TestClient) -> None:
    for number in range(3):
        tell("mail", ok=False, after=1 + number * 6, times=3)
        tell("mail", ok=True, after=4 + number * 6, times=2)
    seen: list[str] = []
    parameters: dict[str, str | int] = {"limit": 1}
    while True:
        page = client.get("/api/v1/incidents", params=parameters).json()
        seen += [item["started_at"] for item in page["incidents"]]
        if page["next"] is None:
            break
        parameters["cursor"] = page["next"]
    assert len(seen) == 3
    assert seen == sorted(seen, reverse=True)


def test_an_incident_has_an_address_with_its_story(tell: Tell, client: TestClient) -> None:
    tell("shop", ok=False, after=1, times=3)
    tell("shop", ok=True, after=5, times=2)
    [listed] = client.get("/api/v1/incidents").json()["incidents"]
    found = client.get(f"/api/v1/incidents/{listed['id']}").json()
    assert found["recovery_seconds"] == pytest.approx(4.0, abs=0.5)
    assert [entry["kind"] for entry in found["timeline"]][:4] == [*["probe.failed"] * 3, "incident.detected"]
    assert found["timeline"][-1]["kind"] == "incident.recovered"
    assert client.get(f"/api/v1/incidents/{uuid4()}").status_code == 404


def test_a_service_has_an_address_with_all_that_is_stored_of_it(tell: Tell, client: TestClient) -> None:
    tell("shop", ok=False, after=1, times=3)
    shown(client, "/health", 503, "unhealthy")
    found = client.get("/api/v1/services/shop").json()
    assert (found["status"], found["health"]["kind"], found["severity"]) == ("down", "tcp", "error")
    assert found["availability"]["objective"] == 99.5
    assert [incident["open"] for incident in found["incidents"]] == [True]
    assert found["dependents"] == [{"service": "mail", "direct": True, "status": "up"}]
    assert client.get("/api/v1/services/mail").json()["depends_on"][0]["status"] == "down"
    assert found["thresholds"] == {}
    assert (found["runs"], found["alerts"], found["modes"]) == ([], [], [])
    assert client.get("/api/v1/services/nope").status_code == 404


def test_a_heartbeat_is_taken_from_services_of_that_kind_only(tell: Tell, client: TestClient) -> None:
    answer = client.post("/api/v1/heartbeats/nightly")
    assert answer.status_code == 200
    assert datetime.fromisoformat(answer.json()["received_at"]) <= clock.now()
    assert client.post("/api/v1/heartbeats/shop").status_code == 404
    assert client.post("/api/v1/heartbeats/nope").status_code == 404


def test_the_configuration_in_force_is_named(tell: Tell, client: TestClient) -> None:
    answer = client.get("/api/v1/config").json()
    assert answer["services"] == ["mail", "nightly", "shop"]
    assert answer["digest"]
    assert answer["problem"] is None


def test_the_page_says_it_all_without_any_key(tell: Tell, stranger: TestClient) -> None:
    tell("shop", ok=False, after=1, times=3, text="<script>alert(1)</script>")
    tell("mail", ok=False, after=1, times=3)
    tell("mail", ok=True, after=5, times=2)

    def words() -> str:
        """The page's, once it was read of Postgres: on a busy machine the first try may take too long."""
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", stranger.get("/").text))

    until(lambda: "shop is down" in words(), what="the page says what is stored")
    page, text = stranger.get("/"), words()
    assert page.status_code == 200
    assert "The stack is unhealthy" in text
    assert "shop is down" in text
    assert "Open incidents 1" in text
    assert "no alert channel is configured" in text
    assert "Recovered incidents" in text
    assert "critical" in text
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text


def test_the_page_shows_no_arguments_of_jobs(tell: Tell, client: TestClient) -> None:
    client.post("/api/v1/jobs", json={"task": "tests.web.echo", "kwargs": {"text": "private-words"}})
    assert "private-words" not in client.get("/").text


@pytest.mark.parametrize("silent", [False, True], ids=["refusing", "silent"])
def test_without_postgres_the_pages_answer_from_the_watchdogs_view(
    silent: bool, home: Path, make_app: Callable[[], FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, CATALOG)
    with silent_port() as port:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody:x@127.0.0.1:{port if silent else 9}/none")
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
        settings.cache_clear()
        with TestClient(make_app()) as client:
            started = time.monotonic()
            answer = client.get("/health")
            assert time.monotonic() - started < 4
            assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
            assert "Postgres does not answer" in " ".join(answer.json()["notices"])
            assert answer.json()["services"]["shop"]["status"] == "unknown"
            started = time.monotonic()
            assert "The stack is unhealthy" in client.get("/").text
            assert client.get("/health/shop").status_code == 503
            assert time.monotonic() - started < 1, "a second view waited again"


def test_the_pages_return_to_postgres_when_it_is_back(
    tell: Tell, client: TestClient, servers: Servers, database: str
) -> None:
    name = database.rpartition("/")[2]
    servers.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    servers.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    wait_for(client, 503)
    servers.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    wait_for(client, 200)


def test_a_ledger_that_does_not_answer_takes_only_the_queues_away(
    tell: Tell, client: TestClient, database: str
) -> None:
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.cursor().execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        until(lambda: client.portal.call(client.app.state.overviews.current).queues is None, what="no queues")
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
        assert "Postgres" not in " ".join(answer.json()["notices"])
        assert "None yet." in client.get("/").text
        connection.rollback()


def wait_for(client: TestClient, status: int) -> None:
    deadline = time.monotonic() + 15
    while client.get("/health").status_code != status:
        assert time.monotonic() < deadline, f"/health is not {status} after 15 s"
        time.sleep(0.1)


@pytest.mark.chromium
@pytest.mark.parametrize("path", ["/", "/docs", "/services/shop", "/recovery"])
def test_a_browser_shows_the_page_without_a_complaint(
    tell: Tell, redis_server: str, make_app: Callable[[], FastAPI], path: str, tmp_path: Path
) -> None:
    browser = need("chromium", package="chromium")
    profile, picture = tmp_path / "profile", tmp_path / "page.png"
    arguments = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --enable-logging=stderr"
        f" --window-size=1280,900 --user-data-dir={profile} --screenshot={picture}"
    )
    with served(make_app()) as port:
        shown = subprocess.run(
            [browser, *arguments.split(), f"http://127.0.0.1:{port}{path}"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    shutil.rmtree(profile, ignore_errors=True)
    assert "CONSOLE" not in shown.stderr, [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert picture.stat().st_size > 20_000
