"""Modes as callers see them: `smm-admin up`, a service that dies and comes back, Redis emptied and killed meanwhile."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from app import admission
from app.config import settings
from app.infra import adminkey, redis
from app.infra.db import unit_of_work
from app.jobs import schedule
from tests.engine import effects
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

[modes.no-shop]
description = "orders are taken by hand"
while_down = ["shop"]
fall_back = ["recommend"]
wait = ["order"]
replay = [{{task = "tests.record", kwargs = {{note = "replayed"}}}}]
"""


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


def test_a_mode_follows_its_service_through_the_loss_of_redis_and_its_jobs_run_once(stack: Stack) -> None:
    port = free_port()
    with stack.with_catalogue(CATALOG.format(port=port)):
        with local.web(port=port):
            eventually(lambda: stack.health()["services"]["shop"]["status"] == "up", within=60, what="shop is up")
            eventually(lambda: key()["operations"] == {}, within=90, what="the key says that nothing is on")
        falls_back_and_remembers_it(stack)
        with local.web(port=port):
            eventually(lambda: key() and effect("order") is None, within=90, what="orders go on")
            eventually(lambda: noted("replayed") == 1, within=30, what="the job of the replay has run")
        assert [row.kind for row in rows("SELECT kind FROM signals WHERE kind LIKE 'modes.%' ORDER BY id")] == [
            "modes.entered",
            "modes.left",
        ]
        assert noted("replayed") == 1


def falls_back_and_remembers_it(stack: Stack) -> None:
    """Through a Redis that is emptied and one that is killed."""
    eventually(lambda: effect("order") == "wait", within=60, what="orders wait")
    assert effect("recommend") == "fall_back"
    assert asked(stack, "order")["effect"] == "wait"
    [late] = rows(
        "SELECT extract(epoch FROM m.since - i.detected_at)::float8 AS seconds"
        " FROM operation_modes m, incidents i WHERE i.service = 'shop'"
    )
    assert late.seconds < 5

    redis.client().flushall()
    with unit_of_work() as uow:
        schedule.run_now(uow, "modes", who="the-test")  # rather than within the minute
    eventually(lambda: effect("order") == "wait", within=60, what="an emptied Redis knows it again")
    stack.server("redis").kill()
    eventually(lambda: asked(stack, "order")["effect"] == "wait", within=30, what="the API goes on answering")
    eventually(lambda: redis.client().ping(), within=60, what="Redis is back")


def noted(note: str) -> int:
    return len([row for row in rows(effects.ALL) if row.note == note])
