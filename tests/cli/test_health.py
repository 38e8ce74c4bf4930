"""`smm-admin status`, `check` and `incidents`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from app.config import settings
from app.health import record, statefile, sync_catalog
from app.health.core import ServiceState, State
from app.health.results import ProbeError, ProbeResult
from app.infra import db
from app.infra.db import unit_of_work
from app.recovery import control
from tests.cli.conftest import Ran
from tests.health import catalogs, local
from tests.health.catalogs import catalog_of, tcp

Smm = Callable[..., Ran]


def result(ok: bool, ago: float) -> ProbeResult:
    at = clock.now() - timedelta(seconds=ago)
    error = None if ok else ProbeError("refused", "connection refused")
    return ProbeResult(
        ok=ok, started_at=at, finished_at=at, latency_ms=12.5, readings={"status_code": 200}, error=error
    )


@pytest.fixture
def stored(smm: Smm, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put results of the services `web` and `api` into the database."""
    content = tcp("web", severity='"critical"') + tcp("api")
    catalogs.use(monkeypatch, home, content)

    def store(*results: tuple[str, ProbeResult]) -> None:
        with unit_of_work() as uow:
            sync_catalog(uow, catalog_of(content))
            record(uow, results, source="engine", in_maintenance=lambda *_: False)

    return store


def test_a_healthy_stack_exits_with_zero_and_shows_what_was_read(smm: Smm, stored):
    stored(("web", result(True, 5)), ("api", result(True, 5)))
    ran = smm("status")
    assert (ran.code, ran.err) == (0, "")
    first, _, heading, *services = ran.out.splitlines()
    assert first.startswith("healthy, as of ")
    assert heading.split() == ["SERVICE", "STATUS", "SINCE", "CHECKED", "LATENCY", "WHAT"]
    assert services[1].split()[:2] == ["web", "up"]
    assert services[1].endswith("status_code 200")
    assert "note: no alert channel is configured" in ran.out


def test_trouble_exits_with_one_and_says_what_to_do(smm: Smm, stored):
    stored(("api", result(True, 5)), *(("web", result(False, ago)) for ago in (15, 10, 5)))
    ran = smm("status")
    assert ran.code == 1
    assert ran.out.startswith("degraded, ")
    assert "critical: web is down since" in ran.out
    assert "Nothing listens on that port" in ran.out
    assert smm("status", "--json").json["services"]["web"]["status"] == "down"


def test_without_postgres_the_watchdogs_file_is_shown(smm: Smm, stored, monkeypatch):
    stored(("web", result(True, 5)))
    since = clock.now() - timedelta(seconds=60)
    state = ServiceState(state=State.DOWN, since=since, failures=5)
    watched = statefile.Watched("postgres", True, "critical", (), 15, state, last=result(False, 1))
    content = statefile.StateFile(1, "here", clock.now(), {"postgres": watched})
    statefile.write(statefile.path_in(settings().run_dir), content)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://smm:s3cret@127.0.0.1:{local.closed_port()}/smm")
    settings.cache_clear()
    db.dispose()
    ran = smm("status")
    assert ran.code == 1
    assert ran.out.startswith("unhealthy, ")
    assert "Postgres does not answer: only what the watchdog sees is known" in ran.out
    assert f"down since {clock.iso(since)}: connection refused" in ran.out
    control.keep(control.Stop("2026-03-01T12:00:00Z", "ann", "moving house"))
    assert "recovery is stopped by ann since 2026-03-01T12:00:00Z, moving house" in smm("status").out
    assert "s3cret" not in ran.out + ran.err


def test_incidents_are_listed_with_their_times(smm: Smm, stored):
    falls = [("web", result(False, ago)) for ago in (35, 30, 25)]
    stored(*falls, ("web", result(True, 10)), ("web", result(True, 5)))
    (incident,) = smm("incidents", "--json").json["incidents"]
    assert (incident["service"], incident["open"], incident["failures"]) == ("web", False, 3)
    assert incident["detection_seconds"] == pytest.approx(10, abs=0.5)
    assert incident["recovery_seconds"] == pytest.approx(25, abs=0.5)
    assert "connection refused" in smm("incidents").out
    assert smm("incidents", "--open").out == "no incidents\n"
    assert smm("incidents", "--service", "api").out == "no incidents\n"


def test_an_incident_is_shown_with_its_story_by_the_beginning_of_its_id(smm: Smm, stored):
    falls = [("web", result(False, ago)) for ago in (35, 30, 25)]
    stored(*falls, ("web", result(True, 10)), ("web", result(True, 5)))
    (incident,) = smm("incidents", "list", "--json").json["incidents"]
    ran = smm("incidents", "show", incident["id"][:18])
    assert ran.code == 0
    assert ran.out.startswith("web (critical): recovered after 25.0 s, detected after 10.0 s\n  connection refused\n")
    story = [line.strip()[10:] for line in ran.out.splitlines()]
    assert "the first failure: connection refused" in story
    assert "web is up again: it was down for 25.0 s" in story
    assert smm("incidents", "show", incident["id"], "--json").json["timeline"][0]["kind"] == "probe.failed"
    assert smm("incidents", "show", "0123456789").code == 1
    assert smm("incidents", "show", "zz").code == 2


def test_a_stop_and_what_was_done_stand_in_the_status(smm: Smm, stored):
    stored(("api", result(True, 5)), *(("web", result(False, ago)) for ago in (15, 10, 5)))
    assert smm("status", "--json").json["action_taken"] == "none"
    smm("recovery", "stop", "--reason", "moving house", "--by", "ann")
    ran = smm("status")
    assert "note: recovery is stopped by ann since" in ran.out
    assert "moving house: nothing is repaired" in ran.out


def test_modes_in_force_stand_in_the_status(smm: Smm, stored):
    stored(("web", result(True, 5)), ("api", result(True, 5)))
    smm("modes", "enter", "thin", "--reason", "no vectors", "--wait", "draft")
    ran = smm("status")
    assert "mode thin is on since" in ran.out
    assert ": no vectors" in ran.out


def test_a_check_that_no_worker_takes_is_cancelled_and_says_so(smm: Smm, stored):
    stored(("web", result(True, 5)))
    ran = smm("check", "web", "--timeout", "0.3")
    assert ran.code == 1
    assert ran.err == "smm-admin: no worker took the check within 0.3 s: see `smm-admin status`\n"
    assert [job["state"] for job in smm("jobs", "list", "--json").json["jobs"]] == ["cancelled"]
