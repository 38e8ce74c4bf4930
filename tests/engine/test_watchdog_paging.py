"""Paging while the engine is down: the product as it is started, a server of it frozen, a channel that records."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import psycopg2.extras
import pytest

from app import clock
from app.config import resource
from tests.fixtures.stack import Stack, eventually
from tests.notify.servers import ChannelServer, channel_server

pytestmark = pytest.mark.slow

PAGE_SECONDS = 60
HOOK = """
[channels.hook]
kind = "webhook"
url = "{base}/hook"
allow = ["127.0.0.0/8"]
timeout = 5
"""


class Product:
    """The running product, and what its channel got."""

    def __init__(self, stack: Stack, server: ChannelServer) -> None:
        self.stack = stack
        self.server = server

    def messages(self) -> list[tuple[str, str, str]]:
        """(status, alert, service) of every message but the hourly test, in order.

        Nor of the stack's error budget: so many falls in a few minutes may well burn it, whenever that is reckoned.
        """
        bodies = [request.json for request in list(self.server.requests)]
        return [
            (body["status"], alert["labels"]["alertname"], alert["labels"].get("service", ""))
            for body in bodies
            for alert in body["alerts"]
            if "synthetic" not in alert["labels"] and not alert["labels"]["alertname"].startswith("SMM_ErrorBudget")
        ]

    def status(self, service: str) -> str:
        return str(self.stack.health()["services"].get(service, {}).get("status"))

    def seconds_up(self, service: str) -> float:
        since = datetime.fromisoformat(self.stack.health()["services"][service]["since"])
        return (clock.now() - since).total_seconds()

    def is_healthy(self) -> bool:
        document = self.stack.health()
        return document["status"] == "healthy" and document["services"]["alerts"]["status"] == "up"

    def told(self) -> list[Any]:
        """What the ledger says was told by the channel, but for the hourly test."""
        connection = psycopg2.connect(
            json.loads((self.stack.home / "servers.json").read_text())["postgres"]["url"],
            cursor_factory=psycopg2.extras.NamedTupleCursor,
        )
        try:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT n.*, g.closed_at, g.told_count FROM notifications n JOIN alert_groups g ON g.id = n.group_id"
                " WHERE n.channel = 'hook' AND NOT n.message -> 'common_labels' ? 'synthetic' ORDER BY n.created_at"
            )
            return list(cursor.fetchall())
        finally:
            connection.close()

    def story(self) -> list[Any]:
        """What the ledger knows of the test alert."""
        connection = psycopg2.connect(json.loads((self.stack.home / "servers.json").read_text())["postgres"]["url"])
        try:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT e.state, e.starts_at, e.muted, g.held, g.told_at, n.channel, n.state, n.error,"
                " c.synthetic_outcome"
                " FROM alert_clock c LEFT JOIN alert_episodes e ON e.name = 'SMM_SyntheticAlert'"
                " LEFT JOIN alert_group_members m ON m.episode_id = e.id LEFT JOIN alert_groups g ON g.id = m.group_id"
                " LEFT JOIN notifications n ON n.group_id = g.id"
            )
            return [tuple(map(str, row)) for row in cursor.fetchall()]
        finally:
            connection.close()

    def freeze_and_thaw(self, process: psutil.Process, service: str, alert: str) -> None:
        """Freeze a process until people were paged, thaw it, wait for the recovery."""
        before = len(self.messages())
        with frozen(process):
            eventually(
                lambda: self.messages()[before:] == [("firing", alert, service)],
                within=PAGE_SECONDS,
                what=lambda: f"a page about {service}: {self.messages()}\n{self.stack.tail()}",
            )
            eventually(lambda: self.status(service) == "down", within=5, what="the status says it too")
        eventually(
            lambda: self.messages()[before:][-1] == ("resolved", alert, service),
            within=120,
            what=lambda: f"the end is told: {self.messages()}",
        )
        eventually(self.is_healthy, within=120, what=lambda: f"healthy again: {self.stack.health()}")


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


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    """The product under the shipped catalogue, with one more channel for everybody."""
    base = Path(tempfile.mkdtemp(prefix="smm-paging-"))
    base.chmod(0o711)
    home = base / f"home-{secrets.token_hex(3)}"
    home.mkdir(mode=0o711)
    shipped = resource("deploy/smm-admin.toml").read_text()
    named = shipped.replace(
        'notify = [\n    "channel:console",\n', 'notify = [\n    "channel:console",\n    "channel:hook",\n', 1
    )
    assert named != shipped
    with channel_server() as server:
        (home / "catalog.toml").write_text(named + HOOK.format(base=server.base))
        stack = Stack(home)
        stack.environment["SMM_CATALOG_FILE"] = str(home / "catalog.toml")
        try:
            stack.start()
            running = Product(stack, server)
            eventually(running.is_healthy, within=150, what=lambda: f"healthy: {stack.health()}")
            yield running
        finally:
            stack.stop()
            shutil.rmtree(base, ignore_errors=True)


def ledger_of(product: Product, alert: str) -> list[tuple[str, str, str, str]]:
    rows = product.told()
    mine = [row for row in rows if row.message["alerts"][0]["name"] == alert]
    assert len({row.thread for row in mine}) == 1
    return [(row.reason, row.event, row.state, row.source) for row in mine]


def test_the_test_alert_is_told_soon_after_a_start_and_nothing_else_is(product: Product) -> None:
    def synthetic() -> list[str]:
        bodies = [request.json for request in list(product.server.requests)]
        labels = [body["commonLabels"] for body in bodies]
        return [each["alertname"] for each in labels if "synthetic" in each]

    # It waits until the engine has been up for half a minute, like everything that is not critical.
    eventually(synthetic, within=90, what=lambda: f"the test alert was told: {product.story()}")
    assert synthetic() == ["SMM_SyntheticAlert"]
    assert product.messages() == []


CASES = [("redis", "SMM_RedisConnectionFailure"), ("postgres", "SMM_DatabaseConnectionFailure")]


@pytest.mark.parametrize(("service", "alert"), CASES)
def test_a_frozen_server_is_paged_within_a_minute_once_and_its_end_is_told_by_the_engine(
    product: Product, service: str, alert: str
) -> None:
    before = len(product.messages())
    product.freeze_and_thaw(product.stack.server(service), service, alert)
    assert product.messages()[before:] == [("firing", alert, service), ("resolved", alert, service)]
    assert ledger_of(product, alert) == [
        ("first", "firing", "delivered", "watchdog"),
        ("resolved", "resolved", "delivered", "engine"),
    ]


def test_a_tick_worker_that_hangs_is_one_page_although_beat_and_alerts_stand_still_with_it(
    product: Product,
) -> None:
    # For a minute after Redis came up nothing is said of what depends on it.
    eventually(lambda: product.seconds_up("redis") > 65, within=90, what="Redis has been up for a while")
    before, alert = len(product.messages()), "SMM_ServiceDown"
    product.freeze_and_thaw(product.stack.processes("worker-tick")[0], "workers", alert)
    assert product.messages()[before:] == [("firing", alert, "workers"), ("resolved", alert, "workers")]
    assert [state for *_, state, _ in ledger_of(product, alert)] == ["delivered", "delivered"]
