"""Availability read from a real Postgres: uptimes, budgets that burn, durations, latencies, what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app import signals
from app.catalog import Catalog
from app.errors import NotFound
from app.health import incidents, record, sync_catalog
from app.health.availability import burns, document, figures, latency, passing, retention, rollup
from app.health.availability.hours import HOUR
from app.health.results import ProbeError, ProbeResult
from app.infra.db import read_only, unit_of_work
from tests.health.catalogs import catalog_of, tcp
from tests.health.histories import History, Incident, Result, write, write_incident, write_result

NOW = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)
CATALOG = tcp("db", essential="true", severity='"critical"') + tcp("web", objective=99)

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def services(database: str) -> Catalog:
    catalog = catalog_of(CATALOG)
    with unit_of_work() as uow:
        sync_catalog(uow, catalog)
    return catalog


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def steady(begin: float, end: float = 0, step: float = 1, **more: Any) -> list[Result]:
    """Results from so many minutes ago until so many minutes ago."""
    return [Result(ago(begin - step * number), **more) for number in range(int((begin - end) / step))]


def store(*histories: History) -> None:
    with unit_of_work() as uow:
        write(uow, histories)


def fall(service: str, begin: float, end: float | None = None, **more: Any) -> None:
    """An incident from so many minutes ago."""
    with unit_of_work() as uow:
        write_incident(uow, service, Incident(ago(begin), None if end is None else ago(end)), **more)


def roll(now: datetime = NOW) -> None:
    with unit_of_work() as uow:
        rollup.roll_up(uow, now)
    rollup.catch_up(now)


def uptime(service: str, window: str = "24h", now: datetime = NOW):
    with read_only() as session:
        assert figures.uptimes(session, now)[service] == figures.uptimes_of(session, service, now)
        return figures.uptimes(session, now)[service][window]


def test_uptime_is_read_for_each_window_from_hours_and_days() -> None:
    store(
        History("db", steady(60 * 24 * 40, step=30), [Incident(ago(60 * 24 * 35), ago(60 * 24 * 35 - 60))], 1800, True)
    )
    fall("db", 60 * 24 * 3, 60 * 24 * 3 - 60)
    fall("db", 120, 90)
    roll()
    down = {window: uptime("db", window).down_seconds / 60 for window in ("24h", "7d", "30d", "90d")}
    assert down == {"24h": 30, "7d": 90, "30d": 90, "90d": 150}
    assert [uptime("db", window).incidents for window in down] == [1, 2, 2, 3]
    assert uptime("db").percent == pytest.approx(100 * (1 - 30 / (24 * 60 + 30)), abs=0.001)
    assert uptime("db").coverage_percent == 100
    assert uptime("db", "90d").coverage_percent == pytest.approx(100 * 40 / 90.52, abs=0.1)
    assert uptime("stack", "30d").down_seconds == 90 * 60
    assert uptime("web").percent is None


def test_the_day_that_just_ended_is_read_before_and_after_it_is_summed() -> None:
    midnight = datetime(2026, 4, 1, tzinfo=UTC)
    store(History("db", [Result(midnight - timedelta(minutes=60 - n)) for n in range(120)]))
    fall("db", -660, -680)
    roll(midnight - timedelta(minutes=1))
    shortly_after = midnight + timedelta(seconds=30)
    before = uptime("db", "7d", shortly_after)
    roll(midnight + timedelta(seconds=31))
    after = uptime("db", "7d", shortly_after)
    assert before.known_seconds == 59 * 60
    assert after.known_seconds == 60 * 60 + 31
    assert before.down_seconds == after.down_seconds == 20 * 60


def test_a_service_that_left_the_catalogue_is_not_told_of(services: Catalog) -> None:
    store(History("web", steady(60)))
    with unit_of_work() as uow:
        sync_catalog(uow, catalog_of(tcp("db")))
    roll()
    with read_only() as session:
        assert set(figures.uptimes(session, NOW)) == {"stack", "db"}
        with pytest.raises(NotFound):
            document.of_service(session, catalog_of(tcp("db")), "web", NOW)


def test_times_to_detect_and_to_recover_leave_out_maintenance_and_what_was_removed() -> None:
    for number, minutes in enumerate((1, 2, 3, 10)):
        fall("db", 600 - 60 * number, 600 - 60 * number - minutes)
    fall("web", 30)
    with unit_of_work() as uow:
        write_incident(uow, "web", Incident(ago(900), ago(800), maintenance=True))
        gone = write_incident(uow, "web", Incident(ago(700), ago(100)))
        uow.execute("UPDATE incidents SET outcome = 'removed' WHERE id = :id", id=gone)
    with read_only() as session:
        overall, by_service = incidents.durations(session, ago(60 * 24), NOW)
        assert incidents.durations(session, ago(60 * 24), NOW, service="db")[0] == by_service["db"]
        assert incidents.durations(session, NOW, NOW + HOUR) == (incidents.Durations(), {})
    assert by_service["db"].recovery == incidents.Spread(150, pytest.approx(537), 240, 4)
    assert (by_service["web"].detection.count, by_service["web"].recovery.count) == (1, 0)
    assert overall.detection.as_dict() == {"median": 10, "p95": 10, "mean": 10, "count": 5}


def follow(catalog: Catalog, now: datetime = NOW, *, complete: bool = True) -> list[str]:
    roll(now)
    with unit_of_work() as uow:
        return burns.follow(uow, catalog, now, complete=complete)


def told(subject: str) -> list[signals.Signal]:
    with read_only() as session:
        return signals.timeline(session, subject=subject, kind="slo.*")[::-1]


def test_a_budget_that_burns_is_told_once_and_so_is_its_end(services: Catalog) -> None:
    store(History("db", steady(90, -40), essential=True))
    fall("db", 25, failures=20)
    assert follow(services) == ["stack fast", "stack slow", "db fast", "db slow"]
    assert follow(services) == []
    fast, slow = told("db")
    assert (fast.kind, slow.kind) == ("slo.burning_fast", "slo.burning_slow")
    assert fast.labels == {"service": "db", "speed": "fast", "severity": "critical"}
    assert slow.labels["severity"] == "warning"
    assert fast.facts["objective"] == 99.5
    assert fast.facts["burn_rate"] == pytest.approx(25 / 60 / 0.005, abs=0.01)
    assert fast.facts["budget_left_seconds"] == pytest.approx(12_960 - 1500)
    assert fast.facts["windows"][0] == {
        "long_seconds": 3600,
        "short_seconds": 300,
        "rate": 14.4,
        "long_burn": pytest.approx(83.33),
        "short_burn": pytest.approx(200),
    }
    with unit_of_work() as uow:
        uow.execute("UPDATE incidents SET recovered_at = :at", at=NOW)
    later = NOW + timedelta(minutes=40)
    assert follow(services, later) == ["stack fast", "db fast"]
    assert [signal.kind for signal in told("db")][2:] == ["slo.burn_over_fast"]
    assert told("db")[2].facts["burning_since"] == fast.facts["since"]
    with read_only() as session:
        assert [burn.speed for burn in figures.burning_now(session)["stack"]] == ["slow"]


def test_maintenance_and_a_single_failing_probe_burn_nothing(services: Catalog) -> None:
    store(History("db", steady(60, maintenance=True)))
    fall("db", 20, failures=20)
    store(History("web", steady(60)))
    fall("web", 20, failures=1)
    assert follow(services) == []


def test_an_end_waits_until_all_hours_are_known(services: Catalog) -> None:
    store(History("web", steady(90, -600)))
    fall("web", 20, 0, failures=20)
    assert follow(services) == ["web fast"]
    later = NOW + timedelta(hours=2)
    assert follow(services, later, complete=False) == []
    assert follow(services, later) == ["web fast"]


def test_a_service_that_leaves_the_catalogue_burns_no_more() -> None:
    store(History("web", steady(90)))
    fall("web", 20, failures=20)
    follow(catalog_of(CATALOG))
    assert follow(catalog_of(tcp("db"))) == ["web fast"]
    assert told("web")[-1].facts["reason"] == "removed"


def test_a_pass_leaves_what_is_behind_to_a_job_of_its_own(services: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.celery import compose

    compose()
    store(History("db", steady(300)))
    for _ in range(2):
        with unit_of_work() as uow:
            passing.run(uow, NOW)
    with read_only() as session:
        assert session.execute(text("SELECT task FROM jobs")).scalars().all() == ["tasks.health.catch_up"]
    assert rollup.catch_up(NOW) > 0


def result(moment: datetime, *, ok: bool) -> ProbeResult:
    error = None if ok else ProbeError("refused", "refused")
    return ProbeResult(ok=ok, started_at=moment, finished_at=moment, latency_ms=5 if ok else None, error=error)


def test_results_that_come_late_are_rolled_up_anew() -> None:
    """The watchdog's, after an outage of Postgres of some hours: they are decided by their own times."""

    def spooled(*results: ProbeResult, now: datetime | None = None) -> None:
        with unit_of_work() as uow:
            record(uow, [("db", item) for item in results], source="watchdog", in_maintenance=lambda *_: False, now=now)

    spooled(result(ago(301), ok=True), now=ago(301))
    roll(ago(300))
    roll()
    assert uptime("db").known_seconds == 180
    spooled(*(result(ago(300 - number), ok=not 60 <= number < 90) for number in range(300)))
    roll(NOW + timedelta(seconds=30))
    assert uptime("db").known_seconds == 301 * 60 + 30
    assert uptime("db").down_seconds == 30 * 60


