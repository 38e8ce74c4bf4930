"""Modes as callers see them: `smm-admin up`, a service that dies and comes back, Redis emptied and killed meanwhile."""

from __future__ import annotations

import importlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import admission
from app.config import settings
from app.infra import adminkey, redis
from app.infra.db import unit_of_work
from app.jobs import schedule
from tests.engine import effects
from tests.fixtures.servers import forget
from tests.fixtures.stack import Stack, eventually, free_port
from tests.health import local

pytestmark = pytest.mark.slow

CATALOG = """
[services.shop]
kind = "http"
url = "http://127.0.0.1:{port}/ok"
interval = 2
confirm_interval = 1
timeout = 2

[services.redis]
kind = "redis"

[modes.no-shop]
description = "orders are taken by hand"
while_down = ["shop"]
fall_back = ["recommend"]
wait = ["order"]
replay = [{{task = "tests.record", kwargs = {{note = "replayed"}}}}]
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def product(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The product with one service and one mode, not started yet; this process will speak to its servers."""
    base = Path(tempfile.mkdtemp(prefix="smm-modes-"))
    base.chmod(0o711)
    home = base / f"home-{secrets.token_hex(3)}"
    home.mkdir(mode=0o711)
    (home / "catalog.toml").write_text(CATALOG.format(port=port))
    stack = Stack(home)
    stack.environment["SMM_CATALOG_FILE"] = str(home / "catalog.toml")
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    try:
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(base, ignore_errors=True)


def start(stack: Stack) -> None:
    stack.start()
    forget()
    importlib.import_module("tasks.celery").compose()
    importlib.import_module("tests.engine.work")
    with unit_of_work() as uow:
        uow.execute(effects.CREATE)


def key() -> dict[str, Any]:
    """What a caller reads in one call; empty while there is none."""
    text = redis.client().get(admission.KEY)
    return dict(json.loads(text)) if text else {}


def effect(operation: str) -> str | None:
    found = key().get("operations", {}).get(operation)
    return None if found is None else str(found["effect"])


def asked(stack: Stack, operation: str) -> dict[str, Any]:
    """What the API says of it."""
    headers = {"X-API-Key": adminkey.load_or_create(settings())}
    url = f"http://127.0.0.1:{stack.web_port}/api/v1/modes/{operation}"
    found: dict[str, Any] = httpx.get(url, headers=headers, timeout=5, verify=False).json()
    return found


def rows(statement: str) -> list[Any]:
    with unit_of_work() as uow:
        return list(uow.execute(statement))


def test_a_mode_follows_its_service_through_the_loss_of_redis_and_its_jobs_run_once(product: Stack, port: int) -> None:
    with local.web(port=port):
        start(product)
        eventually(lambda: product.health()["services"]["shop"]["status"] == "up", within=60, what="shop is up")
        eventually(lambda: key()["operations"] == {}, within=90, what="the key says that nothing is on")
    eventually(lambda: effect("order") == "wait", within=60, what="orders wait")
    assert effect("recommend") == "fall_back"
    assert asked(product, "order")["effect"] == "wait"
    [late] = rows(
        "SELECT extract(epoch FROM m.since - i.detected_at)::float8 AS seconds"
        " FROM operation_modes m, incidents i WHERE i.service = 'shop'"
    )
    assert late.seconds < 5

    redis.client().flushall()
    with unit_of_work() as uow:
        schedule.run_now(uow, "modes", who="the-test")  # rather than within the minute
    eventually(lambda: effect("order") == "wait", within=60, what="an emptied Redis knows it again")
    product.server("redis").kill()
    eventually(lambda: asked(product, "order")["effect"] == "wait", within=30, what="the API goes on answering")
    eventually(lambda: redis.client().ping(), within=60, what="Redis is back")

    with local.web(port=port):
        eventually(lambda: key() and effect("order") is None, within=90, what="orders go on")
        eventually(lambda: noted("replayed") == 1, within=30, what="the job of the replay has run")
    assert [row.kind for row in rows("SELECT kind FROM signals WHERE kind LIKE 'modes.%' ORDER BY id")] == [
        "modes.entered",
        "modes.left",
    ]
    assert noted("replayed") == 1


def noted(note: str) -> int:
    return len([row for row in rows(effects.ALL) if row.note == note])
