"""What the shipped rules make of error budgets that burn, and when that is held back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import catalog
from app.alerts import rules
from app.alerts.fingerprint import fingerprint
from app.alerts.inhibition import Inhibitions
from app.alerts.rules import End, Raise
from app.catalog import Telling
from app.config import resource
from app.infra import ids
from app.signals import Signal

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FACTS = {
    "since": NOW,
    "objective": 99.5,
    "burn_rate": 66.67,
    "window_seconds": 3600.0,
    "budget_left_percent": 90.7,
    "budget_left_seconds": 11_760.0,
}


@pytest.fixture(scope="module")
def telling() -> Telling:
    return catalog.load(resource("deploy/smm-admin.toml")).telling


def signal(kind: str, service: str = "shop", severity: str = "error") -> Signal:
    speed = kind.rpartition("_")[2]
    labels = {"service": service, "speed": speed, "severity": severity}
    return Signal(ids.uuid7(NOW), kind, service, 1, labels, FACTS, NOW + timedelta(seconds=1))


def held_back(telling: Telling, target: dict[str, str], *firing: dict[str, str]) -> set[str]:
    found = Inhibitions(telling.inhibitions, [(fingerprint(labels), labels) for labels in firing])
    return {cause.reason for cause in found.of(target)}


def test_each_speed_raises_and_ends_its_own_alert(telling: Telling) -> None:
    for speed, name in (("fast", "SMM_ErrorBudgetBurnFast"), ("slow", "SMM_ErrorBudgetBurnSlow")):
        [raised] = rules.matching(telling, signal(f"slo.burning_{speed}"))
        assert isinstance(raised, Raise)
        assert (raised.name, raised.severity, raised.service) == (name, "error", "shop")
        assert raised.labels == {"service": "shop", "alertname": name, "severity": "error"}
        assert "66.67 times" in raised.annotations["summary"]
        assert "of the last 1 h 0 min" in raised.annotations["description"]
        [end] = rules.matching(telling, signal(f"slo.burn_over_{speed}"))
        assert end == End(name, "shop", NOW)


@pytest.mark.parametrize("name", ["SMM_ErrorBudgetBurnFast", "SMM_ErrorBudgetBurnSlow"])
def test_a_service_that_is_told_to_be_down_holds_its_budget_back(telling: Telling, name: str) -> None:
    target = {"alertname": name, "service": "shop", "severity": "error"}
    down = {"alertname": "SMM_ServiceDown", "service": "shop", "severity": "error"}
    assert held_back(telling, target, down) == {"the service is down"}
    assert held_back(telling, target, down | {"service": "mail"}) == set()


def test_the_stacks_budget_is_held_back_by_what_is_critical(telling: Telling) -> None:
    target = {"alertname": "SMM_ErrorBudgetBurnFast", "service": "stack", "severity": "critical"}
    for name in ("SMM_DatabaseConnectionFailure", "SMM_ServiceDown"):
        down = {"alertname": name, "service": "postgres", "severity": "critical"}
        assert held_back(telling, target, down) == {"an essential service is down"}
        assert held_back(telling, target, down | {"severity": "error"}) == set()


def test_a_fast_burn_holds_the_slow_one_back(telling: Telling) -> None:
    slow = {"alertname": "SMM_ErrorBudgetBurnSlow", "service": "shop", "severity": "warning"}
    fast = {"alertname": "SMM_ErrorBudgetBurnFast", "service": "shop", "severity": "error"}
    assert held_back(telling, slow, fast) == {"the budget burns faster than that"}
    assert held_back(telling, fast, slow) == set()
