"""The watchdog as a process repairs a real container: once, whoever dies meanwhile, and although Postgres is away."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from app import clock
from app.alerts import pipeline
from app.health.core import State
from app.infra.db import read_only, unit_of_work
from app.recovery import control, reading, triggering
from app.recovery.core import Run, StepState, Verdict
from app.recovery.store import RUN, runs
from tests.fixtures.docker import Box, Containers
from tests.fixtures.stack import free_port
from tests.notify.servers import ChannelServer, channel_server
from tests.watchdog.paging import RULES, webhook
from tests.watchdog.processes import QUICK, Running, frozen_postgres, rows, until

pytestmark = [pytest.mark.slow, pytest.mark.docker]

PLAYBOOK = """
[recovery]
cooldown = 0
containers = ["smm-test-*"]
DRY

[playbooks.service-restart]
on = "health.down"
unless = {"service.container" = ""}
steps = [{do = "restart_container", stop_seconds = STOP}, {do = "probe", after = 30}]
advice = "read its log"
"""
LEASE_SECONDS = 8


class Scene:
    """A container that answers HTTP, at once at its first start and `slow` seconds after any other, and takes its whole
    time to stop; and what a watchdog of it needs.
    """

    def __init__(self, containers: Containers, server: ChannelServer, slow: float = 0) -> None:
        self.port = free_port()
        script = (
            f"mkdir -p /www; test -f /www/index.html && sleep {slow}; echo ok > /www/index.html;"
            f" httpd -f -p 127.0.0.1:{self.port} -h /www & echo $! > /tmp/server; while true; do sleep 1000; done"
        )
        self.box: Box = containers.run("app", "sh", "-c", script)
        self.api: Any = containers.api
        self.began = int(clock.now().timestamp())
        self.server = server

    def hurt(self) -> None:
        """End what answers, and nothing else of the container."""
        made = self.api.exec_create(self.box.id, ["sh", "-c", "kill $(cat /tmp/server)"])
        self.api.exec_start(made["Id"])

    def catalogue(self, *, stop: int = 0, dry: bool = False) -> str:
        app = (
            f"[services.app]\nkind = 'http'\nurl = 'http://127.0.0.1:{self.port}/'\ncontainer = '{self.box.name}'\n"
            f"severity = 'critical'\n{QUICK}"
        )
        postgres = f"[services.postgres]\nkind = 'postgres'\n{QUICK}"
        playbook = PLAYBOOK.replace("STOP", str(stop)).replace("DRY", "dry_run = true" if dry else "")
        return app + postgres + playbook + webhook(self.server.base) + RULES

    def restarts(self) -> int:
        """How often the engine has restarted it."""
        until_now = int(clock.now().timestamp()) + 1
        found = self.api.events(
            since=self.began, until=until_now, filters={"container": [self.box.id], "event": ["restart"]}, decode=True
        )
        return len(list(found))

    def told(self) -> list[tuple[str, str]]:
        """(status, what was done) of every message about the service."""
        bodies = [request.json for request in list(self.server.requests)]
        return [
            (body["status"], alert["annotations"].get("actions_taken", ""))
            for body in bodies
            for alert in body["alerts"]
            if alert["labels"]["service"] == "app"
        ]

    def alerts(self) -> set[str]:
        """Names of the alerts that people heard of."""
        bodies = [request.json for request in list(self.server.requests)]
        return {alert["labels"]["alertname"] for body in bodies for alert in body["alerts"]}


@pytest.fixture
def scene(containers: Containers, request: pytest.FixtureRequest):
    with channel_server() as server:
        yield Scene(containers, server, getattr(request, "param", 0))


def is_up(running: Running) -> bool:
    return running.states() == {"app": State.UP, "postgres": State.UP}


def journal(running: Running) -> list[Run]:
    """What the watchdog's own file says."""
    file = running.home / "watchdog-repairs.jsonl"
    return [RUN.validate_json(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def stored() -> list[Run]:
    with read_only() as session:
        return runs(session, "true", "created_at")


def ended(running: Running, count: int = 1) -> Run:
    until(lambda: sum(run.ended_at is not None for run in journal(running)) == count)
    return journal(running)[-1]


@pytest.mark.parametrize("scene", [10], indirect=True)
def test_a_container_is_restarted_while_postgres_hangs_and_the_alert_says_so_afterwards(
    start: Callable[[str], Running], database: str, scene: Scene
):
    running = start(scene.catalogue())
    until(lambda: is_up(running))
    with frozen_postgres(database):
        until(lambda: running.states()["postgres"] is State.DOWN)
        scene.hurt()
        run = ended(running)
        assert run.verdict is Verdict.RECOVERED
        until(lambda: running.states()["app"] is State.UP)
        assert scene.restarts() == 1
        # It was paged while it was down, and those who were are told what was done since.
        until(lambda: any("restarted container" in done for _, done in scene.told()))
        assert {status for status, _ in scene.told()} == {"firing"}
    until(lambda: [item.ended_at for item in stored()] == [run.ended_at])
    (mine,) = stored()
    assert (mine.id, mine.steps[0].state, mine.over_at is not None) == (run.id, StepState.DONE, True)
    assert rows("SELECT service, at FROM recovery_restarts") == [("app", run.steps[0].began_at)]
    until(lambda: rows("SELECT 1 FROM signals WHERE subject = 'app' AND kind = 'health.up'"))
    kinds = [row.kind for row in rows("SELECT kind FROM signals WHERE subject = 'app' ORDER BY sequence")]
    assert kinds.index("recovery.acted") < kinds.index("health.down") < kinds.index("health.up")
    assert kinds.count("recovery.recovered") == 1
    (alert,) = rows("SELECT annotations FROM alert_episodes WHERE service = 'app'")
    assert "restarted container" in alert.annotations["actions_taken"]
    reasons = [row.reason for row in rows("SELECT reason FROM notifications ORDER BY id")]
    assert reasons in (["first"], ["first", "acted-2"])  # it was done before or after the page was on its way
    assert len(rows("SELECT 1 FROM recovery_runs r JOIN incidents i ON i.id = r.incident_id")) == 1


def test_who_need_not_be_paged_any_more_is_not(start: Callable[[str], Running], database: str, scene: Scene):
    running = start(scene.catalogue())
    until(lambda: is_up(running))
    with frozen_postgres(database):
        until(lambda: running.states()["postgres"] is State.DOWN)
        scene.hurt()
        assert ended(running).verdict is Verdict.RECOVERED  # long before the ledger could be asked
        until(lambda: running.states()["app"] is State.UP)
    until(lambda: rows("SELECT 1 FROM signals WHERE subject = 'app' AND kind = 'health.up'"))
    assert scene.told() == []


def test_killed_in_the_middle_of_a_restart_the_next_watchdog_repeats_nothing(
    start: Callable[[str], Running], scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SMM_LEASE_SECONDS", str(LEASE_SECONDS))
    running = start(scene.catalogue(stop=4))  # which is how long it takes
    until(lambda: is_up(running))
    scene.hurt()
    until(lambda: any(run.steps[0].state is StepState.RUNNING for run in journal(running)))
    running.process.kill()
    running.process.wait(10)
    again = start(scene.catalogue(stop=4))
    run = ended(again)
    assert run.verdict is Verdict.RECOVERED
    assert scene.restarts() == 1
    assert len(rows("SELECT 1 FROM recovery_restarts")) == 1
    until(lambda: stored() and stored()[0].ended_at)
    assert len(stored()) == 1


def test_the_budget_holds_over_restarts_of_the_watchdog_and_then_a_person_is_called(
    start: Callable[[str], Running], scene: Scene
):
    def falls_under_another_watchdog(count: int) -> None:
        running = start(scene.catalogue())
        until(lambda: is_up(running))
        scene.hurt()
        assert ended(running, count).verdict is Verdict.RECOVERED
        running.process.kill()
        running.process.wait(10)

    for count in (1, 2, 3):
        falls_under_another_watchdog(count)
    running = start(scene.catalogue())
    until(lambda: is_up(running))
    scene.hurt()
    run = ended(running, 4)
    assert (run.verdict, run.why) == (Verdict.ESCALATED, "the 3 restarts an hour of app are used up")
    assert scene.restarts() == 3
    until(
        lambda: any(
            body.json["alerts"][0]["labels"]["alertname"] == "SMM_RecoveryFailed" for body in scene.server.requests
        )
    )


def test_people_stop_it_start_runs_and_abort_them(start: Callable[[str], Running], scene: Scene):
    running = start(scene.catalogue())
    until(lambda: is_up(running))
    importlib.import_module("tasks.celery").compose()
    with unit_of_work() as uow:
        control.stop(uow, by="ann", reason="a move", now=clock.now())
    scene.hurt()
    until(lambda: running.states()["app"] is State.DOWN)
    until(lambda: len(rows("SELECT 1 FROM system_health_log WHERE service = 'app' AND NOT ok")) > 5)
    assert journal(running) == []
    with unit_of_work() as uow:
        control.resume(uow, by="ann", now=clock.now())
    assert ended(running).verdict is Verdict.RECOVERED
    until(lambda: is_up(running))
    until(lambda: not rows("SELECT 1 FROM recovery_runs WHERE ended_at IS NULL"))
    with unit_of_work() as uow:
        by_ann = triggering.start(uow, "service-restart", "app", by="ann", now=clock.now())
    until(lambda: any(run.id == by_ann and run.steps[0].is_over for run in journal(running)))
    with unit_of_work() as uow:
        control.abort(uow, by_ann, by="bob")
    run = ended(running, 2)
    assert (run.verdict, run.why) == (Verdict.ABORTED, "aborted by bob")
    assert scene.restarts() == 2
    until(lambda: stored()[-1].ended_at)
    with read_only() as session:
        shown = reading.get_run(session, by_ann)
    assert shown["runner"] == "watchdog"


def test_a_dry_run_restarts_nothing_and_says_what_it_would_do(start: Callable[[str], Running], scene: Scene):
    running = start(scene.catalogue(dry=True))
    until(lambda: is_up(running))
    scene.hurt()
    run = ended(running)
    assert run.verdict is Verdict.SIMULATED
    assert run.steps[0].text == f"would do: restart container {scene.box.name}"
    assert scene.restarts() == 0
    until(lambda: stored() and stored()[0].ended_at)
    pipeline.run()
    assert rows("SELECT name FROM alert_episodes WHERE name = 'SMM_RecoveryFailed'") == []
