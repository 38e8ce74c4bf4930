"""Repairs while the engine cannot work: the whole product, its Redis filled to the brim, its Postgres frozen."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest

from app.infra.eviction import memory_of
from app.infra.redis import connect
from tests.engine.conftest import REDIS_MB
from tests.engine.watched import Watched, frozen
from tests.fixtures.docker import Containers
from tests.fixtures.stack import eventually, free_port
from tests.recovery.actions.filling import fill, is_full, put

pytestmark = [pytest.mark.slow, pytest.mark.docker]

MTTR_SECONDS = 300
APP = """
[services.app]
kind = "http"
url = "http://127.0.0.1:{port}/"
container = "{container}"
watched_by = "watchdog"
severity = "critical"
interval = 5
confirm_interval = 2
"""
LOST = """
[services.lost]
kind = "tcp"
host = "127.0.0.1"
port = {port}
container = "smm-test-that-is-not-there"
watched_by = "watchdog"
severity = "critical"
interval = 5
confirm_interval = 2
"""
SLOW_AGAIN = (
    "mkdir -p /www; test -f /www/index.html && sleep 12; echo ok > /www/index.html;"
    " httpd -f -p 127.0.0.1:{port} -h /www & echo $! > /tmp/server; while true; do sleep 1000; done"
)


def run_of(product: Watched, service: str) -> dict[str, Any]:
    """Its last run, once it has ended."""

    def has_ended() -> bool:
        runs = product.runs_now(service)
        return bool(runs) and runs[0]["state"] == "ended"

    eventually(has_ended, within=60, what=lambda: f"a run of {service}: {product.runs_now(service)}")
    found: dict[str, Any] = product.runs(service)[0]
    return found


def redis_of(product: Watched) -> Any:
    return connect(
        json.loads((product.stack.home / "servers.json").read_text())["redis"]["url"], timeout_seconds=5, decode=False
    )


def test_a_redis_full_to_the_brim_is_repaired_and_keeps_everything_but_the_cache(watched: Watched) -> None:
    client = redis_of(watched)
    put(client, [(f"queue:{number}", 99_999) for number in range(500)])
    fill(client, 101)
    assert is_full(client)
    eventually(
        lambda: memory_of(client).percent <= 80 and not is_full(client),
        within=60,
        what=lambda: f"there is room again: {watched.stack.tail()}",
    )
    eventually(watched.is_healthy, within=MTTR_SECONDS, what=lambda: f"healthy again: {watched.stack.health()}")
    run = run_of(watched, "redis")
    assert (run["playbook"], run["verdict"]) == ("cache-eviction", "recovered")
    assert "evicted " in run["actions"][0]
    assert sum(1 for _ in client.scan_iter(match="queue:*", count=1000)) == 500
    assert client.config_get("maxmemory")["maxmemory"] == str(REDIS_MB * 1024**2)
    # A fall of the workers, which cannot write either, may have been told; of Redis there was nothing to page.
    assert "SMM_RecoveryFailed" not in {alert for _, alert, _ in watched.heard("redis")}
    for mine in ("queue:*", "cache:*"):
        client.unlink(*client.scan_iter(match=mine, count=1000))
    client.close()


def test_a_container_is_restarted_while_postgres_is_frozen_and_everybody_hears_of_it_once(
    watched: Watched, containers: Containers
) -> None:
    with watched.serving(containers, "app", SLOW_AGAIN, service=APP) as box:
        with frozen(watched.stack.server("postgres")):
            eventually(lambda: watched.status("postgres") == "down", within=60, what="Postgres is down")
            # What answers in the container ends, and nothing else of it.
            containers.api.exec_start(containers.api.exec_create(box.id, ["sh", "-c", "kill $(cat /tmp/server)"]))
            eventually(
                lambda: any("restarted container" in done for *_, done in watched.heard("app")),
                within=60,
                what=lambda: f"what was done is told: {watched.heard('app')} {watched.stack.tail()}",
            )
            assert "app: " in watched.stack.health()["action_taken"]
            eventually(lambda: watched.status("app") == "up", within=60, what="it answers again")
        eventually(watched.is_healthy, within=150, what=lambda: f"healthy again: {watched.stack.health()}")
        run = run_of(watched, "app")
        assert (run["playbook"], run["verdict"]) == ("service-restart", "recovered")
        eventually(
            lambda: watched.heard("app")[-1][0] == "resolved",
            within=60,
            what=lambda: f"its end: {watched.heard('app')}",
        )
    told = watched.heard("app")
    assert {alert for _, alert, _ in told} == {"SMM_ServiceDown"}
    assert [status for status, *_ in told] == ["firing"] * (len(told) - 1) + ["resolved"]
    assert len(told) <= 3  # the page, what was done since, the end
    assert "restarted container" in told[-1][2]


def test_a_repair_that_fails_while_postgres_is_frozen_is_paged_by_the_watchdog_itself(watched: Watched) -> None:
    with ExitStack() as added:
        with frozen(watched.stack.server("postgres")):
            eventually(lambda: watched.status("postgres") == "down", within=60, what="Postgres is down")
            added.enter_context(watched.stack.with_catalogue(LOST.format(port=free_port())))
            eventually(
                lambda: {alert for _, alert, _ in watched.heard("lost")} == {"SMM_ServiceDown", "SMM_RecoveryFailed"},
                within=90,
                what=lambda: f"both are paged: {watched.heard('lost')} {watched.stack.tail()}",
            )
        eventually(lambda: watched.status("postgres") == "up", within=90, what="Postgres is back")
        run = run_of(watched, "lost")
        assert run["verdict"] == "escalated"
        assert "there is no container" in run["why"]
        assert [status for status, *_ in watched.heard("lost")] == ["firing", "firing"]
    eventually(watched.is_healthy, within=150, what=lambda: f"healthy again: {watched.stack.health()}")
