"""Repairs as users see them: the product as it is started, real containers, killed and broken by the test."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.config import resource
from tests.fixtures.docker import Box, Containers
from tests.fixtures.stack import PYTHON_BIN, Stack, eventually, free_port
from tests.notify.servers import ChannelServer, channel_server

pytestmark = [pytest.mark.slow, pytest.mark.docker]

HOOK = """
[channels.hook]
kind = "webhook"
url = "{base}/hook"
allow = ["127.0.0.0/8"]
timeout = 5
"""
SERVICE = """
[services.{name}]
kind = "http"
url = "http://127.0.0.1:{port}/"
interval = 2
timeout = 2
confirm_interval = 1
container = "{container}"
severity = "{severity}"
"""
SERVES = "mkdir -p /www && echo ok > /www/index.html; exec httpd -f -p 127.0.0.1:{port} -h /www"
SLOW_TO_STOP = (
    "mkdir -p /www && echo ok > /www/index.html && trap '' TERM;"
    " httpd -p 127.0.0.1:{port} -h /www; while true; do sleep 1; done"
)
DIES_AGAIN = (
    "test -e /tmp/again && exit 3; touch /tmp/again; mkdir -p /www && echo ok > /www/index.html;"
    " exec httpd -f -p 127.0.0.1:{port} -h /www"
)


class Product:
    """The running product, its containers, and what its channel got."""

    def __init__(self, stack: Stack, server: ChannelServer, containers: Containers) -> None:
        self.stack = stack
        self.server = server
        self.containers = containers

    def service(self, name: str, script: str, *, severity: str = "critical") -> Box:
        """A container that answers on a port, and a service that looks at it."""
        port = free_port()
        box = self.containers.run(name, "sh", "-c", script.format(port=port))
        file = self.stack.home / "catalog.toml"
        text = SERVICE.format(name=name, port=port, container=box.name, severity=severity)
        file.write_text(file.read_text() + text)
        eventually(lambda: self.status(name) == "up", within=40, what=lambda: f"{name} is up: {self.stack.health()}")
        return box

    def status(self, name: str) -> str:
        return str(self.stack.health()["services"].get(name, {}).get("status"))

    def smm(self, *words: str) -> Any:
        """The JSON of a command, run as a user runs it."""
        environment = {**os.environ, **self.stack.environment}
        command = [str(PYTHON_BIN / "smm-admin"), *words, "--json"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.stdout, ran.stderr
        return json.loads(ran.stdout)

    def runs(self, service: str) -> list[Any]:
        found: list[Any] = self.smm("recovery", "list", "--service", service)["runs"]
        return found

    def runs_now(self, service: str) -> list[Any]:
        """The same from the API."""
        found: list[Any] = self.stack.api("recovery/runs", service=service)["runs"]
        return found

    def ended(self, service: str, verdict: str, *, within: float = 60) -> Any:
        """The service's run, once it has come to that."""
        eventually(
            lambda: [run["verdict"] for run in self.runs_now(service)] == [verdict],
            within=within,
            what=lambda: f"{service} {verdict}: {self.runs(service)}\n{self.stack.tail()}",
        )
        return self.runs(service)[0]

    def told(self, service: str) -> list[tuple[str, str, str]]:
        """(status, alert, actions taken) of every message about a service, in order."""
        bodies = [request.json for request in list(self.server.requests)]
        return [
            (body["status"], alert["labels"]["alertname"], alert["annotations"].get("actions_taken", ""))
            for body in bodies
            for alert in body["alerts"]
            if alert["labels"].get("service") == service
        ]


