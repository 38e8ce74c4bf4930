"""A fallen service explains the alerts of what depends on it; whatever else is true is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.alerts import explain, reading
from app.alerts.dependencies import Dependencies, Down, Failing, down_rules
from app.alerts.muting import By, Mute, Muting
from app.catalog import AlertRule, Inhibition
from app.catalog import Mute as Maintenance
from app.infra.db import read_only
from tests.alerts.pipe import CATALOG, Pipe, pipe
from tests.health.catalogs import tcp, use

__all__ = ["pipe"]  # the fixture

NOW = datetime(2026, 3, 6, 12, tzinfo=UTC)
TREE = {"postgres": (), "qdrant": (), "worker": ("postgres", "qdrant"), "web": ("worker",), "n8n": ("postgres",)}

SERVICES = (
    tcp("postgres")
    + tcp("worker", depends_on='["postgres"]')
    + tcp("web", depends_on='["worker"]')
    + """
[alerts.SMM_ServiceDown]
on = "health.down"
until = "health.up"
severity = "{labels.severity}"

[alerts.SMM_ServiceDegraded]
on = "health.degraded"
until = ["health.recovered", "health.down"]

[alerts.SMM_RecoveryFailed]
on = "recovery.escalated"
until = "health.up"
severity = "{labels.severity}"
"""
)


def down(service: str, severity: str = "critical", *, is_over: bool = False) -> Down:
    return Down(service, severity, f"{service}-{severity}", {"service": service, "severity": severity}, is_over)


def failing(service: str, severity: str = "critical", seconds: float = 10) -> Failing:
    return Failing(service, severity, NOW + timedelta(seconds=seconds))


def explained(service: str, *causes: Down | Failing, severity: str = "error", **labels: str) -> str | None:
    """What is said of an alert of this service."""
    known = Dependencies(
        TREE,
        [cause for cause in causes if isinstance(cause, Down)],
        [cause for cause in causes if isinstance(cause, Failing)],
        exempt=frozenset({"SMM_RecoveryFailed"}),
    )
    found = known.of({"service": service, "severity": severity, **labels}, NOW, lambda labels: labels["service"] == "x")
    return found.reason if found is not None else None


def test_what_depends_near_or_far_is_explained_and_nothing_else_is() -> None:
    fallen = down("postgres")
    said = "postgres, on which it depends, is down"
    found = {name: explained(name, fallen) for name in (*TREE, "unknown", "")}
    assert found == {name: said if name in ("worker", "web", "n8n") else None for name in found}


def test_of_a_chain_that_is_down_the_first_cause_is_named() -> None:
    assert explained("web", down("worker"), down("postgres")) == "postgres, on which it depends, is down"
    assert explained("web", down("worker")) == "worker, on which it depends, is down"


def test_what_is_worse_than_its_cause_is_told() -> None:
    assert explained("worker", down("postgres", "error"), severity="critical") is None
    assert explained("worker", down("postgres", "warning"), down("qdrant"), severity="critical") == (
        "qdrant, on which it depends, is down"
    )


def test_the_worst_alert_of_a_cause_counts_and_one_that_sounds_before_one_that_is_over() -> None:
    assert explained("n8n", down("postgres", "critical"), down("postgres", "warning"))
    assert explained("n8n", down("postgres", "critical", is_over=True), down("postgres")) == (
        "postgres, on which it depends, is down"
    )


def test_a_cause_that_ended_a_moment_ago_still_explains() -> None:
    assert explained("n8n", down("postgres", is_over=True)) == (
        "postgres, on which it depends, was down until a moment ago"
    )


def test_what_says_that_repairing_failed_is_told_whatever_else_is_down() -> None:
    assert explained("n8n", down("postgres"), alertname="SMM_RecoveryFailed") is None


def test_while_a_cause_is_not_confirmed_its_symptoms_wait_until_it_is_known() -> None:
    said = "postgres, on which it depends, fails and may be the cause"
    assert explained("n8n", failing("postgres")) == said
    assert explained("n8n", failing("postgres", seconds=0)) is None
    assert explained("n8n", failing("postgres", "warning")) is None
    assert explained("worker", failing("postgres"), down("qdrant")) == "qdrant, on which it depends, is down"


def test_nothing_is_asked_for_alerts_of_services_that_depend_on_nothing() -> None:
    def never() -> Any:
        pytest.fail("it was asked")
        yield

    known = Dependencies(TREE, never(), never())
    assert known.of({"service": "postgres"}, NOW, lambda _: False) is None
    assert known.of({"alertname": "Foreign"}, NOW, lambda _: False) is None


def test_a_rule_that_also_speaks_of_less_does_not_say_that_a_service_is_down() -> None:
    rules = {
        "Down": AlertRule(name="Down", on=("health.down",)),
        "Disk": AlertRule(name="Disk", on=("health.warning", "health.down")),
        "Any": AlertRule(name="Any", on=("health.*",)),
        "Foreign": AlertRule(name="Foreign"),
    }
    assert down_rules(rules) == ["Down"]


def muting(*causes: Down, inhibitions: tuple[Inhibition, ...] = (), windows: tuple[Maintenance, ...] = ()) -> Muting:
    firing = [(cause.fingerprint, cause.labels) for cause in causes]
    return Muting((), inhibitions, windows, firing, dependencies=Dependencies(TREE, causes))


def test_it_is_an_inhibition_by_the_alert_of_the_cause() -> None:
    [mute] = muting(down("postgres")).of({"service": "n8n", "severity": "error"}, NOW)
    assert mute == Mute(By.INHIBITION, "postgres, on which it depends, is down", None, "postgres-critical")


def test_what_a_rule_inhibits_by_the_same_alert_is_said_once() -> None:
    rule = Inhibition(source=('service="postgres"',), target=('service="n8n"',), reason="as we all know")
    found = muting(down("postgres"), inhibitions=(rule,)).of({"service": "n8n", "severity": "error"}, NOW)
    assert [mute.reason for mute in found] == ["as we all know"]


def test_a_cause_in_maintenance_explains_nothing() -> None:
    window = Maintenance.model_validate(
        {
            "matchers": ['service="postgres"'],
            "window": {"from": NOW - timedelta(hours=1), "until": NOW + timedelta(hours=1), "reason": "move"},
        }
    )
    held = muting(down("postgres"), windows=(window,))
    assert held.of({"service": "n8n", "severity": "error"}, NOW) == ()
    assert held.of({"service": "n8n", "severity": "error"}, NOW + timedelta(hours=2)) != ()


@pytest.fixture
def chain(pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """`web` stands on `worker`, `worker` on `postgres`."""
    use(monkeypatch, home, CATALOG + SERVICES)
    return pipe


def muted(pipe: Pipe, episode: UUID) -> list[dict[str, Any]]:
    with read_only() as session:
        held: list[dict[str, Any]] = explain.explain_episode(session, episode, now=clock.now())["muted"]
    return held


def spoken_of(pipe: Pipe) -> set[str]:
    """The services that somebody was told of."""
    return {alert["labels"].get("service", "") for message in pipe.messages() for alert in message["alerts"]}


def test_one_message_for_a_cause_and_none_for_its_symptoms(chain: Pipe) -> None:
    [cause] = chain.hear("health.down", "postgres")
    symptoms = [*chain.hear("health.down", "worker"), *chain.hear("health.degraded", "web")]
    posted = chain.fire("HighLatency", service="web")
    chain.run()
    assert spoken_of(chain) == {"postgres"}
    reason = {
        "by": "inhibition",
        "id": chain.episode(cause).fingerprint,
        "reason": "postgres, on which it depends, is down",
        "until": None,
    }
    for symptom in (*symptoms, posted):
        assert chain.episode(symptom).muted == muted(chain, symptom) == [reason]
    with read_only() as session:
        assert reading.get_episode(session, symptoms[0], now=clock.now())["muted"] == [reason]
        dry = explain.dry_run(session, {"alertname": "New", "service": "web"}, now=clock.now())
    assert (dry["told"], dry["muted"]) == (False, [reason])


def test_what_still_fires_when_the_cause_is_over_is_told_and_what_is_well_again_is_not(chain: Pipe) -> None:
    chain.hear("health.down", "postgres")
    chain.hear("health.down", "worker")
    chain.hear("health.down", "web")
    chain.run()
    chain.hear("health.up", "postgres")
    chain.later(seconds=16)
    assert spoken_of(chain) == {"postgres"}, "what depends on it is probed again meanwhile"
    chain.hear("health.up", "worker")
    chain.later(seconds=16)
    chain.later(seconds=31)
    assert {alert["labels"]["service"] for alert in chain.messages()[-1]["alerts"]} == {"postgres", "web"}
    assert spoken_of(chain) == {"postgres", "web"}


def test_a_symptom_that_was_told_before_its_cause_is_quiet_until_that_is_over(chain: Pipe) -> None:
    def told() -> list[str]:
        rows = chain.sql(
            "SELECT n.reason FROM notifications n JOIN alert_groups g ON g.id = n.group_id"
            " WHERE g.labels ->> 'alertname' = 'Slow' AND n.channel = 'ops' ORDER BY n.created_at, n.id"
        )
        return [row.reason for row in rows]

    chain.fire("Slow", severity="critical", service="worker")
    chain.run()
    chain.hear("health.down", "postgres", severity="critical")
    chain.later(minutes=31)
    assert told() == ["first"], "nobody is called higher for a symptom"
    chain.hear("health.up", "postgres")
    chain.later(seconds=16)
    assert told() == ["first"]
    chain.later(seconds=31)
    assert told() == ["first", "again-2"]


def test_a_silenced_cause_still_explains_its_symptoms(chain: Pipe) -> None:
    chain.sql(
        "INSERT INTO alert_silences (id, matchers, starts_at, ends_at, created_by, comment) VALUES"
        " (gen_random_uuid(), CAST(:matchers AS jsonb), now(), now() + interval '1 hour', 'ann', 'known')",
        matchers='[{"name": "service", "value": "postgres", "isRegex": false, "isEqual": true}]',
    )
    chain.hear("health.down", "postgres")
    chain.hear("health.down", "worker")
    chain.run()
    assert chain.told() == []


def test_that_repairing_a_symptom_failed_is_told(chain: Pipe) -> None:
    chain.hear("health.down", "postgres", severity="critical")
    chain.hear("health.down", "worker", severity="critical")
    [failed] = chain.hear("recovery.escalated", "worker", severity="critical")
    chain.run()
    assert chain.episode(failed).muted is None
    assert chain.episode(failed).told_at is not None


def test_a_symptom_waits_a_moment_for_a_cause_that_fails_and_is_not_down_yet(chain: Pipe) -> None:
    chain.sql(
        "INSERT INTO services (name, kind, spec_digest, watched_by, essential, severity, depends_on, interval_seconds,"
        " confirm_interval_seconds, timeout_seconds, failures_to_down, successes_to_up, state, failures,"
        " first_failure_at) VALUES ('postgres', 'tcp', '', 'engine', true, 'critical', '{}', 15, 5, 5, 3, 2, 'up', 1,"
        " now())"
    )
    [symptom] = chain.hear("health.down", "worker", severity="critical")
    chain.run()
    [held] = muted(chain, symptom)
    assert held["by"] == "unconfirmed_cause"
    assert chain.told() == []
    chain.later(seconds=20)
    assert chain.told() == []
    chain.sql("UPDATE services SET first_failure_at = first_failure_at - interval '30 seconds'")
    chain.later(seconds=6)
    assert spoken_of(chain) == {"worker"}, "it was not the cause, or cannot be proved to be"
