"""A real Prometheus that evaluates a rule each second and sends to our web process, with the key."""

from __future__ import annotations

import importlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.alerts import pipeline
from app.infra.db import execute_once
from tests.fixtures.programs import need
from tests.fixtures.stack import free_port
from tests.fixtures.waiting import until
from tests.health.catalogs import tcp, use
from tests.web.test_wire import Web, web

__all__ = ["web"]  # the fixture

pytestmark = pytest.mark.prometheus

CATALOG = (
    tcp("shop")
    + """
[alerting]
hold_after_start = 0

[channels.ops]
kind = "webhook"
url = "http://127.0.0.1:9/ops"

[receivers.everybody]
notify = ["channel:ops"]

[routing]
receiver = "everybody"
group_by = ["alertname"]
group_wait = 0
group_interval = 1
"""
)
FIRING = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: AlwaysFiring
        expr: vector(1)
        labels: {severity: page, team: data, service: shop}
        annotations: {summary: "it is {{ $value }}", description: "<b>&amp;</b> 日本語"}
"""
SILENT = FIRING.replace("vector(1)", "vector(1) > 1")


class Prometheus:
    """A running Prometheus whose rules a test changes."""

    def __init__(self, address: str, rules: Path) -> None:
        self.address, self.rules = address, rules

    def use(self, rules: str) -> None:
        """Let these rules be evaluated from now on."""
        self.rules.write_text(rules)
        httpx.post(f"http://{self.address}/-/reload", timeout=10).raise_for_status()

    def failures(self) -> float:
        """Alerts that it could not deliver."""
        page = httpx.get(f"http://{self.address}/metrics", timeout=10, verify=False).text
        lost = [line for line in page.splitlines() if line.startswith("prometheus_notifications_errors_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lost)


@pytest.fixture
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As usual, with CATALOG in force before the web process starts."""
    use(monkeypatch, home, CATALOG)
    importlib.import_module("tasks.celery").compose()
    return home


ACCESS = {
    "authorization": "authorization: {{credentials: {key}}}",
    "basic": "basic_auth: {{username: prometheus, password: {key}}}",
}


@pytest.fixture(params=sorted(ACCESS))
def prometheus(request: pytest.FixtureRequest, web: Web, tmp_path: Path) -> Iterator[Prometheus]:
    program = need("prometheus", package="prometheus")
    assert web.process.stderr is not None
    threading.Thread(target=web.process.stderr.read, daemon=True).start()  # else its log fills the pipe
    (tmp_path / "rules.yml").write_text(FIRING)
    (tmp_path / "prometheus.yml").write_text(
        "global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
        "alerting:\n  alertmanagers:\n    - api_version: v2\n"
        f"      static_configs: [{{targets: ['127.0.0.1:{web.port}']}}]\n"
        f"      {ACCESS[request.param].format(key=web.key)}\n"
    )
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
            "--web.enable-lifecycle",
            "--rules.alert.resend-delay=1s",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: is_ready(address), seconds=60, what="Prometheus")
        yield Prometheus(address, tmp_path / "rules.yml")
    finally:
        process.kill()
        process.wait(10)


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", timeout=2, verify=False).status_code == 200
    except httpx.TransportError:
        return False


def shown(web: Web) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"http://127.0.0.1:{web.port}/api/v2/alerts", headers={"X-API-Key": web.key}, timeout=10, verify=False
    ).raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


def test_what_fires_there_is_told_here_and_so_is_its_end(prometheus: Prometheus, web: Web) -> None:
    (alert,) = until(lambda: shown(web), what="the alert")
    assert alert["labels"] == {"alertname": "AlwaysFiring", "severity": "page", "team": "data", "service": "shop"}
    assert alert["annotations"] == {"summary": "it is 1", "description": "<b>&amp;</b> 日本語"}
    assert "/graph?g0.expr=" in alert["generatorURL"]
    assert alert["receivers"] == [{"name": "everybody"}]
    first = alert["updatedAt"]
    until(lambda: shown(web)[0]["updatedAt"] > first, what="a refresh")
    (episode,) = execute_once("SELECT * FROM alert_episodes")
    assert (episode.severity, episode.source, episode.occurrences) == ("critical", "api", 1)
    pipeline.run()
    pipeline.run()
    prometheus.use(SILENT)
    until(lambda: shown(web) == [], what="the end of the alert")

    def is_told() -> bool:
        pipeline.run()
        return [row.reason for row in execute_once("SELECT reason FROM notifications ORDER BY id")][-1] == "resolved"

    until(is_told, what="the message about the end")
    (episode,) = execute_once("SELECT * FROM alert_episodes")
    assert (episode.state, episode.resolved_by) == ("resolved", "resolved")
    told = [row.reason for row in execute_once("SELECT reason FROM notifications ORDER BY id")]
    assert told == ["first", "resolved"]
    assert prometheus.failures() == 0
