"""The alert about a database's size, from a real database to the episode: at once, once, and until there is room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app import catalog, signals
from app.alerts import raising, rules
from app.catalog import Catalog
from app.config import resource
from app.health import record, sync_catalog
from app.health.checking import target_of
from app.health.prober import run_probe
from app.health.results import ProbeResult
from app.health.specs import resolve
from app.infra.db import read_only, unit_of_work
from tests.health.catalogs import catalog_of

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FULL = '[services.postgres]\nkind = "postgres"\nseverity = "error"\nsize_budget_mb = 1\n'


@pytest.fixture
def postgres(database: str) -> Catalog:
    """A catalogue whose database has more than it may."""
    found = catalog_of(FULL)
    with unit_of_work() as uow:
        sync_catalog(uow, found)
    return found


def store(*results: ProbeResult) -> None:
    with unit_of_work() as uow:
        record(uow, [("postgres", item) for item in results], source="engine", in_maintenance=lambda *_: False)


def reading(second: int, **levels: str) -> ProbeResult:
    at = NOW + timedelta(seconds=second)
    return ProbeResult(
        ok=True,
        started_at=at,
        finished_at=at,
        readings={"size_percent": 85.5, "size_mb": 43_776.0, "size_budget_mb": 51_200},
        degraded="slow" if "degraded" in levels.values() else None,
        warnings=tuple(name for name, level in levels.items() if level == "warning"),
        levels=levels,
    )


def alerts(known: set[Any]) -> list[tuple[str, str]]:
    """Let the shipped rules see what is new; the episodes that are open, as (name, severity)."""
    shipped = catalog.load(resource("deploy/smm-admin.toml"))
    with read_only() as session:
        found = [signal for signal in signals.timeline(session, limit=1000) if signal.id not in known]
    for signal in sorted(found, key=lambda signal: signal.sequence):
        known.add(signal.id)
        with unit_of_work() as uow:
            raising.apply(uow, signal, shipped.telling, handler="h", now=NOW, teams=rules.teams_of(shipped))
    with read_only() as session:
        query = "SELECT name, severity FROM alert_episodes WHERE NOT ends_explicitly ORDER BY name"
        return [(row.name, row.severity) for row in session.execute(text(query))]


def test_a_database_past_its_budget_tells_a_person_at_once(postgres: Catalog):
    spec = resolve(postgres.services["postgres"])
    result = run_probe(spec, target_of(spec), datetime.now(UTC))
    assert isinstance(result, ProbeResult)
    assert result.levels["size_percent"] == "degraded"
    store(result)
    assert ("SMM_DatabaseSize", "critical") in alerts(set())


@pytest.mark.usefixtures("postgres")
def test_it_goes_on_while_other_readings_come_and_go_and_ends_when_none_is_left():
    known: set[Any] = set()
    size = ("SMM_DatabaseSize", "critical")
    store(reading(0))
    assert alerts(known) == []
    store(reading(1, latency_ms="warning"))
    assert alerts(known) == []
    store(reading(2, latency_ms="warning", size_percent="warning"))
    assert alerts(known) == [size]
    store(reading(3, latency_ms="degraded", size_percent="warning"))
    assert alerts(known) == [("SMM_DatabaseSize", "critical"), ("SMM_ServiceDegraded", "warning")]
    store(reading(4, size_percent="warning"))
    assert alerts(known) == [size]
    with read_only() as session:
        [row] = session.execute(text("SELECT * FROM alert_episodes WHERE name = 'SMM_DatabaseSize'")).all()
    assert row.annotations["summary"] == "postgres has used 85.5 % of the room it may have"
    store(reading(5))
    assert alerts(known) == []