def test_a_days_latencies_come_from_results_in_steps_of_five_minutes() -> None:
    store(History("web", [Result(ago(number), latency_ms=float(number)) for number in range(1, 11)]))
    with read_only() as session:
        step, buckets = latency.history(session, "web", timedelta(hours=1), NOW)
    assert step == timedelta(minutes=5)
    assert [bucket.since for bucket in buckets] == [ago(10), ago(5)]
    first = buckets[0]
    assert (first.probes, first.failed) == (5, 0)
    assert (first.min_ms, first.avg_ms, first.p50_ms, first.max_ms) == (6, 8, 8, 10)
    assert first.p95_ms == pytest.approx(9.8)


def test_longer_latencies_come_from_hours_and_days_and_agree() -> None:
    store(
        History(
            "web", [Result(ago(5 * n), latency_ms=float(n % 100 + 1), ok=n % 10 > 0) for n in range(6000)], interval=300
        )
    )
    roll()
    with read_only() as session:
        hour, hours = latency.history(session, "web", timedelta(days=3), NOW)
        day, days = latency.history(session, "web", timedelta(days=20), NOW)
    assert (hour, len(hours)) == (HOUR, 73)
    assert (day, len(days), sum(bucket.probes for bucket in days)) == (timedelta(days=1), 21, 151 + 20 * 288)
    full = days[5]
    assert (full.probes, full.min_ms, full.max_ms) == (288, 1, 100)
    assert full.failed in (28, 29)
    assert full.p50_ms == pytest.approx(50, abs=3)
    assert full.p95_ms == pytest.approx(95, abs=3)
    assert full.avg_ms == pytest.approx(50.5, abs=2)


