"""The alerts that ship: all are there, each says what people need, and services' signals raise and end them rightly."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app import catalog, signals
from app.alerts import catalog_check, dependencies, raising, recipients, routes, rules
from app.catalog import Catalog
from app.cli import alert_catalogue
from app.cli.config import BEGIN, END
from app.config import resource, variable
from app.health import record, specs, sync_catalog
from app.health.results import ProbeError, ProbeResult
from app.infra.db import read_only, unit_of_work
from app.notify import specs as channels
from app.signals import Signal
from tests.health.catalogs import catalog_of, tcp

SHIPPED = resource("deploy/smm-admin.toml")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CHECKS = [specs.catalog_problems, channels.catalog_problems, catalog_check.catalog_problems]

# Other systems and people's habits hang on these names: they are never changed.
NAMES = re.findall(
    r"\w+",
    """
SMM_ConnectorDown SMM_ConnectorHighErrorRate SMM_ConnectorHighLatency SMM_ConnectorRateLimited SMM_ConnectorTokenExpiry
SMM_BudgetThresholdExceeded SMM_BudgetCriticalOverspend SMM_BudgetBurnRateHigh SMM_BudgetExhaustionPredicted
SMM_BudgetOverrun SMM_CostAnomaly SMM_CostsDifferFromBill
SMM_CostCallsSetAside SMM_CostIngestionLag SMM_CostRollupsDiffer SMM_ModelPriceUnknown
SMM_AgentHighFailureRate SMM_AgentHighLatency SMM_AgentQueueBacklog SMM_AgentMemoryLeak
SMM_SimulationHighFailureRate SMM_SimulationHighLatency SMM_SimulationResourceExhaustion
SMM_CanaryDeploymentFailure SMM_CanaryTrafficAnomalies SMM_CanaryModelDrift SMM_CanaryQualityDegradation
SMM_DatabaseConnectionFailure SMM_DatabaseSize SMM_RedisConnectionFailure SMM_DiskSpaceWarning SMM_HighMemoryUsage
SMM_UnauthorizedAPIAccess SMM_SuspiciousUserActivity SMM_VaultConnectionFailure
SMM_PublishingSuccessRateDropped SMM_WorkspaceActivityDrop SMM_LicenseExpiration
HighErrorRate CriticalErrorRate PlatformAuthenticationFailed RateLimitLow RateLimitExhausted HighAPIErrorRate
SlowPostGeneration SlowAPICalls HighRetryRate QueueBackingUp QueueCriticallyBackedUp HighValidationFailureRate
NoPostsBeingSent PlatformDown ConsecutiveFailures
SMM_ServiceDown SMM_ServiceDegraded SMM_ServiceFlapping SMM_JobDead SMM_IntakeRejected SMM_NotificationFailed
SMM_SyntheticAlert SMM_SyntheticAlertFailed SMM_AlertTickLate SMM_RecoveryFailed
SMM_ErrorBudgetBurnFast SMM_ErrorBudgetBurnSlow SMM_RateLimitNear SMM_RateLimitExhausted
SMM_TokenReconnectNeeded SMM_TokenRefreshFailed SMM_PlatformAppRefused SMM_PlatformTokensUnanswered
SMM_PlatformAnswerUnknown SMM_TokenKeyMissing SMM_TokenSuccessLow SMM_ClientNotTold SMM_ClientLoginFailed
    """,
)

SECRETS = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/1/x",
    "TEAMS_WEBHOOK_URL": "https://example.com/workflow",
    "SMTP_HOST": "mail.example.com",
    "SMTP_USER": "smm",
    "SMTP_PASSWORD": "s",
    "ALERT_WEBHOOK_SECRET": "s",
    "PAGERDUTY_ROUTING_KEY": "0" * 32,
    "OPENAI_ADMIN_KEY": "k",
    "ANTHROPIC_ADMIN_KEY": "k",
    "MOONSHOT_API_KEY": "k",
    "TELEGRAM_BOT_TOKEN": "123456:ABC-DEF",
    "TELEGRAM_CHAT_ID": "-1001234567890",
    "INSTAGRAM_APP_SECRET": "s",
    "THREADS_APP_SECRET": "s",
    "FACEBOOK_APP_SECRET": "s",
    "X_CLIENT_SECRET": "s",
    "TIKTOK_CLIENT_SECRET": "s",
    "LINKEDIN_CLIENT_SECRET": "s",
    "REDDIT_CLIENT_SECRET": "s",
    "AGENCY_B_APP_SECRET": "s",
}


@lru_cache
def shipped() -> Catalog:
    """As a fresh installation has it: no secret is set."""
    return catalog.load(SHIPPED, CHECKS)


def uncommented(*words: str) -> Catalog:
    """With the signs removed in front of every setting, or of those lines and blocks that hold one of these words."""
    lines: list[str] = []
    inside = False
    for line in SHIPPED.read_text().splitlines():
        setting = re.fullmatch(r"( *)#([\[\"a-z].*)", line)
        if setting is None or not line:
            inside = False
        elif not line.startswith(" "):
            inside = inside or not words or any(word in line for word in words)
        wanted = setting is not None and (inside or not words or any(word in line for word in words))
        lines.append(f"{setting[1]}{setting[2]}" if setting is not None and wanted else line)
    return catalog.parse("\n".join(lines), CHECKS, lookup=lambda name: SECRETS.get(name) or variable(name))


def told(found: Catalog, labels: dict[str, str]) -> set[str]:
    """The channels that a first message about an alert with these labels goes to."""
    severity, team = labels["severity"], labels.get("team")
    [place] = routes.place(found, labels, severity=severity, team=team)
    return reached(found, [f"receiver:{place.row['receiver']}"], team)


def reached(found: Catalog, names: list[str], team: str | None) -> set[str]:
    expansion = recipients.expand(names, telling=found.telling, team=team, now=NOW, overrides={})
    return {destination.channel for destination in expansion.destinations}


def test_every_critical_alert_has_a_runbook() -> None:
    critical = [
        rule for rule in shipped().telling.alerts.values() if rule.severity in ("critical", "{labels.severity}")
    ]
    assert len(critical) > 10
    assert [rule.name for rule in critical if not rule.runbook] == []


def test_every_alert_is_in_it_by_its_name() -> None:
    assert sorted(shipped().telling.alerts) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_says_what_is_wrong_what_it_means_and_what_to_do(name: str) -> None:
    rule = shipped().telling.alerts[name]
    assert all([rule.summary, rule.description, rule.impact, rule.recommendation])
    assert rule.team or rule.on or name == "SMM_SyntheticAlert"
    page, _, _ = rules.runbook_page(rule.runbook).partition("#")
    assert f"`{name}`" in resource(page).read_text()
    for said in (rule.summary, rule.description, rule.impact, rule.recommendation, *rule.causes):
        assert said == said.strip()


def test_the_page_about_them_is_fresh() -> None:
    section = resource("docs/alert-catalogue.md").read_text().split(BEGIN)[1].split(END)[0]
    assert section.strip() == alert_catalogue.markdown().strip(), "run `make docs`"


def test_every_alert_of_ours_is_ended_by_something_and_by_the_services_leaving() -> None:
    for rule in shipped().telling.alerts.values():
        if rule.on:
            assert rule.until or rule.expires_after
        if any(kind.startswith("health.") for kind in rule.on):
            assert "health.removed" in rule.until


@pytest.mark.parametrize("severity", ["info", "warning", "error", "critical"])
@pytest.mark.parametrize("team", [None, "unheard-of", *shipped().telling.teams])
def test_a_fresh_installation_tells_everything_on_the_console(team: str | None, severity: str) -> None:
    labels = {"alertname": "X", "severity": severity} | ({"team": team} if team else {})
    assert told(shipped(), labels) == {"console"}
    for step in shipped().telling.ladders[severity].steps:
        assert reached(shipped(), list(step.notify), team) == {"console"}


def test_slack_is_turned_on_in_one_place() -> None:
    found = uncommented("channel:slack", "[channels.slack]")
    assert set(found.telling.channels) == {"console", "slack"}
    for labels in ({"severity": "critical", "team": "database"}, {"severity": "info"}, {"severity": "warning"}):
        assert told(found, labels) == {"console", "slack"}


def test_all_that_is_commented_out_is_right_once_it_is_not() -> None:
    found = uncommented()
    kinds = {channel.kind for channel in found.telling.channels.values()}
    assert kinds == {"console", "slack", "discord", "teams", "email", "telegram", "pagerduty", "webhook"}
    everybody = {"console", "slack", "discord", "teams", "email", "webhook"}
    assert told(found, {"severity": "warning", "team": "ml"}) == everybody
    assert told(found, {"severity": "critical", "team": "ml"}) == everybody | {"pagerduty", "telegram"}
    assert reached(found, ["receiver:ciso"], None) == {"console", "email"}
    assert "SMM_ServiceWarning" in found.telling.alerts
    assert found.telling.mutes


def test_critical_alerts_wait_for_nothing() -> None:
    [place] = routes.place(shipped(), {"severity": "critical", "team": "ml"}, severity="critical", team="ml")
    assert place.row["timing"] == {"wait": 0, "interval": 30, "repeat": 3600}
    [place] = routes.place(shipped(), {"severity": "error", "team": "ml"}, severity="error", team="ml")
    assert place.row["timing"]["wait"] == 30


@pytest.mark.parametrize(
    ("severity", "answer", "next_step", "last", "business_hours"),
    [
        ("critical", 10, 30, "receiver:head-of-technology", False),
        ("error", 60, 60, "receiver:engineering-manager", False),
        ("warning", 120, 240, "team-lead", True),
        ("info", None, 1440, "team-on-call", False),
    ],
)
def test_the_ladders(severity: str, answer: float | None, next_step: float, last: str, business_hours: bool) -> None:
    ladder = shipped().telling.ladders[severity]
    assert (ladder.answer_minutes, ladder.business_hours) == (answer, business_hours)
    assert ladder.steps[0].after_minutes == next_step
    assert last in ladder.steps[-1].notify


@pytest.mark.parametrize("severity", ["critical", "error"])
def test_the_ciso_knows_of_a_security_issue_within_a_quarter_of_an_hour(severity: str) -> None:
    labels = {"severity": severity, "team": "security"}
    [place] = routes.place(shipped(), labels, severity=severity, team="security")
    assert place.row["ladder"]["steps"][0] == {"after": 900, "notify": ["receiver:ciso"], "repeat": 0}


def test_a_canarys_alert_is_told_to_the_platform_too() -> None:
    for severity, receiver in (("critical", "critical-canaries"), ("error", "canaries")):
        labels = {"alertname": "SMM_CanaryModelDrift", "severity": severity, "team": "ml"}
        [place] = routes.place(shipped(), labels, severity=severity, team="ml")
        assert place.row["receiver"] == receiver


SERVICES = """
[services.postgres]
kind = "postgres"
severity = "critical"
[services.redis]
kind = "redis"
[services.disk]
kind = "disk"
path = "/"
[services.memory]
kind = "memory"
[services.alerts]
kind = "celery"
part = "alerts"
""" + tcp("web", team='"business"')


def raised_by(state: Any) -> set[str]:
    """The alerts that people should have of a service that is announced like this."""
    bad = state.announced in ("down", "degraded")
    own = {
        "postgres": {"SMM_DatabaseConnectionFailure"} if state.announced == "down" else set(),
        "redis": {"SMM_RedisConnectionFailure"} if state.announced == "down" else set(),
        "disk": {"SMM_DiskSpaceWarning"} if bad or state.warning else set(),
        "memory": {"SMM_HighMemoryUsage"} if bad else set(),
        "alerts": {"SMM_AlertTickLate"} if state.announced == "down" else set(),
        "web": {"SMM_ServiceDown"} if state.announced == "down" else set(),
    }[state.name]
    degraded = state.announced == "degraded" and state.name not in ("disk", "memory")
    return (
        own | ({"SMM_ServiceDegraded"} if degraded else set()) | ({"SMM_ServiceFlapping"} if state.flapping else set())
    )


def result(mark: str, second: int) -> ProbeResult:
    at = NOW + timedelta(seconds=second)
    return ProbeResult(
        ok=mark != "d",
        started_at=at,
        finished_at=at,
        error=ProbeError("refused", "nothing listens") if mark == "d" else None,
        degraded="x is 91, degraded from 90" if mark == "g" else None,
        warnings=("x is 86, warning from 85",) if mark == "w" else (),
    )


def rows(query: str) -> list[Any]:
    with read_only() as session:
        return list(session.execute(text(query)))


def new_signals(known: set[Any]) -> list[Signal]:
    with read_only() as session:
        found = [signal for signal in signals.timeline(session, limit=10_000) if signal.id not in known]
    known |= {signal.id for signal in found}
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("database")
def test_whatever_happens_to_services_their_alerts_follow_in_whatever_order_they_are_told(seed: int) -> None:
    luck = random.Random(seed)
    current = catalog_of(SERVICES)
    with unit_of_work() as uow:
        sync_catalog(uow, current)
    known: set[Any] = set()
    seen: set[str] = set()
    for round_ in range(40):
        marks = luck.choice(["uuuu", "dddd", "gggg", "wwww", "ugug", "udud", "dgdg", "wgwd", "uuww", "ddduu"])
        results = [
            (name, result(mark, round_ * 10 + place)) for name in current.services for place, mark in enumerate(marks)
        ]
        with unit_of_work() as uow:
            record(uow, results, source="engine", in_maintenance=lambda *_: False)
        told_now = new_signals(known)
        luck.shuffle(told_now)
        for signal in told_now:
            with unit_of_work() as uow:
                raising.apply(uow, signal, shipped().telling, handler="h", now=NOW, teams=rules.teams_of(current))
        open_now: dict[str, set[str]] = {name: set() for name in current.services}
        for row in rows("SELECT service, name FROM alert_episodes WHERE NOT ends_explicitly"):
            open_now[row.service].add(row.name)
        assert open_now == {state.name: raised_by(state) for state in rows("SELECT * FROM services")}
        seen |= set().union(*open_now.values())
    assert seen == {
        "SMM_DatabaseConnectionFailure", "SMM_RedisConnectionFailure", "SMM_DiskSpaceWarning", "SMM_HighMemoryUsage",
        "SMM_AlertTickLate", "SMM_ServiceDown", "SMM_ServiceDegraded", "SMM_ServiceFlapping",
    }  # fmt: skip


def test_an_alert_of_a_service_reads_well_and_goes_to_its_team() -> None:
    found = Signal(
        id=UUID(int=1), kind="health.down", subject="web", sequence=1,
        labels={"service": "web", "kind": "http", "severity": "error"}, at=NOW,
        facts={"error": {"code": "refused", "text": "nothing listens"}, "detection_seconds": 10.4},
    )  # fmt: skip
    [ended, made] = rules.matching(shipped().telling, found, teams={"web": "business"})
    assert ended == rules.End("SMM_ServiceDegraded", "web", NOW)
    assert isinstance(made, rules.Raise)
    assert made.annotations["summary"] == "web is down: nothing listens"
    assert made.annotations["description"] == "Its probes fail (refused); noticed 10.4 s after the first failure."
    assert made.annotations["runbook"] == "docs/runbooks/service-down.md"
    assert (made.team, made.severity) == ("business", "error")


def test_a_repair_that_did_not_help_is_told_with_all_that_was_tried_until_the_trouble_is_over() -> None:
    labels = {"service": "web", "kind": "http", "severity": "critical", "playbook": "service-restart"}
    facts = {
        "run": "r1", "playbook": "service-restart", "why": "every step was taken, and it did not help",
        "advice": "Read the container's log.", "since": "2026-03-02T11:58:00+00:00",
        "actions": ["12:03:05 restarted container claw-web", "12:03:35 probed web: refused"],
    }  # fmt: skip
    found = Signal(UUID(int=1), "recovery.escalated", "web", 1, labels, facts, NOW)
    [made] = rules.matching(shipped().telling, found, teams={"web": "business"})
    assert isinstance(made, rules.Raise)
    assert (made.name, made.team, made.severity, made.service) == ("SMM_RecoveryFailed", "business", "critical", "web")
    assert made.starts_at == NOW - timedelta(minutes=2)
    said = made.annotations
    assert said["summary"] == "web could not be repaired: every step was taken, and it did not help"
    assert said["description"].endswith("Tried: 12:03:05 restarted container claw-web, 12:03:35 probed web: refused.")
    assert said["recommendation"] == "Read the container's log. `smm-admin recovery show r1` has every step."
    for kind in ("health.up", "health.recovered", "health.warning_over", "health.removed", "recovery.recovered"):
        over = Signal(UUID(int=2), kind, "web", 2, {}, {}, NOW)
        assert rules.End("SMM_RecoveryFailed", "web", NOW) in rules.matching(shipped().telling, over)


def test_the_alerts_that_say_that_a_service_is_down_are_causes() -> None:
    assert dependencies.down_rules(shipped().telling.alerts) == [
        "SMM_ServiceDown", "SMM_DatabaseConnectionFailure", "SMM_RedisConnectionFailure", "SMM_AlertTickLate",
    ]  # fmt: skip
