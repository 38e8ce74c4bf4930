"""The status document: its keys are a contract, and what it says is what is stored."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from app import catalog, clock
from app.config import settings
from app.health import record, statefile, status, sync_catalog
from app.health.core import ServiceState, State
from app.health.document import Shown, build
from app.health.results import ProbeError, ProbeResult
from app.infra.db import read_only, unit_of_work
from tests.health import catalogs
from tests.health.catalogs import catalog_of, tcp

NOW = clock.now()
REFUSED = ProbeError("refused", "connection refused")
DOCUMENT_KEYS = ["timestamp", "status", "services", "rate_limits", "cost_today", "cost_limit", "notices"]
TROUBLE_KEYS = ["alerts", "action_taken"]
ALERT_KEYS = ["severity", "service", "issue", "recommendation"]
SERVICE_KEYS = ["status", "latency_ms", "since", "last_checked", "kind", "essential", "issue", "cause", "warnings"]
SERVICE_KEYS += ["maintenance", "flapping"]


def result(ok: bool, ago: float = 1, **more: object) -> ProbeResult:
    at = NOW - timedelta(seconds=ago)
    return ProbeResult(ok=ok, started_at=at, finished_at=at, error=None if ok else REFUSED, **more)


def stored(text: str, results: list[tuple[str, ProbeResult]]) -> dict:
    """Sync, record, and read the document."""
    parsed = catalog_of(text)
    with unit_of_work() as uow:
        sync_catalog(uow, parsed)
        record(uow, results, source="engine", in_maintenance=lambda *_: False)
    with read_only() as session:
        document = status.document(session, NOW, current=parsed)
    json.dumps(document, allow_nan=False)
    return document


def failing(name: str) -> list[tuple[str, ProbeResult]]:
    return [(name, result(False, ago)) for ago in (30, 20, 10)]


def test_a_healthy_document_has_these_keys_and_no_others(database: str):
    document = stored(tcp("web"), [("web", result(True, readings={"status_code": 200}, latency_ms=12.5))])
    assert list(document) == DOCUMENT_KEYS
    assert (document["status"], document["rate_limits"], document["cost_today"]) == ("healthy", {}, None)
    web = document["services"]["web"]
    assert list(web) == ["status_code", *SERVICE_KEYS]
    assert (web["status"], web["latency_ms"], web["status_code"], web["issue"]) == ("up", 12.5, 200, None)


def test_trouble_adds_alerts_with_these_keys_and_what_was_done(database: str):
    document = stored(tcp("web", severity='"critical"'), failing("web"))
    assert list(document) == DOCUMENT_KEYS + TROUBLE_KEYS
    assert document["status"] == "degraded"
    (alert,) = document["alerts"]
    assert list(alert) == ALERT_KEYS
    since = clock.iso(NOW - timedelta(seconds=30))
    assert (alert["severity"], alert["service"]) == ("critical", "web")
    assert alert["issue"] == f"down since {since}: connection refused"
    assert alert["recommendation"].startswith("Nothing listens on that port")


def test_the_product_says_loudly_that_nobody_will_be_told(database: str):
    assert status.NO_CHANNEL in stored(tcp("web"), [])["notices"]


def test_a_service_never_probed_is_unknown_and_one_with_an_old_result_is_too(database: str):
    services = stored(tcp("new") + tcp("old"), [("old", result(True, 181))])["services"]
    assert (services["new"]["status"], services["new"]["issue"]) == ("unknown", "no result yet")
    assert services["old"]["status"] == "unknown"
    assert services["old"]["issue"] == f"no result since {clock.iso(NOW - timedelta(seconds=181))}"


def test_an_engine_that_stores_nothing_is_noticed(database: str):
    text = tcp("web") + tcp("api")
    assert stored(text, [])["notices"] == [status.NO_CHANNEL], "the services were registered only now"
    notices = stored(text, [("web", result(True, 400)), ("api", result(True, 300))])["notices"]
    since = clock.iso(NOW - timedelta(seconds=300))
    assert notices[1:] == [f"the engine has stored no result since {since}: see that beat, Redis and the workers run"]
    assert stored(text, [("web", result(True, 1))])["notices"] == [status.NO_CHANNEL]


def test_one_failed_probe_is_shown_but_is_no_alert(database: str):
    document = stored(tcp("web"), [("web", result(True, 9)), ("web", result(False, 1))])
    assert document["status"] == "healthy"
    assert document["services"]["web"]["issue"] == "the last probe failed: connection refused; confirming"


def test_a_cause_explains_its_symptoms(database: str):
    text = tcp("db", essential="true") + tcp("api", depends_on='["db"]') + tcp("web", depends_on='["api"]')
    document = stored(text, failing("db") + failing("api") + failing("web"))
    assert document["status"] == "unhealthy"
    assert {name: service["cause"] for name, service in document["services"].items()} == {
        "api": "db",
        "db": None,
        "web": "db",
    }
    by_service = {alert["service"]: alert for alert in document["alerts"]}
    assert by_service["web"]["issue"].endswith("; db, on which it depends, is down")
    assert by_service["web"]["recommendation"] == "Repair db first."


def test_a_cause_is_found_through_what_is_not_known_itself(database: str):
    text = tcp("db") + tcp("api", depends_on='["db"]') + tcp("web", depends_on='["api"]')
    document = stored(text, [*failing("db"), *failing("web"), ("api", result(True, 400))])
    services = document["services"]
    assert (services["api"]["status"], services["api"]["cause"], services["web"]["cause"]) == ("unknown", "db", "db")


def test_a_cause_in_maintenance_is_named_as_such_and_nobody_is_told_to_repair_it():
    shown = [
        Shown("db", "tcp", State.DOWN, False, "error", maintenance="move"),
        Shown("api", "tcp", State.DOWN, False, "error", depends_on=("db",)),
    ]
    document = build(shown, NOW)
    (alert,) = document["alerts"]
    assert (alert["service"], document["services"]["api"]["cause"]) == ("api", "db")
    assert alert["issue"].endswith("; db, on which it depends, is down (maintenance: move)")
    assert alert["recommendation"] == ("Wait until the maintenance of db is over, or put api into maintenance, too.")


def test_a_cause_that_goes_up_and_down_is_one_also_while_it_is_up():
    shown = [
        Shown("db", "tcp", State.UP, False, "error", flapping=True),
        Shown("api", "tcp", State.DOWN, False, "error", depends_on=("db",)),
    ]
    document = build(shown, NOW)
    assert document["services"]["api"]["cause"] == "db"
    assert document["alerts"][0]["issue"].endswith("; db, on which it depends, goes up and down")


def test_a_circle_of_dependencies_ends(database: str):
    shown = [
        Shown("a", "tcp", State.DOWN, False, "error", depends_on=("b",)),
        Shown("b", "tcp", State.DOWN, False, "error", depends_on=("a",)),
    ]
    services = build(shown, NOW)["services"]
    assert (services["a"]["cause"], services["b"]["cause"]) == ("b", "a")


def test_a_service_in_maintenance_says_why_and_does_not_count(database: str):
    begin, until = (clock.iso(NOW + timedelta(hours=hours)) for hours in (-1, 1))
    window = f'[{{from = {begin}, until = {until}, reason = "move"}}]'
    document = stored(
        tcp("web", essential="true", maintenance=window) + tcp("api"), [*failing("web"), ("api", result(True))]
    )
    assert document["status"] == "healthy"
    assert document["services"]["web"]["maintenance"] == "move"


def test_alerts_are_sorted_by_severity_and_a_degraded_service_is_a_warning(database: str):
    text = tcp("a", severity='"info"') + tcp("b", severity='"critical"') + tcp("c", severity='"critical"')
    slow = result(True, degraded="latency_ms is 512, degraded from 450")
    document = stored(text, failing("a") + failing("b") + [("c", slow)])
    assert [(alert["severity"], alert["service"]) for alert in document["alerts"]] == [
        ("critical", "b"),
        ("warning", "c"),
        ("info", "a"),
    ]
    assert document["services"]["c"]["issue"] == slow.degraded


def test_a_broken_catalogue_is_said_and_the_last_good_one_stays(database: str, home: Path, monkeypatch):
    file = catalogs.use(monkeypatch, home, tcp("web"))
    assert "web" in catalog.current().services
    file.write_text("[services.web\n")
    os.utime(file, (1, 1))
    until = time.monotonic() + 10
    while catalog.problem() is None and time.monotonic() < until:
        time.sleep(0.05)
    with read_only() as session:
        notices = status.document(session, NOW)["notices"]
    assert any(
        notice.startswith("the catalogue file is broken, the last good one stays in force") for notice in notices
    )


class TestWithoutPostgres:
    @pytest.fixture
    def known(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        catalogs.use(monkeypatch, home, '[services.postgres]\nkind = "postgres"\nessential = true\n' + tcp("web"))
        return statefile.path_in(settings().run_dir)

    def write(self, path: Path, age: float = 1, failures: int = 4) -> None:
        since = NOW - timedelta(seconds=60)
        state = ServiceState(state=State.DOWN, since=since, failures=failures, first_failure_at=since)
        watched = statefile.Watched("postgres", True, "critical", (), 15, state, last=result(False, age))
        written_at = NOW - timedelta(seconds=age)
        statefile.write(path, statefile.StateFile(1, "here", written_at, {"postgres": watched}))

    def test_the_watchdog_says_since_when_and_what_is_wrong_and_the_rest_is_not_known(self, known: Path):
        self.write(known)
        document = status.fallback(settings(), NOW)
        assert list(document) == DOCUMENT_KEYS + TROUBLE_KEYS
        assert document["status"] == "unhealthy"
        since = clock.iso(NOW - timedelta(seconds=60))
        postgres, web = document["services"]["postgres"], document["services"]["web"]
        assert postgres["issue"] == f"down since {since}: connection refused"
        assert (web["status"], web["issue"]) == ("unknown", "not known while Postgres does not answer")
        assert document["alerts"][0]["service"] == "postgres"
        assert document["alerts"][0]["recommendation"].startswith("Start the Postgres server")

    def test_a_watchdog_that_is_silent_itself_is_said(self, known: Path):
        self.write(known, age=61)
        document = status.fallback(settings(), NOW)
        assert document["services"]["postgres"]["status"] == "unknown"
        assert any("the watchdog has written nothing since" in notice for notice in document["notices"])

    @pytest.mark.parametrize("content", [None, "", "{", '{"version": 1}', "[]"])
    def test_a_missing_or_damaged_file_is_said_and_all_is_unknown(self, known: Path, content: str | None):
        if content is not None:
            known.write_text(content)
        document = status.fallback(settings(), NOW)
        assert document["status"] == "unhealthy"
        assert {service["status"] for service in document["services"].values()} == {"unknown"}
        assert "the watchdog has written nothing: see that it runs" in document["notices"]

    def test_the_file_is_for_its_owner_only_and_comes_back_as_it_was(self, known: Path):
        self.write(known)
        assert known.stat().st_mode & 0o777 == 0o600
        found = statefile.read(known)
        assert found.services["postgres"].state.failures == 4
        assert found.services["postgres"].last == result(False, 1)


def test_the_notice_ends_when_a_channel_that_reaches_people_is_told_of_something(home: Path, database: str) -> None:
    channel = '[channels.ops]\nkind = "webhook"\nurl = "http://127.0.0.1:9/"\n'
    told = channel + '[receivers.all]\nnotify = ["channel:ops"]\n'
    assert status.NO_CHANNEL in stored(tcp("web") + channel, [])["notices"]
    assert status.NO_CHANNEL not in stored(tcp("web") + told, [])["notices"]
    console = told.replace('"webhook"\nurl = "http://127.0.0.1:9/"', '"console"')
    assert status.NO_CHANNEL in stored(tcp("web") + console, [])["notices"]


@pytest.mark.parametrize("withheld", [(), ("redis is down", "2 pages have not arrived")])
def test_why_the_dead_mans_switch_is_not_called_is_said(home: Path, database: str, withheld: tuple[str, ...]) -> None:
    deadman = statefile.Deadman(None, withheld)
    statefile.write(statefile.path_in(settings().run_dir), statefile.StateFile(1, "h", NOW, deadman=deadman))
    said = ["the dead-man's switch is not called: redis is down; 2 pages have not arrived"] if withheld else []
    assert [notice for notice in stored(tcp("web"), [])["notices"] if "switch" in notice] == said
    assert [notice for notice in status.fallback(settings(), NOW)["notices"] if "switch" in notice] == said
