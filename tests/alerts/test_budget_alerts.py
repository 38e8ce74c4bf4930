"""Budgets' thresholds as alerts: which one is raised, how bad it is, who is told, and that renewal ends them all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from app.alerts import routes, rules
from app.alerts.rules import End, Raise
from app.signals import Signal
from tests.alerts.test_alert_catalogue import shipped

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
SUBJECT = "budget:tenant_day tenant:acme"


def signal(kind: str = "crossed", **labels: str) -> Signal:
    about = {"budget": "tenant_day", "scope": "tenant", "subject": "tenant:acme", "period": "day"}
    facts: dict[str, Any] = {"notify": labels.pop("notify", "yes") == "yes", "spent": 4, "amount": 5}
    return Signal(UUID(int=1), f"costs.budget_{kind}", SUBJECT, 1, about | labels, facts, AT)


@pytest.mark.parametrize(
    ("labels", "name", "receiver"),
    [
        ({"threshold": "75", "severity": "info"}, "SMM_BudgetThresholdExceeded", "finance"),
        ({"threshold": "90", "severity": "error", "team": "agents"}, "SMM_BudgetThresholdExceeded", "agents"),
        ({"threshold": "95", "severity": "critical"}, "SMM_BudgetCriticalOverspend", "critical-finance"),
        ({"threshold": "110", "severity": "critical", "escalate": "now"}, "SMM_BudgetOverrun", "critical-at-once"),
    ],
)
def test_each_threshold_raises_one_alert_for_its_team(labels: dict[str, str], name: str, receiver: str) -> None:
    [made] = rules.matching(shipped().telling, signal(**labels))
    assert isinstance(made, Raise)
    assert (made.name, made.severity, made.subject) == (name, labels["severity"], SUBJECT)
    [place] = routes.place(shipped(), made.labels, severity=made.severity, team=made.team)
    assert place.row["receiver"] == receiver


def test_a_threshold_that_tells_nobody_raises_nothing() -> None:
    assert rules.matching(shipped().telling, signal(threshold="60", severity="warning", notify="no")) == []


def test_renewal_ends_all_of_them() -> None:
    ended = rules.matching(shipped().telling, signal("renewed"))
    assert {(one.rule, one.subject) for one in ended if isinstance(one, End)} == {
        ("SMM_BudgetThresholdExceeded", SUBJECT),
        ("SMM_BudgetCriticalOverspend", SUBJECT),
        ("SMM_BudgetOverrun", SUBJECT),
    }
