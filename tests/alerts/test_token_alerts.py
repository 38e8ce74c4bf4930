"""Tokens' signals as alerts: which one is raised, how bad it is, who is told at once, and what ends it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from app import signals
from app.alerts import routes, rules
from app.alerts.rules import End, Raise
from app.signals import Signal
from app.tokens import telling
from app.tokens.core import Step
from tasks.celery import compose
from tests.alerts.test_alert_catalogue import shipped

AT = datetime(2027, 3, 1, 12, tzinfo=UTC)
ACCOUNT = {"tenant": "acme", "platform": "instagram", "account": "17", "name": "Studio"}
FACTS = {
    "reason": "unavailable", "detail": "answered 503", "days_remaining": 2.5, "attempt": 3, "contacts": 2,
    "trouble": "transient", "expires_at": "2027-03-04 00:00:00+00:00",
}  # fmt: skip
APP = {"platform": "instagram", "app": "instagram"}


def signal(kind: str, labels: dict[str, str] | None = None, **facts: Any) -> Signal:
    return Signal(UUID(int=1), f"tokens.{kind}", "account:instagram/17", 1, ACCOUNT if labels is None else labels,
                  FACTS | facts, AT)  # fmt: skip


def raised(found: Signal) -> list[Raise]:
    return [made for made in rules.matching(shipped().telling, found) if isinstance(made, Raise)]


def climbed(step: Step) -> list[Raise]:
    return raised(signal("climbed", ACCOUNT | {"step": step.value}, **telling.urgency_of(step)))


def receiver(made: Raise) -> str:
    [place] = routes.place(shipped(), made.labels, severity=made.severity, team=made.team)
    return str(place.row["receiver"])


@pytest.mark.parametrize(
    ("step", "name", "severity", "told"),
    [
        (Step.RECONNECT, "SMM_TokenReconnectNeeded", "error", "connectors"),
        (Step.URGENT, "SMM_ConnectorTokenExpiry", "error", "connectors"),
        (Step.LAST, "SMM_ConnectorTokenExpiry", "critical", "critical-accounts"),
        (Step.EXPIRED, "SMM_ConnectorTokenExpiry", "critical", "critical-accounts"),
    ],
)
def test_each_step_raises_one_alert_and_the_last_two_call_a_person_at_once(
    step: Step, name: str, severity: str, told: str
) -> None:
    [made] = climbed(step)
    assert (made.name, made.severity, made.team, receiver(made)) == (name, severity, "connectors", told)
    assert {label: made.labels[label] for label in ACCOUNT} == ACCOUNT
    assert "Studio" in made.annotations["summary"]
    assert made.annotations["runbook"].startswith("docs/runbooks/tokens.md#")


def test_a_step_higher_is_the_same_alert_once_it_calls_a_person() -> None:
    [last], [expired] = climbed(Step.LAST), climbed(Step.EXPIRED)
    assert last.fingerprint == expired.fingerprint


def test_who_is_called_at_once_is_more_than_the_team() -> None:
    [made] = climbed(Step.LAST)
    names = shipped().telling.receivers["critical-accounts"].notify
    assert made.labels["escalate"] == "now"
    assert names == ("receiver:critical", "receiver:connectors", "receiver:head-of-technology")


def test_what_is_said_of_a_token_is_true_of_one_that_is_refused_long_before_its_end() -> None:
    [made] = raised(signal("climbed", ACCOUNT | {"step": "last"}, reason="app_removed", detail="code 190",
                           **telling.urgency_of(Step.LAST)))  # fmt: skip
    assert made.annotations["summary"] == "A platform's token ends or is refused: instagram 17 Studio"
    assert "in time" not in made.annotations["description"]
    assert "refuses it already" in made.annotations["description"]


def test_who_is_told_to_refresh_a_token_sees_what_came_of_it_and_when_operations_stop() -> None:
    [failed] = raised(signal("refresh_failed", used_up=True))
    [refused] = raised(signal("app_refused", APP))
    [near] = climbed(Step.RECONNECT)
    for made in (failed, refused):
        assert re.search(r"`smm-admin tokens refresh \S+ --wait`", made.annotations["recommendation"])
    for made in (failed, near):
        assert "last day (pause_days)" in made.annotations["impact"]


def test_three_failed_tries_escalate_and_two_do_not() -> None:
    assert raised(signal("refresh_failed", used_up=False, attempt=2)) == []
    [made] = raised(signal("refresh_failed", used_up=True))
    assert (made.name, made.severity, receiver(made)) == ("SMM_TokenRefreshFailed", "critical", "critical-accounts")
    assert made.annotations["summary"] == "A token failed to refresh 3 times: instagram 17 Studio"


@pytest.mark.parametrize(
    ("kind", "labels", "name", "severity", "told"),
    [
        ("app_refused", APP, "SMM_PlatformAppRefused", "critical", "critical-accounts"),
        ("platform_unsure", APP, "SMM_PlatformTokensUnanswered", "error", "connectors"),
        ("answer_unknown", APP, "SMM_PlatformAnswerUnknown", "critical", "critical-accounts"),
        ("key_missing", {"key": "k1"}, "SMM_TokenKeyMissing", "critical", "critical-accounts"),
        ("success_low", {"platform": "x"}, "SMM_TokenSuccessLow", "warning", "connectors"),
    ],
)
def test_what_concerns_many_accounts_is_one_alert(
    kind: str, labels: dict[str, str], name: str, severity: str, told: str
) -> None:
    [made] = raised(signal(kind, labels))
    assert (made.name, made.severity, receiver(made)) == (name, severity, told)
    assert "account" not in made.labels


@pytest.mark.parametrize("severity", ["warning", "error"])
def test_a_client_who_was_not_told_is_as_bad_as_the_number_of_other_ways(severity: str) -> None:
    facts: dict[str, Any] = {
        "severity": severity,
        "others": 0,
        "channel": "chat",
        "error": "chat not found",
        "step": "urgent",
    }
    [made] = raised(signal("telling_failed", **facts))
    assert (made.name, made.severity) == ("SMM_ClientNotTold", severity)
    assert "chat not found" in made.annotations["description"]


def test_a_login_that_fails_is_an_alert_where_it_was_for_our_sake() -> None:
    assert raised(signal("connect_failed", outcome="wrong_account")) == []
    [made] = raised(signal("connect_failed", outcome="unavailable", reason="no_client_id", detail="it has none"))
    assert (made.name, made.severity, receiver(made)) == ("SMM_ClientLoginFailed", "error", "connectors")


OF_AN_ACCOUNT = {
    "SMM_ConnectorTokenExpiry", "SMM_TokenReconnectNeeded", "SMM_TokenRefreshFailed", "SMM_ClientNotTold",
    "SMM_ClientLoginFailed",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "over"),
    [
        ("recovered", OF_AN_ACCOUNT),
        ("removed", OF_AN_ACCOUNT),
        ("told", {"SMM_ClientNotTold"}),
        ("connect_over", {"SMM_ClientLoginFailed"}),
        ("app_accepted", {"SMM_PlatformAppRefused"}),
        ("platform_sure", {"SMM_PlatformTokensUnanswered"}),
        ("answer_known", {"SMM_PlatformAnswerUnknown"}),
        ("key_found", {"SMM_TokenKeyMissing"}),
        ("success_back", {"SMM_TokenSuccessLow"}),
    ],
)
def test_every_alert_ends_by_itself(kind: str, over: set[str]) -> None:
    ended = rules.matching(shipped().telling, signal(kind))
    assert {one.rule for one in ended if isinstance(one, End)} == over


def test_alerting_is_told_of_all_that_its_rules_ask_for_and_not_of_each_refresh() -> None:
    compose()
    asked = {kind for rule in shipped().telling.alerts.values() for kind in (*rule.on, *rule.until)
             if kind.startswith("tokens.")}  # fmt: skip
    assert len(asked) == 18
    assert {kind for kind in asked if "tasks.alerts.on_signal" not in signals.handlers_of(kind)} == set()
    for often in ("tokens.refreshed", "tokens.connected", "tokens.paused"):
        assert "tasks.alerts.on_signal" not in signals.handlers_of(often)
