"""Repairs while the engine cannot work: the whole product, its Redis filled to the brim, its Postgres frozen."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.config import resource
from app.infra.eviction import memory_of
from app.infra.redis import connect
from tests.engine.test_watchdog_paging import HOOK, Product, frozen
from tests.fixtures.docker import Containers
from tests.fixtures.stack import PYTHON_BIN, Stack, eventually, free_port
from tests.notify.servers import channel_server
from tests.recovery.actions.filling import fill, is_full, put

pytestmark = [pytest.mark.slow, pytest.mark.docker]

MTTR_SECONDS = 300
REDIS_MB = 64
SERVICES = """
[services.app]
kind = "http"
url = "http://127.0.0.1:{app}/"
container = "{container}"
watched_by = "watchdog"
severity = "critical"
interval = 5
confirm_interval = 2

[services.lost]
kind = "tcp"
host = "127.0.0.1"
port = {lost}
container = "smm-test-that-is-not-there"
watched_by = "watchdog"
severity = "critical"
interval = 5
confirm_interval = 2
enabled = false # for now
"""


class Repaired(Product):
    """The product, a container that it watches, and what it says of its repairs."""

    def __init__(self, stack: Stack, server: Any, box: Any, catalogue: Path) -> None:
        super().__init__(stack, server)
        self.box = box
        self.catalogue = catalogue

    def runs(self, *arguments: str) -> list[dict[str, Any]]:
        """What `smm-admin recovery list` shows, the newest first."""
        told = subprocess.run(
            [PYTHON_BIN / "smm-admin", "recovery", "list", "--json", *arguments],
            env={"PATH": "/usr/bin:/bin", **self.stack.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found: list[dict[str, Any]] = json.loads(told.stdout)["runs"]
        return found

    def run_of(self, service: str) -> dict[str, Any]:
        """Its last run, once it has ended."""

        def has_ended() -> bool:
            runs = self.stack.api("recovery/runs", service=service)["runs"]
            return bool(runs) and runs[0]["state"] == "ended"

        eventually(has_ended, within=60, what=lambda: f"a run of {service}: {self.runs()}")
        return self.runs("--service", service)[0]

    def heard(self, service: str) -> list[tuple[str, str, str]]:
        """(status, alert, what was done) of every message about a service, in order."""
        bodies = [request.json for request in list(self.server.requests)]
        return [
            (body["status"], alert["labels"]["alertname"], alert["annotations"].get("actions_taken", ""))
            for body in bodies
            for alert in body["alerts"]
            if alert["labels"].get("service") == service
        ]

    def hurt(self) -> None:
        """End what answers in the container, and nothing else of it."""
        made = self.box.api.exec_create(self.box.id, ["sh", "-c", "kill $(cat /tmp/server)"])
        self.box.api.exec_start(made["Id"])

    def write(self, text: str) -> None:
        """Change the catalogue."""
        part = self.catalogue.with_suffix(".part")
        part.write_text(text)
        part.replace(self.catalogue)


@pytest.fixture(scope="module")
def product(docker_image: Containers) -> Iterator[Repaired]:
    """The product under the shipped catalogue, with a channel that records, a container, and a small Redis."""
    base = Path(tempfile.mkdtemp(prefix="smm-repairs-"))
    base.chmod(0o711)
    home = base / f"home-{secrets.token_hex(3)}"
    home.mkdir(mode=0o711)
    port = free_port()
    script = (
        "mkdir -p /www; test -f /www/index.html && sleep 12; echo ok > /www/index.html;"
        f" httpd -f -p 127.0.0.1:{port} -h /www & echo $! > /tmp/server; while true; do sleep 1000; done"
    )
    box = docker_image.run("app", "sh", "-c", script)
    shipped = resource("deploy/smm-admin.toml").read_text()
    named = shipped.replace(
        'notify = [\n    "channel:console",\n', 'notify = [\n    "channel:console",\n    "channel:hook",\n', 1
    ).replace('containers = ["claw-*"]', 'containers = ["claw-*", "smm-test-*"]')
    with channel_server() as server:
        services = SERVICES.format(app=port, lost=free_port(), container=box.name)
        (home / "catalog.toml").write_text(named + HOOK.format(base=server.base) + services)
        stack = Stack(home)
        stack.environment["SMM_CATALOG_FILE"] = str(home / "catalog.toml")
        stack.environment["SMM_REDIS_MAXMEMORY_MB"] = str(REDIS_MB)
        try:
            stack.start()
            running = Repaired(stack, server, box, home / "catalog.toml")
            eventually(running.is_healthy, within=150, what=lambda: f"healthy: {stack.health()}")
            yield running
        finally:
            stack.stop()
            box.remove()
            shutil.rmtree(base, ignore_errors=True)


def redis_of(product: Repaired) -> Any:
    return connect(
        json.loads((product.stack.home / "servers.json").read_text())["redis"]["url"], timeout_seconds=5, decode=False
    )


def test_a_redis_full_to_the_brim_is_repaired_and_keeps_everything_but_the_cache(product: Repaired) -> None:
    client = redis_of(product)
    put(client, [(f"queue:{number}", 99_999) for number in range(500)])
    fill(client, 101)
    assert is_full(client)
    eventually(
        lambda: memory_of(client).percent <= 80 and not is_full(client),
        within=60,
        what=lambda: f"there is room again: {product.stack.tail()}",
    )
    eventually(product.is_healthy, within=MTTR_SECONDS, what=lambda: f"healthy again: {product.stack.health()}")
    run = product.run_of("redis")
    assert (run["playbook"], run["verdict"]) == ("cache-eviction", "recovered")
    assert "evicted " in run["actions"][0]
    assert sum(1 for _ in client.scan_iter(match="queue:*", count=1000)) == 500
    assert client.config_get("maxmemory")["maxmemory"] == str(REDIS_MB * 1024**2)
    # A fall of the workers, which cannot write either, may have been told; of Redis there was nothing to page.
    assert "SMM_RecoveryFailed" not in {alert for _, alert, _ in product.heard("redis")}
    client.close()


def test_a_container_is_restarted_while_postgres_is_frozen_and_everybody_hears_of_it_once(product: Repaired) -> None:
    with frozen(product.stack.server("postgres")):
        eventually(lambda: product.status("postgres") == "down", within=60, what="Postgres is down")
        product.hurt()
        eventually(
            lambda: any("restarted container" in done for *_, done in product.heard("app")),
            within=60,
            what=lambda: f"what was done is told: {product.heard('app')} {product.stack.tail()}",
        )
        assert "app: " in product.stack.health()["action_taken"]
        eventually(lambda: product.status("app") == "up", within=60, what="it answers again")
    eventually(product.is_healthy, within=150, what=lambda: f"healthy again: {product.stack.health()}")
    run = product.run_of("app")
    assert (run["playbook"], run["verdict"]) == ("service-restart", "recovered")
    eventually(
        lambda: product.heard("app")[-1][0] == "resolved", within=60, what=lambda: f"its end: {product.heard('app')}"
    )
    told = product.heard("app")
    assert {alert for _, alert, _ in told} == {"SMM_ServiceDown"}
    assert [status for status, *_ in told] == ["firing"] * (len(told) - 1) + ["resolved"]
    assert len(told) <= 3  # the page, what was done since, the end
    assert "restarted container" in told[-1][2]


def test_a_repair_that_fails_while_postgres_is_frozen_is_paged_by_the_watchdog_itself(product: Repaired) -> None:
    with frozen(product.stack.server("postgres")):
        eventually(lambda: product.status("postgres") == "down", within=60, what="Postgres is down")
        product.write(product.catalogue.read_text().replace("false # for now", "true # for now"))
        eventually(
            lambda: {alert for _, alert, _ in product.heard("lost")} == {"SMM_ServiceDown", "SMM_RecoveryFailed"},
            within=90,
            what=lambda: f"both are paged: {product.heard('lost')} {product.stack.tail()}",
        )
    eventually(lambda: product.status("postgres") == "up", within=90, what="Postgres is back")
    run = product.run_of("lost")
    assert run["verdict"] == "escalated"
    assert "there is no container" in run["why"]
    assert [status for status, *_ in product.heard("lost")] == ["firing", "firing"]
    product.write(product.catalogue.read_text().replace("true # for now", "false # for now"))
    eventually(product.is_healthy, within=150, what=lambda: f"healthy again: {product.stack.health()}")