@pytest.fixture(scope="module")
def product(docker_image: Containers) -> Iterator[Product]:
    """The product under the shipped catalogue and playbooks, with shorter waits and one more channel."""
    base = Path(tempfile.mkdtemp(prefix="smm-repairs-"))
    base.chmod(0o711)
    home = base / f"home-{secrets.token_hex(3)}"
    home.mkdir(mode=0o711)
    text = resource("deploy/smm-admin.toml").read_text()
    for before, after in (
        ('notify = [\n    "channel:console",\n', 'notify = [\n    "channel:console",\n    "channel:hook",\n'),
        ('containers = ["claw-*"]', f'containers = ["{docker_image.prefix}-*"]'),
        ('{do = "probe", after = 30}', '{do = "probe", after = 3}'),
    ):
        assert before in text
        text = text.replace(before, after, 1)
    with channel_server() as server:
        (home / "catalog.toml").write_text(text + HOOK.format(base=server.base))
        stack = Stack(home)
        stack.environment["SMM_CATALOG_FILE"] = str(home / "catalog.toml")
        try:
            stack.start()
            eventually(
                lambda: stack.health()["status"] == "healthy", within=150, what=lambda: f"healthy: {stack.health()}"
            )
            yield Product(stack, server, docker_image)
        finally:
            stack.stop()
            docker_image.remove_all()
            shutil.rmtree(base, ignore_errors=True)


def test_a_killed_container_is_restarted_and_its_end_is_told_with_what_was_done(product: Product) -> None:
    box = product.service("vectors", SERVES)
    before = box.look().started_at
    box.kill()
    run = product.ended("vectors", "recovered")
    after = box.look().started_at
    assert before is not None
    assert after is not None
    assert after > before
    assert [step["state"] for step in run["steps"]] == ["done", "done"]
    eventually(lambda: product.status("vectors") == "up", within=20, what="vectors is up")
    eventually(
        lambda: product.told("vectors")[-1][:2] == ("resolved", "SMM_ServiceDown"),
        within=40,
        what=lambda: f"the end is told: {product.told('vectors')}",
    )
    told = product.told("vectors")
    assert f"restarted container {box.name}" in told[-1][2]
    assert {alert for _, alert, _ in told} == {"SMM_ServiceDown"}
    assert [status for status, *_ in told].count("resolved") == 1


def test_a_container_that_dies_again_is_restarted_once_and_a_person_is_told_with_all_that_was_tried(
    product: Product,
) -> None:
    box = product.service("broken", DIES_AGAIN)
    box.kill()
    run = product.ended("broken", "escalated")
    assert [step["action"] for step in run["steps"]] == ["restart_container", "probe"]
    eventually(
        lambda: ("firing", "SMM_RecoveryFailed") in [message[:2] for message in product.told("broken")],
        within=40,
        what=lambda: f"somebody is told: {product.told('broken')}",
    )
    failed = next(message for message in product.told("broken") if message[1] == "SMM_RecoveryFailed")
    assert failed[0] == "firing"
    assert len(product.runs("broken")) == 1
    guards = product.smm("recovery", "guards")
    assert guards["restarts_last_hour"]["broken"] == 1


def test_a_worker_killed_in_the_middle_of_a_restart_makes_no_second_one(product: Product) -> None:
    box = product.service("slow", SLOW_TO_STOP, severity="error")
    before = box.look()
    killing = product.containers.api.exec_create(box.id, ["busybox", "killall", "-9", "httpd"])
    product.containers.api.exec_start(killing)
    eventually(
        lambda: [step["state"] for run in product.runs_now("slow") for step in run["steps"]][:1] == ["running"],
        within=40,
        what=lambda: f"the restart begins: {product.runs('slow')}\n{product.stack.tail()}",
    )
    product.stack.processes("worker-critical")[0].kill()
    for child in product.stack.processes("worker-critical"):
        child.kill()
    run = product.ended("slow", "recovered", within=90)
    after = box.look()
    assert run["steps"][0]["tries"] == 2
    assert after.started_at is not None
    assert before.started_at is not None
    assert after.started_at > before.started_at
    assert product.smm("recovery", "guards")["restarts_last_hour"]["slow"] == 1
