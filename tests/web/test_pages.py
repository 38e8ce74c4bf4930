"""The pages about one thing: a service, an incident, recovery, a run; what they show while Postgres is away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.config import settings
from app.infra.db import unit_of_work
from app.recovery import control
from app.recovery.core import Done
from tests.fixtures.waiting import until
from tests.health.catalogs import use
from tests.health.local import silent_port
from tests.recovery.field import PLAYBOOK, Field, play, service_of

__all__ = ["play"]

CATALOG = (
    service_of("qdrant", description='"vectors <b>for</b> all"')
    + service_of("shop", depends_on='["qdrant"]')
    + PLAYBOOK
)


def words(page: str) -> str:
    """What a page says, without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.fixture
def field(stranger: TestClient, play: Any) -> Field:
    """Two services with containers, both watched; nobody needs a key to look."""
    found: Field = play.begin(CATALOG)
    return found


def shown(client: TestClient, path: str, said: str) -> str:
    """The page once it says that: states are read at most once a second."""

    def found() -> str | None:
        page = client.get(path).text
        return page if said in words(page) else None

    page = until(found, what=f"{path} says {said}")
    assert page is not None
    return page


def test_a_service_has_a_page_with_its_state_its_budget_and_its_neighbours(stranger: TestClient, field: Field) -> None:
    field.see("qdrant", "u", readings={"size_mb": 12.5})
    field.see("qdrant", "u", readings={"size_mb": 12.5})
    field.fall("shop")
    symptom = words(shown(stranger, "/services/shop", "shop is down"))
    assert "Depends on ✓ qdrant" in symptom
    page = stranger.get("/services/qdrant").text
    text = words(page)
    assert "qdrant is up" in text
    assert "vectors &lt;b&gt;for&lt;/b&gt; all" in page
    assert "objective 99.5 % of 30 days" in text
    assert "Error budget left: 3 h 36 min of 3 h 36 min" in text
    assert "12.5 MB" in text
    assert '<a class="pill bad" href="/services/shop">' in page


def test_the_status_page_leads_to_services_and_incidents(stranger: TestClient, field: Field) -> None:
    field.fall("qdrant")
    page = shown(stranger, "/", "qdrant is down")
    assert 'href="/services/qdrant"' in page
    [link] = re.findall(r'href="(/incidents/[^"]+)"', page)
    assert stranger.get(link).status_code == 200


def test_an_incident_has_a_page_with_its_story(stranger: TestClient, field: Field) -> None:
    field.poke.result = lambda work: Done("poked <it>")
    field.fall("qdrant")
    field.work()
    [run] = field.runs()
    page = shown(stranger, f"/incidents/{run.incident_id}", "qdrant is down")
    text = words(page)
    for said in ("the first failure: connection refused", "playbook restart begins", "every step was taken"):
        assert said in text
    assert "poked &lt;it&gt;" in page
    assert f'href="/recovery/{run.id}"' in page


def test_a_run_has_a_page_with_what_its_steps_found(stranger: TestClient, field: Field) -> None:
    found = {"sessions": [{"query": "SELECT " + "x" * 60, "pid": 27836, "state": None}], "took_ms": 3}
    field.poke.result = lambda work: Done("recorded them", found)
    field.fall("qdrant")
    field.work()
    [run] = field.runs()
    page = shown(stranger, f"/recovery/{run.id}", "restart for qdrant : escalated")
    text = words(page)
    assert "recorded them" in text
    assert re.search(r"sessions 1 pid query 27836 SELECT x+", text), "long cells come last, empty columns not at all"
    assert "took ms 3" in text
    assert "What to do look at qdrant" in text
    assert f'href="/incidents/{run.incident_id}"' in page


def test_the_page_about_recovery_shows_runs_budgets_guards_and_playbooks(stranger: TestClient, field: Field) -> None:
    field.fall("qdrant")
    field.work()
    field.start("restart", "shop")
    text = words(shown(stranger, "/recovery", "Under way 1"))
    assert "1 of 10" in text
    assert "qdrant 1 of 3" in text
    assert "claw-*" in text
    assert "Starts by itself on health.down , where service.container is not empty ." in text
    with unit_of_work() as uow:
        control.stop(uow, by="ann", reason="moving house", now=field.runs()[0].created_at)
    text = words(shown(stranger, "/recovery", "Recovery is stopped"))
    assert "moving house" in text


def test_the_status_page_shows_what_was_done_and_the_modes_that_are_on(client: TestClient, field: Field) -> None:
    field.fall("qdrant")
    field.work()
    client.post("/api/v1/modes/thin", json={"reason": "no vectors", "wait": ["draft"]})
    text = words(shown(client, "/", "Modes that are on 1"))
    assert "no vectors" in text
    assert "Done about it" in text
    assert "poked it" in text


@pytest.mark.parametrize(
    "path", ["/services/nope", f"/incidents/{UUID(int=9)}", f"/recovery/{UUID(int=9)}", f"/alerts/{UUID(int=9)}"]
)
def test_an_address_that_leads_to_nothing_says_so_to_people(stranger: TestClient, field: Field, path: str) -> None:
    until(lambda: "shop" in stranger.get("/health").json()["services"], what="the services are known")
    answer = stranger.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "There is no such page" in answer.text


@pytest.mark.parametrize("silent", [False, True], ids=["refusing", "silent"])
def test_without_postgres_pages_show_what_is_known_and_do_not_wait_again(
    silent: bool, home: Path, make_app: Callable[[], FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, "[services.shop]\nkind = 'tcp'\nhost = '127.0.0.1'\nport = 1\n")
    with silent_port() as port:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody:x@127.0.0.1:{port if silent else 9}/none")
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
        settings.cache_clear()
        control.keep(control.Stop("2026-03-01T12:00:00Z", "ann", "moving house"))
        with TestClient(make_app()) as client:
            client.get("/health")
            started = time.monotonic()
            service, recovery = client.get("/services/shop"), client.get("/recovery")
            incident, run = client.get(f"/incidents/{UUID(int=9)}"), client.get(f"/recovery/{UUID(int=9)}")
            assert time.monotonic() - started < 1
        assert (service.status_code, recovery.status_code) == (200, 200)
        assert "shop is not known" in words(service.text)
        assert "by ann since 2026-03-01T12:00:00Z, moving house" in words(recovery.text)
        assert (incident.status_code, run.status_code) == (503, 503)
        assert "Postgres does not answer" in incident.text
