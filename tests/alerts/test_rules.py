"""What rules make of signals, and of alerts that others raise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import rules
from app.alerts.fingerprint import fingerprint
from app.alerts.rules import End, Raise
from app.catalog import AlertRule, Telling, parse
from app.signals import Signal

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOWN = {
    "on": "health.down",
    "until": ["health.up", "health.removed"],
    "severity": "{labels.severity}",
    "summary": "{subject} is down: {facts.error.text}",
}


def telling(**written: dict[str, Any]) -> Telling:
    return Telling(alerts={name: AlertRule(name=name, **rule) for name, rule in written.items()})


def signal(kind: str = "health.down", subject: str = "web", at: datetime = AT, **given: Any) -> Signal:
    labels = {"service": subject, "kind": "http", "severity": "critical"} | given.get("labels", {})
    return Signal(UUID(int=1), kind, subject, 1, labels, given.get("facts", {}), at)


def one(rule: dict[str, Any], found: Signal) -> Raise:
    [made] = rules.matching(telling(Down=rule), found)
    assert isinstance(made, Raise)
    return made


def test_a_signal_raises_an_alert_with_its_labels_and_texts() -> None:
    facts = {"since": "2026-03-01 11:59:50+00:00", "error": {"text": "refused"}}
    made = one(DOWN | {"labels": {"kind": "{labels.kind}", "gone": "{labels.gone}"}}, signal(facts=facts))
    labels = {"alertname": "Down", "severity": "critical", "service": "web", "kind": "http"}
    assert (made.labels, made.fingerprint) == (labels, fingerprint(labels))
    assert (made.rule, made.name, made.subject, made.service, made.team) == ("Down", "Down", "web", "web", None)
    assert made.annotations == {"summary": "web is down: refused"}
    assert (made.starts_at, made.at) == (AT - timedelta(seconds=10), AT)
    assert made.stateful


def test_the_same_trouble_told_later_is_the_same_alert() -> None:
    first = one(DOWN, signal(facts={"error": {"text": "refused"}}))
    later = one(DOWN, signal(at=AT + timedelta(hours=1), labels={"maintenance": "true"}, facts={"latency_ms": 5}))
    assert first.fingerprint == later.fingerprint


@pytest.mark.parametrize("since", [None, "soon", 5, "2026-03-01 11:00:00", (AT + timedelta(hours=1)).isoformat()])
def test_without_a_moment_in_its_past_it_starts_with_the_signal(since: object) -> None:
    assert one(DOWN, signal(facts={"since": since})).starts_at == AT


def test_a_moment_may_be_one_that_was_never_stored() -> None:
    assert one(DOWN, signal(facts={"since": AT - timedelta(seconds=3)})).starts_at == AT - timedelta(seconds=3)


def test_the_team_is_the_rules_else_the_services() -> None:
    teams = {"web": "platform"}
    [made] = rules.matching(telling(Down=DOWN), signal(), teams=teams)
    assert isinstance(made, Raise)
    assert (made.team, made.labels["team"]) == ("platform", "platform")
    [made] = rules.matching(telling(Down=DOWN | {"team": "{labels.kind}"}), signal(), teams=teams)
    assert isinstance(made, Raise)
    assert made.team == "http"


def test_a_signal_may_name_its_team() -> None:
    assert one(DOWN | {"team": "finance"}, signal(labels={"team": "agents"})).labels["team"] == "agents"


def test_more_labels_cannot_pretend_to_be_another_alert() -> None:
    made = one(DOWN | {"labels": {"alertname": "Other", "severity": "info", "team": "x", "service": "y"}}, signal())
    assert made.labels == {"alertname": "Down", "severity": "critical", "service": "y"}


def test_a_signal_that_is_about_no_service_has_no_service() -> None:
    found = Signal(UUID(int=1), "jobs.dead", "task:x", 1, {"task": "x"}, {}, AT)
    made = one({"on": "jobs.*", "expires_after": 60}, found)
    assert made.service is None
    assert made.labels == {"alertname": "Down", "severity": "warning"}
    assert (made.expires_after, made.stateful) == (timedelta(seconds=60), False)


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"over": 80}, 81, True),
        ({"over": 80}, 80, False),
        ({"over": 80}, "81.5", True),
        ({"over": 80, "under": 90}, 95, False),
        ({"under": 5}, -1.0, True),
        ({"over": 80}, "many", False),
        ({"over": 80}, True, False),
        ({"over": 80}, None, False),
        ({"over": 1}, "1e999999", True),
        (True, True, True),
        (True, "true", True),
        (True, 1, False),
        (False, False, True),
        ("http", "http", True),
        ("http", None, False),
        ("8", 8, True),
        ("true", True, True),
        (7, 7.0, True),
        (7, "7", True),
        (["a", "b"], "b", True),
        (["a", "b"], "c", False),
        ("x", {"x": 1}, False),
    ],
)
def test_conditions(condition: object, value: object, holds: bool) -> None:
    found = signal(facts={"deep": {"value": value}})
    raising = rules.matching(telling(Down=DOWN | {"when": {"facts.deep.value": condition}}), found)
    assert bool(raising) is holds
    unless = rules.matching(telling(Down=DOWN | {"unless": {"facts.deep.value": condition}}), found)
    assert bool(unless) is not holds


def test_all_conditions_must_hold_and_no_exception() -> None:
    rule = DOWN | {"when": {"labels.kind": "http", "subject": "web"}, "unless": {"labels.a": "b", "labels.c": "d"}}
    assert rules.matching(telling(Down=rule), signal())
    assert not rules.matching(telling(Down=rule), signal(subject="api"))
    assert not rules.matching(telling(Down=rule), signal(labels={"c": "d"}))


def test_an_end_needs_no_conditions() -> None:
    rule = DOWN | {"when": {"labels.kind": "postgres"}}
    since = AT - timedelta(seconds=7)
    found = signal("health.up", labels={"kind": "now something else"}, facts={"since": since.isoformat()})
    assert rules.matching(telling(Down=rule), found) == [End("Down", "web", since)]
    assert rules.matching(telling(Down=rule | {"on": "health.*"}), found) == [End("Down", "web", since)]


def test_one_signal_may_raise_one_alert_and_end_another() -> None:
    degraded = {"on": "health.degraded", "until": ["health.recovered", "health.down"]}
    found = rules.matching(telling(Down=DOWN, Degraded=degraded, Other={"summary": "x"}), signal())
    assert [(type(item), item.rule) for item in found] == [(End, "Degraded"), (Raise, "Down")]


def test_all_that_people_should_know_is_filled_in() -> None:
    rule = AlertRule(
        name="X",
        summary="{subject}",
        description="{facts.nothing}",
        impact="none",
        causes=("a {labels.kind}", "b"),
        recommendation="look",
        runbook="service-down",
        dashboard="https://grafana.example.com/d/{subject}",
    )
    assert rules.annotations_of(rule, {"subject": "web", "labels": {"kind": "http"}}) == {
        "summary": "web",
        "impact": "none",
        "causes": "a http\nb",
        "recommendation": "look",
        "runbook": "docs/runbooks/service-down.md",
        "dashboard": "https://grafana.example.com/d/web",
    }


@pytest.mark.parametrize(
    ("named", "page"),
    [
        ("postgres", "docs/runbooks/postgres.md"),
        ("engine#smm_enginejobslate", "docs/runbooks/engine.md#smm_enginejobslate"),
        ("https://wiki.example.com/x", "https://wiki.example.com/x"),
        ("docs/runbooks/engine.md#x", "docs/runbooks/engine.md#x"),
    ],
)
def test_a_page_that_is_only_named_is_found(named: str, page: str) -> None:
    assert rules.runbook_page(named) == page


def test_an_alert_from_outside_gets_what_it_lacks() -> None:
    rule = {"summary": "{labels.platform} fails", "impact": "posts are late: {facts.description}", "runbook": "posting"}
    known = telling(PlatformDown=rule)
    labels = {"alertname": "PlatformDown", "platform": "threads"}
    said = {"summary": "own words", "description": "0 of 12", "runbook_url": "https://wiki.example.com/posting"}
    assert rules.enrich(known, labels, said) == {
        **said,
        "impact": "posts are late: 0 of 12",
        "runbook": "https://wiki.example.com/posting",
    }
    assert rules.enrich(known, labels, {"summary": ""})["summary"] == "threads fails"
    assert rules.enrich(known, {"alertname": "Unknown"}, {"a": "b"}) == {"a": "b"}
    assert rules.enrich(known, {}, {}) == {}


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("critical", "critical"),
        ("CRITICAL", "critical"),
        ("page", "critical"),
        ("P1", "critical"),
        ("SEV-1", "critical"),
        ("fatal", "critical"),
        ("high", "error"),
        ("medium", "warning"),
        ("low", "info"),
        ("warn", "warning"),
        ("none", "info"),
        ("", None),
        ("purple", None),
    ],
)
def test_severities_in_other_words(word: str, severity: str | None) -> None:
    assert rules.canonical(word) == severity
    assert rules.severity_of(telling(), {"alertname": "X", "severity": word}) == (severity or "warning")


def test_without_a_severity_it_is_the_rules() -> None:
    known = telling(X={"severity": "{labels.level}"}, Y={"severity": "error"})
    assert rules.severity_of(known, {"alertname": "Y"}) == "error"
    assert rules.severity_of(known, {"alertname": "Y", "severity": "purple"}) == "error"
    assert rules.severity_of(known, {"alertname": "X", "level": "page"}) == "critical"
    assert rules.severity_of(known, {"alertname": "X"}) == "warning"


def test_the_team_of_an_alert_from_outside() -> None:
    known = telling(X={"team": "ml"})
    teams = {"web": "platform"}
    assert rules.team_of(known, {"alertname": "X", "team": "finance"}) == "finance"
    assert rules.team_of(known, {"alertname": "X", "service": "web"}, teams=teams) == "ml"
    assert rules.team_of(known, {"alertname": "Z", "service": "web"}, teams=teams) == "platform"
    assert rules.team_of(known, {"alertname": "Z"}) is None


def test_who_was_scraped_is_not_what_ails() -> None:
    assert rules.service_of({"job": "node", "instance": "host:9100"}) is None
    assert rules.service_of({"job": "node", "service": "web"}) == "web"
    assert rules.service_of({"service_name": "api"}) == "api"


def test_what_is_wrong_with_a_rule_is_told_with_its_place() -> None:
    written = """
