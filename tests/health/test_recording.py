"""Results into Postgres: states, log, incidents, signals; in order, out of order, twice, from two sources."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from sqlalchemy import text

from app import signals
from app.health import record, sync_catalog
from app.health.results import ProbeError, ProbeResult
from app.infra.db import read_only, unit_of_work
from tests.health.catalogs import catalog_of, tcp

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def result(mark: str, second: float) -> ProbeResult:
    ok = mark != "d"
    return ProbeResult(
        ok=ok,
        started_at=at(second),
        finished_at=at(second + 0.5),
        latency_ms=12.5 if ok else None,
        readings={"status_code": 200 if ok else 500},
        error=None if ok else ProbeError("status", "answered 500"),
        degraded="latency_ms is 512, degraded from 450" if mark == "g" else None,
        warnings=("latency_ms is 60, warning from 50",) if mark == "w" else (),
    )


def store(name: str, *results: ProbeResult, source: str = "engine", maintenance: bool = False):
    with unit_of_work() as uow:
        return record(uow, [(name, item) for item in results], source=source, in_maintenance=lambda *_: maintenance)


def rows(query: str, **parameters: object):
    with read_only() as session:
        return session.execute(text(query), parameters).all()


def service(name: str = "web"):
    return rows("SELECT * FROM services WHERE name = :name", name=name)[0]


def told(name: str = "web") -> list[str]:
    with read_only() as session:
        found = signals.timeline(session, subject=name)
    return [signal.kind for signal in sorted(found, key=lambda signal: signal.sequence)]


@pytest.fixture
def web(database: str) -> None:
    with unit_of_work() as uow:
        sync_catalog(uow, catalog_of(tcp("web", severity='"critical"') + tcp("api")))


@pytest.mark.usefixtures("web")
def test_an_incident_has_its_first_failing_moment_its_detection_and_its_recovery():
    store("web", result("u", 0))
    for second in (60, 65, 70):
        store("web", result("d", second))
    (incident,) = rows("SELECT * FROM incidents")
    assert (incident.started_at, incident.detected_at, incident.recovered_at) == (at(60), at(70.5), None)
    assert (incident.severity, incident.error_code, incident.failures) == ("critical", "status", 3)
    store("web", result("d", 130))
    store("web", result("u", 190), result("u", 195))
    (incident,) = rows("SELECT * FROM incidents")
    assert (incident.recovered_at, incident.outcome, incident.failures) == (at(190), "recovered", 4)
    assert service().open_incident_id is None
    assert told() == ["health.down", "health.up"]


@pytest.mark.usefixtures("web")
def test_a_signal_carries_the_facts_of_its_flip():
    flips = store("web", result("u", 0), result("d", 60), result("d", 65), result("d", 70))
    assert [(name, flip.after) for name, flip in flips] == [("web", "up"), ("web", "down")]
    with read_only() as session:
        (signal,) = signals.timeline(session, subject="web")
    assert signal.labels == {"service": "web", "kind": "tcp", "severity": "critical", "essential": "false"}
    assert signal.facts["error"] == {"code": "status", "text": "answered 500"}
    assert signal.facts["detection_seconds"] == 10.5
    assert signal.facts["incident_id"] == str(rows("SELECT id FROM incidents")[0].id)


@pytest.mark.usefixtures("web")
def test_results_given_together_are_applied_in_the_order_they_started():
    for number, order in enumerate(permutations([result("d", 1), result("d", 2), result("d", 3), result("u", 4)])):
        name = f"web{number}"
        with unit_of_work() as uow:
            uow.execute("DELETE FROM services")
            sync_catalog(uow, catalog_of(tcp(name)))
        store(name, *order)
        assert service(name).state == "down"
        assert service(name).successes == 1


@pytest.mark.usefixtures("web")
def test_a_result_that_arrives_late_changes_nothing_and_is_not_logged():
    store("web", result("u", 60))
    store("web", result("d", 30), source="watchdog")
    store("web", result("u", 60))
    assert (service().state, service().failures) == ("up", 0)
    assert len(rows("SELECT * FROM system_health_log")) == 1


@pytest.mark.usefixtures("web")
def test_every_applied_result_is_logged_with_the_state_it_left():
    store("web", result("u", 0), result("d", 60), result("g", 65), source="watchdog", maintenance=True)
    logged = rows("SELECT * FROM system_health_log ORDER BY id")
    assert [(row.state, row.ok, row.source, row.in_maintenance) for row in logged] == [
        ("up", True, "watchdog", True),
        ("up", False, "watchdog", True),
        ("degraded", True, "watchdog", True),
    ]
    assert (logged[1].error_code, logged[1].error, logged[1].readings) == (
        "status",
        "answered 500",
        {"status_code": 500},
    )
    assert logged[0].started_at == at(0)


@pytest.mark.usefixtures("web")
def test_an_incident_in_maintenance_says_so_in_its_row_and_its_signal():
    store("web", result("d", 1), result("d", 2), result("d", 3), maintenance=True)
    assert rows("SELECT in_maintenance FROM incidents") == [(True,)]
    with read_only() as session:
        assert signals.timeline(session, subject="web")[0].labels["maintenance"] == "true"


@pytest.mark.usefixtures("web")
def test_results_of_unknown_services_are_dropped_and_spoil_nothing():
    with unit_of_work() as uow:
        record(
            uow,
            [("gone", result("u", 1)), ("web", result("u", 1))],
            source="engine",
            in_maintenance=lambda *_: False,
        )
    assert service().state == "up"
    assert rows("SELECT DISTINCT service FROM system_health_log") == [("web",)]


@pytest.mark.usefixtures("web")
def test_while_flapping_every_fall_is_an_incident_but_none_is_told():
    seconds = iter(range(10_000))
    for mark in "u" + "gu" * 11:
        store("web", result(mark, next(seconds)))
    assert told()[-1] == "health.flapping_started"
    known = len(told())
    for mark in "ddduuddduu":
        store("web", result(mark, next(seconds)))
    assert len(told()) == known
    assert [row.outcome for row in rows("SELECT outcome FROM incidents")] == ["recovered", "recovered"]


@pytest.mark.usefixtures("web")
def test_a_service_that_left_the_catalogue_ends_its_incident_as_removed_and_starts_afresh_when_it_returns():
    store("web", result("d", 1), result("d", 2), result("d", 3))
    with unit_of_work() as uow:
        assert sync_catalog(uow, catalog_of(tcp("api"))) == ["web"]
    (incident,) = rows("SELECT * FROM incidents")
    assert incident.outcome == "removed"
    assert incident.recovered_at is not None
    assert told() == ["health.down", "health.removed"]
    assert store("web", result("u", 10)) == []
    with unit_of_work() as uow:
        assert sync_catalog(uow, catalog_of(tcp("api") + tcp("web"))) == ["web"]
    assert (service().state, service().present, service().failures) == ("unknown", True, 0)


@pytest.mark.usefixtures("web")
def test_a_catalogue_that_did_not_change_writes_nothing():
    catalog = catalog_of(tcp("web", severity='"critical"') + tcp("api"))
    with unit_of_work() as uow:
        assert sync_catalog(uow, catalog) == []
    with unit_of_work() as uow:
        assert sync_catalog(uow, catalog_of(tcp("web", 2, severity='"critical"') + tcp("api"))) == ["web"]
    assert service().state == "unknown"


@pytest.mark.usefixtures("web")
def test_a_check_made_due_while_its_probe_ran_stays_due():
    with unit_of_work() as uow:
        now = uow.execute("UPDATE services SET next_check_at = now() - interval '1 s' RETURNING now()").scalar()
    probe = ProbeResult(ok=True, started_at=now - timedelta(seconds=3), finished_at=now)
    store("web", probe)
    assert service("web").next_check_at == now - timedelta(seconds=1)
    store("web", ProbeResult(ok=True, started_at=now, finished_at=now))
    assert service("web").next_check_at == now + timedelta(seconds=60)


@pytest.mark.usefixtures("web")
def test_a_warning_is_told_when_it_begins_and_when_it_is_over_and_not_between():
    for second, mark in enumerate("uwwwuw"):
        store("web", result(mark, second))
    assert told() == ["health.warning", "health.warning_over", "health.warning"]
    with read_only() as session:
        signal = signals.timeline(session, subject="web")[0]
    assert signal.labels == {"service": "web", "kind": "tcp", "severity": "critical", "essential": "false"}
    assert signal.facts["warnings"] == ["latency_ms is 60, warning from 50"]
    assert datetime.fromisoformat(signal.facts["since"]) == at(5)


@pytest.mark.usefixtures("web")
def test_a_single_failure_does_not_end_a_warning_and_a_fall_does():
    store("web", *(result(mark, second) for second, mark in enumerate("wdwdd")))
    assert told() == ["health.warning"]
    assert service().warning
    store("web", result("d", 10))
    assert told() == ["health.warning", "health.warning_over", "health.down"]
    assert not service().warning
    store("web", result("w", 20), result("w", 21))
    assert told()[3:] == ["health.up", "health.warning"]


@pytest.mark.usefixtures("web")
def test_a_warning_ends_before_the_service_is_degraded_and_begins_after_it_has_recovered():
    store("web", *(result(mark, second) for second, mark in enumerate("wgw")))
    assert told() == [
        "health.warning",
        "health.warning_over",
        "health.degraded",
        "health.recovered",
        "health.warning",
    ]


@pytest.mark.usefixtures("web")
def test_while_a_service_flaps_its_warnings_are_not_told():
    seconds = iter(range(10_000))
    for mark in "u" + "gu" * 11:
        store("web", result(mark, next(seconds)))
    assert told()[-1] == "health.flapping_started"
    known = len(told())
    for mark in "wgwugw":
        store("web", result(mark, next(seconds)))
    assert len(told()) == known
    for _ in range(40):
        store("web", result("w", next(seconds)))
    assert told()[known:] == ["health.flapping_stopped", "health.recovered", "health.warning"]
