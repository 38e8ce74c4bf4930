"""Prometheus's rules and Grafana's dashboard, read by Prometheus's own tool and held against our own page."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.config import resource
from app.infra import metrics
from app.web.main import create_app
from tests.fixtures.programs import need

PROMETHEUS = resource("deploy/prometheus")
RULES = PROMETHEUS / "engine.rules.yml"
DASHBOARD = resource("deploy/grafana/smm-admin.json")
RUNBOOK = resource("docs/runbooks/engine.md")

pytestmark = pytest.mark.prometheus


def promtool(*arguments: str | Path) -> str:
    """What promtool says; the test fails when it finds fault."""
    program = need("promtool", package="prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return board


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every expression of the dashboard with Grafana's variables filled in as Grafana does."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$queue", ".*") for query in found]


def rule_expressions() -> list[str]:
    """Every expr of the rules, folded ones joined."""
    lines = iter(RULES.read_text().splitlines())
    return list(_expressions(lines))


def _expressions(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        key, _, value = line.strip().partition(": ")
        if key != "expr":
            continue
        if value != ">-":
            yield value
            continue
        folded = []
        for following in lines:
            if re.match(r" {8}\w+:", following):
                break
            folded.append(following.strip())
        yield " ".join(folded)


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\bsmm_[a-z_]+", re.sub(r'"[^"]*"', "", expression)))


@pytest.fixture
def page(database: str, redis_server: str) -> Iterator[set[str]]:
    """Names of all samples of the composed application's page, and of those its still empty metrics will have."""
    create_app()
    text = metrics.render()[0].decode()
    found: set[str] = set()
    for family in text_string_to_metric_families(text):
        found |= {sample.name for sample in family.samples}
        match family.type:
            case "histogram":
                found |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
            case "counter":
                found.add(f"{family.name}_total")
            case _:
                found.add(family.name)
    yield found
    metrics.clear_collectors()


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_the_rules_fire_and_keep_silent_as_their_tests_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", PROMETHEUS / "engine.tests.yml")


def test_every_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "dashboard.rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_every_metric_that_is_drawn_or_alerted_on_is_on_our_page(page: set[str]) -> None:
    wanted = {name for expression in (*queries(), *rule_expressions()) for name in names_in(expression)}
    assert len(wanted) > 20
    assert wanted - page == set()


def test_the_whole_page_of_the_composed_application_satisfies_promtool(page: set[str]) -> None:
    program = need("promtool", package="prometheus")
    text = metrics.render()[0]
    checked = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    assert {"smm_build_info", "smm_scrape_source_up", "process_cpu_seconds_total"} <= page


def test_every_alert_has_its_section_in_the_runbook() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    sections = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert alerts == sections
    assert re.findall(r"runbook: (\S+)", RULES.read_text()) == [
        f"docs/runbooks/engine.md#{alert.lower()}" for alert in alerts
    ]


def test_the_dashboard_is_one_that_any_grafana_imports() -> None:
    board = dashboard()
    assert board["schemaVersion"] <= 42
    assert board["templating"]["list"][0]["name"] == "datasource"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)) > 0
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