[services.web]
kind = "x"
[teams.platform]
[alerts.A]
on = "x.y"
severity = "purple"
team = "platfrom"
summary = "{subject} {label.kind}"
causes = ["fine", "{"]
labels.kind = "{facts.x:upper}"
when = {"fact.x" = 1}
[alerts.B]
on = "x.y"
until = "x.z"
severity = "P1"
team = "{labels.team}"
"""
    assert [str(problem) for problem in rules.catalog_problems(parse(written))] == [
        "alerts.A.summary: {label.kind} begins with none of subject, labels, facts",
        "alerts.A.causes[1]: has a brace that belongs to no place: write {{ and }} for braces",
        "alerts.A.labels.kind: {facts.x:upper} has another form than duration",
        "alerts.A.when: fact.x begins with none of subject, labels, facts",
        "alerts.A.severity: is none of info, warning, error, critical",
        'alerts.A.team: there is no [teams.platfrom] (did you mean "platform"?)',
        "alerts.A.until: nothing ends it: name the signals that do, or set `expires_after`",
    ]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["since", "error", "x"]), ANYTHING), st.text(max_size=20))
def test_no_facts_whatever_they_hold_stop_an_alert(facts: dict[str, Any], subject: str) -> None:
    rule = DOWN | {
        "unless": {"facts.x": {"over": 1e9}, "facts.error.x": ["a"]},
        "description": "{facts.x}{facts.since}",
    }
    for item in rules.matching(telling(Down=rule), signal(subject=subject, facts=facts)):
        assert isinstance(item, Raise)
        assert item.starts_at <= AT
