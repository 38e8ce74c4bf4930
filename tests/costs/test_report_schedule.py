"""A tenant's day is over at its own midnight; its report is made once, after its calls are in, and also late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app import clock
from app.costs import report_schedule, reports
from app.costs.report_schedule import CATCH_UP_DAYS, SETTLE, days_over, is_settled, missing
from app.infra.db import unit_of_work
from app.jobs import spec, worker
from tasks import costs_reports
from tests.costs.spent import call, spent
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import catalog_of, use

CATALOG = """
[services.redis]
kind = "redis"

[tenants.acme]
timezone = "Asia/Kolkata"

[tenants.berlin]
timezone = "Europe/Berlin"
"""
NOW = datetime(2026, 11, 20, 18, 36, tzinfo=UTC)
"""Six minutes after midnight in India."""
KOLKATA = {"acme": "Asia/Kolkata"}


@pytest.fixture
def house(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """An installation with two clients in the catalogue."""
    use(monkeypatch, home, CATALOG)
    return ledger


def last_day(zone: str, now: datetime) -> tuple[date, timedelta]:
    """The last day that is over, and how long it was."""
    last = list(days_over({"t": zone}, now))[-1]
    return last.day, last.until - last.since


def jobs_of(house: Ledger) -> list[tuple[str, str]]:
    rows = house.sql("SELECT kwargs FROM jobs WHERE task = 'tasks.costs.report' ORDER BY id")
    return [(row.kwargs["tenant"], row.kwargs["day"]) for row in rows]


def test_a_day_is_over_some_minutes_after_the_tenants_own_midnight() -> None:
    assert last_day("Asia/Kolkata", NOW)[0] == date(2026, 11, 20)
    assert last_day("Asia/Kolkata", NOW - timedelta(minutes=2))[0] == date(2026, 11, 19)
    assert last_day("UTC", NOW)[0] == date(2026, 11, 19)
    assert last_day("Pacific/Auckland", NOW)[0] == date(2026, 11, 20)


@pytest.mark.parametrize(
    ("zone", "midnight", "day", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 10, 25, 23, tzinfo=UTC), date(2026, 10, 25), 25),
        ("Europe/Berlin", datetime(2026, 3, 29, 22, tzinfo=UTC), date(2026, 3, 29), 23),
        ("America/New_York", datetime(2026, 12, 1, 5, tzinfo=UTC), date(2026, 11, 30), 24),
        ("Asia/Beirut", datetime(2026, 3, 28, 22, tzinfo=UTC), date(2026, 3, 28), 24),
    ],
)
def test_days_of_23_and_25_hours_and_a_months_end_are_over_at_midnight(
    zone: str, midnight: datetime, day: date, hours: int
) -> None:
    assert last_day(zone, midnight + SETTLE) == (day, timedelta(hours=hours))
    assert last_day(zone, midnight + SETTLE - timedelta(seconds=1))[0] == day - timedelta(days=1)


def test_an_outage_is_caught_up_with_for_a_week() -> None:
    found = [day.day for day in days_over(KOLKATA, NOW)]
    assert (found[0], found[-1], len(found)) == (date(2026, 11, 14), date(2026, 11, 20), CATCH_UP_DAYS)


def test_calls_that_wait_to_be_written_down_are_waited_for_but_not_for_ever() -> None:
    day = list(days_over(KOLKATA, NOW))[-1]
    waiting = day.until - timedelta(seconds=5)
    assert is_settled(day, None, NOW)
    assert not is_settled(day, waiting, NOW)
    assert is_settled(day, day.until + SETTLE, NOW)
    assert is_settled(day, waiting, day.until + report_schedule.PATIENCE)


def test_reports_are_due_of_clients_and_of_whoever_spent_until_they_are_kept(house: Ledger) -> None:
    spent(
        [
            call(NOW - timedelta(hours=3)),  # 21:06 of the 20th in India
            call(NOW - timedelta(days=3), tenant="stranger"),
            call(NOW - timedelta(days=9), tenant="long ago"),
            call(NOW - timedelta(hours=2), tenant=""),
        ]
    )
    with unit_of_work() as uow:
        found = [(day.tenant, day.day.isoformat()) for day in missing(uow.session, NOW)]
        assert found == [
            ("", "2026-11-17"),
            ("stranger", "2026-11-17"),
            ("berlin", "2026-11-19"),
            ("acme", "2026-11-20"),
        ]
        assert report_schedule.submit_due(uow, NOW) == 4
        assert report_schedule.submit_due(uow, NOW) == 4
    assert jobs_of(house) == found
    for tenant, day in found:
        with unit_of_work() as uow:
            reports.show(uow, date.fromisoformat(day), tenant or None, now=NOW)
    with unit_of_work() as uow:
        assert missing(uow.session, NOW) == []
    told = house.sql("SELECT subject, labels, facts FROM signals WHERE kind = 'costs.report_made' ORDER BY sequence")
    assert sorted(row.subject for row in told) == ["all", "tenant:acme", "tenant:berlin", "tenant:stranger"]
    [acme] = [row for row in told if row.subject == "tenant:acme"]
    assert acme.labels == {"tenant": "acme", "day": "2026-11-20"}
    assert (acme.facts["total"], acme.facts["budget"], acme.facts["percent"]) == (0.01, None, None)
    assert acme.facts["text"].startswith("Costs of acme on 2026-11-20: $0.01. Most of it: gpt-5 $0.01.")


def test_two_that_make_a_report_at_once_tell_of_it_once(house: Ledger) -> None:
    spent([call(NOW - timedelta(hours=3))])
    for fresh in (False, True, True):
        with unit_of_work() as uow:
            reports.show(uow, date(2026, 11, 20), "acme", fresh=fresh, now=NOW)
    [(number,)] = house.sql("SELECT count(*) FROM signals WHERE kind = 'costs.report_made'")
    assert number == 1


def test_the_jobs_of_the_timetable_find_and_make_them(house: Ledger) -> None:
    two_days_ago = clock.now() - timedelta(days=2)
    spent([call(two_days_ago, tenant="stranger")])
    work(house, house.submit("tasks.costs.due_reports"))
    waiting = [row.id for row in house.sql("SELECT id FROM jobs WHERE task = 'tasks.costs.report'")]
    for job in waiting:
        work(house, job)
    kept = house.sql("SELECT day, document FROM cost_reports WHERE tenant = 'stranger'")
    assert [(row.day, row.document["calls"]) for row in kept] == [(two_days_ago.date(), 1)]
    assert len(house.sql("SELECT FROM cost_reports")) == len(waiting) >= 3


def work(house: Ledger, job: UUID) -> None:
    """Be the worker that runs it."""
    claimed = house.claim(job)
    assert claimed is not None
    body = getattr(costs_reports, claimed.task.rpartition(".")[2])
    assert worker.run(claimed, spec.get(claimed.task), body) is None
    assert house.get(job).state == "succeeded"


def test_the_shipped_rule_that_sends_reports_is_a_good_one_once_it_is_uncommented() -> None:
    shipped = (Path(__file__).parents[2] / "deploy" / "smm-admin.toml").read_text()
    rule = shipped.partition("#[alerts.SMM_CostReport]\n")[2].partition("\n\n")[0]
    text = f"{CATALOG}\n[alerts.SMM_CostReport]\n{rule.replace('#', '')}\n"
    found = catalog_of(text.replace('team = "finance"', "")).telling.alerts["SMM_CostReport"]
    assert (found.severity, found.description) == ("info", "{facts.text}")
    assert list(found.on) == [reports.MADE]
