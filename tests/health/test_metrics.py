"""What a scrape reads of the watched services, on a real Postgres."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from app.config import settings
from app.health import metrics
from app.infra import db, ids
from tests.health.catalogs import catalog_of, tcp, use
from tests.health.outages import an_outage

GOOD = """
[services.web]
kind = "http"
url = "http://127.0.0.1:1/"
"""


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """Samples by name and label values."""
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def add_service(uow: db.UnitOfWork, name: str, *, state: str, latency_ms: float | None = None) -> None:
    uow.execute(
        "INSERT INTO services (name, kind, spec_digest, watched_by, essential, severity, depends_on, interval_seconds,"
        " confirm_interval_seconds, timeout_seconds, failures_to_down, successes_to_up, state, latency_ms,"
        " last_finished_at) VALUES (:name, 'http', '', 'engine', false, 'error', '{}', 60, 5, 10, 3, 2, :state, :ms,"
        " now() - interval '20 s')",
        name=name,
        state=state,
        ms=latency_ms,
    )


def test_services_show_their_stored_state(database: str) -> None:
    with db.unit_of_work() as uow:
        add_service(uow, "web", state="up", latency_ms=250)
        add_service(uow, "slow", state="degraded")
        add_service(uow, "gone", state="down")
        add_service(uow, "new", state="unknown")
        uow.execute(
            "INSERT INTO incidents (id, service, started_at, detected_at, severity, in_maintenance, failures)"
            " VALUES (:id, 'gone', now(), now(), 'error', false, 3)",
            id=ids.uuid7(),
        )
    found = samples(metrics.services())
    assert [found["smm_service_up", name] for name in ("web", "slow", "gone")] == [1, 1, 0]
    assert ("smm_service_up", "new") not in found
    assert found["smm_service_state", "gone", "down"] == 1
    assert found["smm_service_state", "gone", "up"] == 0
    assert found["smm_service_latency_seconds", "web"] == 0.25
    assert ("smm_service_latency_seconds", "gone") not in found
    assert found["smm_service_result_age_seconds", "web"] == pytest.approx(20, abs=5)
    assert found[("smm_open_incidents",)] == 1


def test_a_service_that_left_the_catalogue_leaves_the_page(database: str) -> None:
    with db.unit_of_work() as uow:
        add_service(uow, "web", state="up")
        uow.execute("UPDATE services SET present = false")
    assert not any("web" in labels for labels in samples(metrics.services()))


@pytest.mark.parametrize(("text", "valid"), [(GOOD, 1), ("[services.web", 0)])
def test_the_page_says_whether_the_file_on_disk_is_valid(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str, valid: float
) -> None:
    file = home / "smm-admin.toml"
    file.write_text(text)
    monkeypatch.setenv("SMM_CATALOG_FILE", str(file))
    settings.cache_clear()
    assert samples(metrics.catalogue()) == {("smm_catalog_valid",): valid}


def test_uptime_and_budgets_are_on_the_page(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tcp("db", objective=99) + tcp("web")
    use(monkeypatch, home, text)
    an_outage(catalog_of(text))
    found = samples(metrics.availability())
    assert found["smm_service_uptime_ratio", "db", "24h"] == pytest.approx(0.75, abs=0.001)
    assert found["smm_service_uptime_ratio", "stack", "90d"] == pytest.approx(0.75, abs=0.001)
    assert ("smm_service_uptime_ratio", "web", "24h") not in found
    assert found["smm_error_budget_left_ratio", "db"] == pytest.approx(1 - 1800 / 25_920)
    assert found["smm_error_budget_left_ratio", "web"] == 1