def test_probes_that_measured_nothing_have_no_latency() -> None:
    store(History("web", steady(120, ok=False)))
    roll()
    with read_only() as session:
        for span in (timedelta(hours=1), timedelta(days=2), timedelta(days=60)):
            bucket = latency.history(session, "web", span, NOW)[1][0]
            assert bucket.failed == bucket.probes > 0
            assert (bucket.p50_ms, bucket.max_ms) == (None, None)
        with pytest.raises(NotFound):
            latency.history(session, "nobody", HOUR, NOW)


def test_old_hours_and_days_are_forgotten() -> None:
    store(History("db", steady(60 * 24 * 3, step=30), interval=1800))
    roll()
    assert retention.drop_old(NOW) == {"service_hours": 0, "service_days": 0}
    dropped = retention.drop_old(NOW + timedelta(days=100))
    assert dropped == {"service_hours": 2 * (12 + 2 * 24), "service_days": 0}
    assert retention.drop_old(NOW + timedelta(days=731)) == {"service_hours": 2 * 13, "service_days": 2 * 3}


def test_late_results_are_written_to_where_they_belong() -> None:
    """A result of yesterday changes yesterday's sums, which are those of a day that is over."""
    store(History("web", steady(60 * 30, 60 * 29)))
    roll()
    assert uptime("web", "7d").known_seconds == 62 * 60
    with unit_of_work() as uow:
        for item in steady(60 * 20, 60 * 19):
            write_result(uow, "web", item)
        rollup.note_late(uow, [ago(60 * 20)], NOW)
    roll(NOW + timedelta(seconds=10))
    assert uptime("web", "7d").known_seconds == 2 * 62 * 60
