"""Repairs as users see them: the product as it is started, real containers, killed and broken by the test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.watched import Watched
from tests.fixtures.docker import Containers
from tests.fixtures.stack import eventually

pytestmark = [pytest.mark.slow, pytest.mark.docker]

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
# Once restarted it answers so late that the next worker is there first, which would otherwise find nothing to do.
SLOW_TO_STOP_AND_START = (
    "trap '' TERM; mkdir -p /www; test -e /www/index.html && sleep 12; echo ok > /www/index.html;"
    " httpd -p 127.0.0.1:{port} -h /www; while true; do sleep 1; done"
)
DIES_AGAIN = (
    "test -e /tmp/again && exit 3; touch /tmp/again; mkdir -p /www && echo ok > /www/index.html;"
    " exec httpd -f -p 127.0.0.1:{port} -h /www"
)


def ended(product: Watched, service: str, verdict: str, *, within: float = 60) -> Any:
    """The service's run, once it has come to that."""
    eventually(
        lambda: [run["verdict"] for run in product.runs_now(service)] == [verdict],
        within=within,
        what=lambda: f"{service} {verdict}: {product.runs_now(service)}\n{product.stack.tail()}",
    )
    return product.runs(service)[0]


def restarts_last_hour(product: Watched, service: str) -> int:
    return int(product.smm("recovery", "guards")[1]["restarts_last_hour"][service])


def test_a_killed_container_is_restarted_and_its_end_is_told_with_what_was_done(
    watched: Watched, containers: Containers
) -> None:
    with watched.serving(containers, "vectors", SERVES, service=SERVICE, severity="critical") as box:
        before = box.look().started_at
        box.kill()
        run = ended(watched, "vectors", "recovered")
        after = box.look().started_at
        assert before is not None
        assert after is not None
        assert after > before
        assert [step["state"] for step in run["steps"]] == ["done", "done"]
        eventually(lambda: watched.status("vectors") == "up", within=20, what="vectors is up")
        eventually(
            lambda: watched.heard("vectors")[-1][:2] == ("resolved", "SMM_ServiceDown"),
            within=40,
            what=lambda: f"the end is told: {watched.heard('vectors')}",
        )
    told = watched.heard("vectors")
    assert f"restarted container {box.name}" in told[-1][2]
    assert {alert for _, alert, _ in told} == {"SMM_ServiceDown"}
    assert [status for status, *_ in told].count("resolved") == 1


def test_a_container_that_dies_again_is_restarted_once_and_a_person_is_told_with_all_that_was_tried(
    watched: Watched, containers: Containers
) -> None:
    with watched.serving(containers, "broken", DIES_AGAIN, service=SERVICE, severity="critical") as box:
        box.kill()
        run = ended(watched, "broken", "escalated")
        assert [step["action"] for step in run["steps"]] == ["restart_container", "probe"]
        eventually(
            lambda: ("firing", "SMM_RecoveryFailed") in [message[:2] for message in watched.heard("broken")],
            within=40,
            what=lambda: f"somebody is told: {watched.heard('broken')}",
        )
        failed = next(message for message in watched.heard("broken") if message[1] == "SMM_RecoveryFailed")
        assert failed[0] == "firing"
        assert len(watched.runs("broken")) == 1
        assert restarts_last_hour(watched, "broken") == 1


def test_a_worker_killed_in_the_middle_of_a_restart_makes_no_second_one(
    watched: Watched, containers: Containers
) -> None:
    with watched.serving(containers, "slow", SLOW_TO_STOP_AND_START, service=SERVICE, severity="error") as box:
        before = box.look()
        killing = containers.api.exec_create(box.id, ["busybox", "killall", "-9", "httpd"])
        containers.api.exec_start(killing)
        eventually(
            lambda: [step["state"] for run in watched.runs_now("slow") for step in run["steps"]][:1] == ["running"],
            within=40,
            what=lambda: f"the restart begins: {watched.runs_now('slow')}\n{watched.stack.tail()}",
        )
        watched.stack.processes("worker-critical")[0].kill()
        for child in watched.stack.processes("worker-critical"):
            child.kill()
        run = ended(watched, "slow", "recovered", within=90)
        after = box.look()
        assert run["steps"][0]["tries"] == 2
        assert after.started_at is not None
        assert before.started_at is not None
        assert after.started_at > before.started_at
        assert restarts_last_hour(watched, "slow") == 1
