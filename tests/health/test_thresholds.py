"""Readings against their limits: when a level is reached, when it is left, and how often people are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app import signals
from app.health import check_services, record, sync_catalog
from app.health.results import Assessment, ProbeError, ProbeResult, Threshold, assess
from app.infra.db import read_only, unit_of_work
from tests.health import catalogs
from tests.health.catalogs import catalog_of, tcp

LATENCY = {"latency_ms": Threshold(warning=50, degraded=450)}
DAYS = {"days_left": Threshold(warning=14, degraded=3, below=True)}
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_reading_at_its_threshold_has_reached_it_and_says_what_was_read():
    assert assess({"latency_ms": 49.9}, LATENCY) == Assessment()
    assert assess({"latency_ms": 50}, LATENCY) == Assessment(
        None, ("latency_ms is 50, warning from 50",), {"latency_ms": "warning"}
    )
    assert assess({"latency_ms": 512.5}, LATENCY) == Assessment(
        "latency_ms is 512.5, degraded from 450", (), {"latency_ms": "degraded"}
    )


def test_a_reading_may_be_worse_the_lower_it_is():
    assert assess({"days_left": 15}, DAYS) == Assessment()
    assert assess({"days_left": 10}, DAYS).warnings == ("days_left is 10, warning at or under 14",)
    assert assess({"days_left": -1}, DAYS).degraded == "days_left is -1, degraded at or under 3"


@pytest.mark.parametrize("value", [None, "97", True, ["x"]])
def test_a_reading_that_is_no_number_reaches_no_threshold(value: object):
    assert assess({"used": value}, {"used": Threshold(warning=0, degraded=0)}) == Assessment()


def test_a_level_once_reached_is_left_only_past_the_margin():
    assert assess({"latency_ms": 47.6}, LATENCY, {"latency_ms": "warning"}).levels == {"latency_ms": "warning"}
    assert assess({"latency_ms": 47.5}, LATENCY, {"latency_ms": "warning"}).levels == {}
    assert assess({"latency_ms": 430}, LATENCY, {"latency_ms": "degraded"}).levels == {"latency_ms": "degraded"}
    assert assess({"latency_ms": 420}, LATENCY, {"latency_ms": "degraded"}).levels == {"latency_ms": "warning"}
    assert assess({"latency_ms": 48}, LATENCY, {"latency_ms": "degraded"}).levels == {"latency_ms": "warning"}


def test_a_level_that_was_not_reached_before_is_not_reached_sooner_for_the_margin():
    assert assess({"latency_ms": 440}, LATENCY, {"latency_ms": "warning"}).levels == {"latency_ms": "warning"}
    assert assess({"latency_ms": 49}, LATENCY, {"other": "degraded"}).levels == {}


def test_a_reading_that_is_worse_the_lower_it_is_comes_back_upwards():
    assert assess({"days_left": 14.5}, DAYS, {"days_left": "warning"}).levels == {"days_left": "warning"}
    assert assess({"days_left": 15}, DAYS, {"days_left": "warning"}).levels == {}


def test_the_margin_of_a_limit_of_one_is_no_trap():
    blocked = {"blocked": Threshold(warning=1)}
    assert assess({"blocked": 0}, blocked, {"blocked": "warning"}).levels == {}
    assert assess({"zero": 0}, {"zero": Threshold(warning=0, below=True)}, {"zero": "warning"}).levels != {}
    assert assess({"zero": 1}, {"zero": Threshold(warning=0, below=True)}, {"zero": "warning"}).levels == {}


limits = st.floats(-1000, 1000, allow_nan=False)


@given(
    value=st.floats(-2000, 2000, allow_nan=False),
    threshold=st.builds(Threshold, limits, limits, st.booleans(), st.sampled_from([0, 0.05, 0.5])),
    stood=st.sampled_from([None, "warning", "degraded"]),
)
def test_a_level_that_stood_makes_a_reading_look_no_better_and_at_most_as_bad_as_it_was(
    value: float, threshold: Threshold, stood: str | None
):
    rank = {None: 0, "warning": 1, "degraded": 2}
    fresh, held = threshold.level(value), threshold.level(value, stood=stood)
    plain, kept = (rank[found[0]] if found else 0 for found in (fresh, held))
    assert plain <= kept <= max(plain, rank[stood])
    if threshold.margin == 0:
        assert held == fresh


@pytest.fixture
def web(database: str) -> None:
    with unit_of_work() as uow:
        sync_catalog(uow, catalog_of(tcp("web", failures_to_down=3, successes_to_up=2)))


def store(second: int, *, ok: bool = True, **levels: str) -> None:
    """A result in which these readings have these levels."""
    at = START + timedelta(seconds=second)
    degraded = [name for name, level in levels.items() if level == "degraded"]
    result = ProbeResult(
        ok=ok,
        started_at=at,
        finished_at=at,
        readings=dict.fromkeys(levels, 1) if ok else {},
        error=None if ok else ProbeError("refused", "connection refused"),
        degraded="; ".join(degraded) or None,
        warnings=tuple(name for name, level in levels.items() if level == "warning"),
        levels=levels,
    )
    with unit_of_work() as uow:
        record(uow, [("web", result)], source="engine", in_maintenance=lambda *_: False)


def told() -> list[str]:
    with read_only() as session:
        found = signals.timeline(session, subject="web")
    return [signal.kind.removeprefix("health.") for signal in sorted(found, key=lambda signal: signal.sequence)]


def last_facts() -> dict[str, object]:
    with read_only() as session:
        return dict(max(signals.timeline(session, subject="web"), key=lambda signal: signal.sequence).facts)


@pytest.mark.usefixtures("web")
def test_another_reading_that_warns_is_told_and_the_same_one_is_not_told_again():
    store(0)
    store(1, size="warning")
    store(2, size="warning")
    assert told() == ["warning"]
    store(3, size="warning", connections="warning")
    store(4, size="warning", connections="warning")
    assert told() == ["warning", "warning"]
    assert last_facts()["levels"] == {"size": "warning", "connections": "warning"}
    assert last_facts()["readings"] == {"size": 1, "connections": 1}
    store(5, size="warning")
    assert told() == ["warning", "warning"]
    store(6)
    assert told() == ["warning", "warning", "warning_over"]


@pytest.mark.usefixtures("web")
def test_a_reading_that_warned_before_a_single_failure_is_not_news_after_it():
    store(0, size="warning")
    store(1, ok=False, size="warning")
    store(2, size="warning")
    assert told() == ["warning"]


@pytest.mark.usefixtures("web")
def test_a_degraded_service_is_told_with_its_levels_and_what_joins_later_is_told_as_a_warning():
    store(0)
    store(1, latency="degraded", size="warning")
    assert told() == ["degraded"]
    assert last_facts()["levels"] == {"latency": "degraded", "size": "warning"}
    store(2, latency="degraded", size="warning", connections="warning")
    store(3, latency="degraded", size="degraded", connections="warning")
    store(4, latency="degraded", size="degraded", connections="warning")
    assert told() == ["degraded", "warning", "warning"]
    assert last_facts()["levels"] == {"latency": "degraded", "size": "degraded", "connections": "warning"}
    store(5, size="warning")
    assert told()[3:] == ["recovered", "warning"]
    store(6)
    assert told()[5:] == ["warning_over"]


@pytest.mark.usefixtures("web")
def test_a_reading_that_goes_on_warning_is_not_over_because_another_one_degrades_the_service():
    store(0, size="warning")
    store(1, size="warning", latency="degraded")
    assert told() == ["warning", "degraded"]
    store(2, size="warning")
    assert told() == ["warning", "degraded", "recovered", "warning"]
    store(3)
    assert told()[4:] == ["warning_over"]


@pytest.mark.usefixtures("web")
def test_what_was_told_while_degraded_is_over_with_the_state():
    store(0)
    store(1, latency="degraded")
    store(2, latency="degraded", size="warning")
    store(3)
    assert told() == ["degraded", "warning", "warning_over", "recovered"]
    store(4, latency="degraded")
    store(5, latency="degraded", size="warning")
    for second in range(6, 9):
        store(second, ok=False, latency="degraded", size="warning")
    assert told()[4:] == ["degraded", "warning", "warning_over", "down"]
    assert last_facts()["levels"] == {}
    store(9, size="warning")
    store(10, size="warning")
    assert told()[8:] == ["up", "warning"]


@pytest.mark.usefixtures("database")
def test_the_engines_next_probe_knows_the_levels_of_its_last_one(home: Path, monkeypatch: pytest.MonkeyPatch):
    used = psutil.disk_usage("/").percent

    def check(limit: float, margin: float) -> dict[str, str]:
        limits = f"thresholds.used_percent = {{warning = {limit:f}, margin = {margin}}}\n"
        catalogs.use(monkeypatch, home, written := '[services.disk]\nkind = "disk"\npath = "/"\n' + limits)
        with unit_of_work() as uow:
            sync_catalog(uow, catalog_of(written))
        assert check_services(["disk"]) == 1
        with read_only() as session:
            levels: dict[str, str] = session.execute(text("SELECT last_result->'levels' FROM services")).scalar_one()
        return levels

    assert check(used * 1.3, 0.5) == {}
    assert check(used * 0.9, 0.5) == {"used_percent": "warning"}
    assert check(used * 1.3, 0.5) == {"used_percent": "warning"}
    assert check(used * 1.3, 0.05) == {}
