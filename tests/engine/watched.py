"""A product under the shipped catalogue, what its channel got, and what tests of its health do to it."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import Any

import psutil

from app import clock
from app.cli.main import run
from app.config import resource
from tests.fixtures.docker import Box, Containers
from tests.fixtures.stack import Stack, eventually, free_port
from tests.notify.servers import ChannelServer

PAGE_SECONDS = 60
HOOK = """
[channels.hook]
kind = "webhook"
url = "{base}/hook"
allow = ["127.0.0.0/8"]
timeout = 5
"""
QUICK = '["vectors", "broken"]'
QUICK_RESTART = f"""
[playbooks.quick-restart]
description = "as service-restart, with a shorter wait"
on = "health.down"
when = {{"service.name" = {QUICK}}}
steps = [
    {{do = "restart_container", container = "{{service.container}}"}},
    {{do = "probe", after = 3}},
]
"""
SHIPPED = {"postgres", "redis", "workers", "beat", "alerts", "web", "flower", "disk", "memory", ""}


def watched_catalogue(server: ChannelServer) -> str:
    """The shipped catalogue with one more channel, containers of tests, some with a shorter wait."""
    text = resource("deploy/smm-admin.toml").read_text()
    for before, after in (
        ('notify = [\n    "channel:console",\n', 'notify = [\n    "channel:console",\n    "channel:hook",\n'),
        ('containers = ["claw-*"]', 'containers = ["claw-*", "smm-test-*"]'),
        ('unless = {"service.container" = ""}', f'unless = {{"service.container" = "", "service.name" = {QUICK}}}'),
    ):
        assert before in text
        text = text.replace(before, after, 1)
    return text + HOOK.format(base=server.base) + QUICK_RESTART


class Watched:
    """The running product, and what its channel got."""

    def __init__(self, stack: Stack, server: ChannelServer) -> None:
        self.stack = stack
        self.server = server

    def status(self, service: str) -> str:
        return str(self.stack.health()["services"].get(service, {}).get("status"))

    def seconds_up(self, service: str) -> float:
        since = datetime.fromisoformat(self.stack.health()["services"][service]["since"])
        return (clock.now() - since).total_seconds()

    def is_healthy(self) -> bool:
        document = self.stack.health()
        return document["status"] == "healthy" and document["services"]["alerts"]["status"] == "up"

    def smm(self, *words: str) -> tuple[int, Any]:
        """Exit code and JSON of a command, run in this process."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = run([*words, "--json"])
        return code, json.loads(printed.getvalue())

    def bodies(self) -> list[Any]:
        """Every message that the channel got, in order."""
        return [request.json for request in list(self.server.requests)]

    def messages(self) -> list[tuple[str, str, str]]:
        """(status, alert, service) of every message about what ships, but for the hourly test, in order.

        Nor of the stack's error budget: so many falls in a few minutes may well burn it, whenever that is reckoned.
        """
        return [
            (body["status"], alert["labels"]["alertname"], alert["labels"].get("service", ""))
            for body in self.bodies()
            for alert in body["alerts"]
            if "synthetic" not in alert["labels"]
            and not alert["labels"]["alertname"].startswith("SMM_ErrorBudget")
            and alert["labels"].get("service", "") in SHIPPED
        ]

    def heard(self, service: str) -> list[tuple[str, str, str]]:
        """(status, alert, what was done) of every message about a service, in order."""
        return [
            (body["status"], alert["labels"]["alertname"], alert["annotations"].get("actions_taken", ""))
            for body in self.bodies()
            for alert in body["alerts"]
            if alert["labels"].get("service") == service
        ]

    def runs_now(self, service: str) -> list[Any]:
        """Repairs of a service as the API has them, the newest first."""
        found: list[Any] = self.stack.api("recovery/runs", service=service)["runs"]
        return found

    def runs(self, service: str) -> list[Any]:
        """The same as the command has them."""
        found: list[Any] = self.smm("recovery", "list", "--service", service)[1]["runs"]
        return found

    def freeze_and_thaw(
        self, process: psutil.Process, service: str, alert: str, *, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Freeze a process until people were paged, thaw it, wait for the recovery. `meanwhile`: while it is down."""
        before = len(self.messages())
        with frozen(process):
            deadline = time.monotonic() + PAGE_SECONDS
            eventually(lambda: self.status(service) == "down", within=PAGE_SECONDS, what=f"the status has {service}")
            meanwhile()
            eventually(
                lambda: self.messages()[before:] == [("firing", alert, service)],
                within=deadline - time.monotonic(),
                what=lambda: f"a page about {service}: {self.messages()}\n{self.stack.tail()}",
            )
            assert self.status(service) == "down"
        eventually(
            lambda: self.messages()[before:][-1] == ("resolved", alert, service),
            within=120,
            what=lambda: f"the end is told: {self.messages()}",
        )
        eventually(self.is_healthy, within=120, what=lambda: f"healthy again: {self.stack.health()}")

    @contextmanager
    def serving(self, containers: Containers, name: str, script: str, *, service: str, **words: str) -> Iterator[Box]:
        """A container that answers on a port, and a service of the catalogue that looks at it."""
        port = free_port()
        box = containers.run(name, "sh", "-c", script.format(port=port))
        with ExitStack() as added:
            text = service.format(name=name, port=port, container=box.name, **words)
            added.enter_context(self.stack.with_catalogue(text))
            what = lambda: f"{name} is up: {self.stack.health()}"  # noqa: E731
            eventually(lambda: self.status(name) == "up", within=40, what=what)
            yield box


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """The server and its children stopped: it neither answers nor ends, and nobody starts it anew."""
    process.suspend()
    everyone = [*process.children(recursive=True), process]
    for each in everyone:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    try:
        yield
    finally:
        for each in everyone:
            with suppress(psutil.NoSuchProcess):
                each.resume()
