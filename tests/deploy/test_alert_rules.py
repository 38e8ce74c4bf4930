"""Prometheus's rules about alerting and about posting, read by Prometheus's own tool and held against the catalogue."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import catalog
from app.alerts import metrics as alert_metrics
from app.alerts.rules import canonical, runbook_page
from app.config import resource
from app.infra.metrics import catalogue
from tests.deploy.test_prometheus import PROMETHEUS, promtool

ALERTING, POSTING = (PROMETHEUS / f"{name}.rules.yml" for name in ("alerting", "posting"))

# What services report under these names is agreed with them.
REPORTED = {
    "social_posts_total",
    "social_api_errors_total",
    "social_retries_total",
    "social_validation_failures_total",
    "social_post_generation_duration_seconds",
    "social_post_api_duration_seconds",
    "social_queue_processing_duration_seconds",
    "social_platform_authenticated",
    "social_rate_limit_remaining",
    "social_posts_in_queue",
}

pytestmark = pytest.mark.prometheus


def alerts_of(file: Path) -> dict[str, tuple[str, str, str]]:
    """By name: severity, team, runbook."""
    found = re.findall(
        r"- alert: (\w+)\n.*?labels: \{severity: (\w+), team: (\w+).*?runbook: (\S+)", file.read_text(), re.DOTALL
    )
    assert len(found) == file.read_text().count("- alert: ")
    return {name: (severity, team, runbook) for name, severity, team, runbook in found}


@pytest.mark.parametrize(("name", "files"), [("alerting", 1), ("posting", 2)])
def test_the_rules_fire_and_keep_silent_as_their_tests_say(name: str, files: int) -> None:
    assert "SUCCESS" in promtool("check", "rules", PROMETHEUS / f"{name}.rules.yml")
    tests = sorted(PROMETHEUS.glob(f"{name}*.tests.yml"))
    assert len(tests) == files
    assert "SUCCESS" in promtool("test", "rules", *tests)


def test_severities_teams_and_runbooks_are_the_catalogues() -> None:
    known = catalog.load(resource("deploy/smm-admin.toml")).telling.alerts
    for name, said in {**alerts_of(ALERTING), **alerts_of(POSTING)}.items():
        rule = known[name]
        assert said == (canonical(rule.severity), rule.team, runbook_page(rule.runbook)), name
        assert resource(said[2]).is_file()


def test_every_alert_about_posting_has_its_rule() -> None:
    known = catalog.load(resource("deploy/smm-admin.toml")).telling.alerts
    about_posting = {name for name, rule in known.items() if rule.runbook == "posting"}
    assert about_posting | {"SMM_PublishingSuccessRateDropped"} == set(alerts_of(POSTING))


def test_the_figures_about_posting_are_those_that_services_report() -> None:
    used = set(re.findall(r"(?<!:)\bsocial_\w+(?!:)", re.sub(r'"[^"]*"', "", POSTING.read_text())))
    assert {re.sub(r"_(bucket|count)$", "", name) for name in used} <= REPORTED


@pytest.mark.usefixtures("database")
def test_every_figure_about_alerting_is_one_of_ours() -> None:
    ours = {instrument.name for instrument in catalogue.INSTRUMENTS} | {
        family.name for family in alert_metrics.alerts()
    }
    used = set(
        re.findall(r"\bsmm_[a-z_]+", "".join(re.findall(r"^\s+(?:expr: |max\(|or ).*", ALERTING.read_text(), re.M)))
    )
    assert len(used) == 5
    assert used <= ours
