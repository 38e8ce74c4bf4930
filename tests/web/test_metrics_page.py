"""/metrics of the composed application while a server it reads is frozen."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.infra import db, metrics
from app.web.main import create_app
from tests.fixtures.servers import Servers


@pytest.fixture
def composed(database: str, redis_server: str) -> Iterator[None]:
    metrics.clear_collectors()
    create_app()
    yield
    metrics.clear_collectors()


def sources() -> tuple[dict[str, float], set[str]]:
    """(which sources answered, the names of all samples)."""
    families = list(text_string_to_metric_families(metrics.render()[0].decode()))
    up = {
        sample.labels["source"]: sample.value
        for family in families
        if family.name == "smm_scrape_source_up"
        for sample in family.samples
    }
    return up, {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize(
    ("source", "gone", "kept"),
    [
        ("postgres", "smm_jobs", "smm_queue_messages"),
        ("redis", "smm_queue_messages", "smm_jobs"),
    ],
)
def test_a_frozen_server_takes_its_own_figures_away_and_no_others(
    composed: None, servers: Servers, source: str, gone: str, kept: str
) -> None:
    pid = json.loads((servers.home / "servers.json").read_text())[source]["pid"]
    assert set(sources()[0].values()) == {1.0}
    db.dispose()  # a frozen PostgreSQL still serves the connections it has: it is new ones that hang
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        up, names = sources()
        assert time.monotonic() - started < 2.5
    finally:
        os.kill(pid, signal.SIGCONT)
    assert up.pop(source) == 0
    assert set(up.values()) == {1.0}
    assert gone not in names
    assert kept in names
    deadline = time.monotonic() + 20
    while set(sources()[0].values()) != {1.0}:
        assert time.monotonic() < deadline, "the page does not recover"
