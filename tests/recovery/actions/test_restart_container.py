"""Restarts on a real Docker engine, and what is said when there is none, or when it is slow."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.recovery.acting import Again, Done, Failed, Work
from tests.fixtures.docker import Containers
from tests.fixtures.waiting import until
from tests.health import local
from tests.recovery.actions.working import act, again, catalog_of, forbidden, service_of, to_the_end, work_of

pytestmark = pytest.mark.docker


def work_on(name: str, *, docker: dict[str, Any] | None = None, **more: Any) -> Work:
    service = service_of(container=name)
    return work_of(service, catalog=catalog_of(service, docker=docker, containers=["smm-test-*"]), **more)


def sleeper(containers: Containers, name: str = "qdrant") -> Any:
    """A container that ends as soon as it is told to."""
    return containers.run(name, "sh", "-c", "trap exit TERM; while true; do sleep 0.1; done")


class TestOnARealEngine:
    def test_a_killed_container_runs_again(self, containers: Containers):
        box = sleeper(containers)
        box.kill()
        until(lambda: not box.look().running)
        before = box.look()
        result = act("restart_container", work_on(box.name))
        assert isinstance(result, Done), result
        after = box.look()
        assert after.running
        assert result.text.startswith(f"restarted container {box.name} in ")
        detail = result.detail
        assert detail["id"] == box.id[:12]
        assert (detail["state_before"], detail["exit_code_before"], detail["oom_killed"]) == ("exited", 137, False)
        assert detail["started_at_before"] == clock.iso(before.started_at)
        assert detail["started_at_after"] == clock.iso(after.started_at) > detail["started_at_before"]
        assert detail["state_after"] == "running"

    def test_an_unhealthy_container_is_stopped_and_started(self, containers: Containers):
        check = {"Test": ["CMD", "false"], "Interval": 100_000_000, "Timeout": 1_000_000_000, "Retries": 1}
        box = containers.run("sick", "sleep", "1000", healthcheck=check)
        until(lambda: box.look().health == "unhealthy")
        result = act("restart_container", work_on(box.name), stop_seconds=0)
        assert isinstance(result, Done), result
        assert (result.detail["state_before"], result.detail["health_before"]) == ("running", "unhealthy")
        assert result.detail["started_at_after"] > result.detail["started_at_before"]

    def test_a_container_that_dies_again_is_said_to(self, containers: Containers):
        box = containers.run("broken", "sh", "-c", "exit 3")
        until(lambda: not box.look().running)
        result = act("restart_container", work_on(box.name))
        assert isinstance(result, Done), result
        until(lambda: not box.look().running)
        if result.detail["state_after"] == "exited":
            assert result.text.endswith("it is exited again, with code 3")

    def test_a_container_in_a_loop_of_restarts_is_restarted(self, containers: Containers):
        box = containers.run("loop", "false", restart="always")
        until(lambda: box.look().state == "restarting")
        result = to_the_end("restart_container", work_on(box.name))
        assert isinstance(result, Done), result

    def test_a_container_that_was_renamed_or_removed_is_missed_by_name(self, containers: Containers):
        box = sleeper(containers)
        box.rename(f"{box.name}-old")
        expected = f"there is no container {box.name}: it was removed or renamed"
        assert act("restart_container", work_on(box.name)) == Failed(expected, {"container": box.name})
        box.remove()
        assert act("restart_container", work_on(box.name)).text == expected

    def test_an_interrupted_try_that_has_restarted_it_is_not_repeated(self, containers: Containers):
        box = sleeper(containers)
        interrupted_at = clock.now() - timedelta(seconds=1)
        started_at = box.look().started_at
        result = act("restart_container", work_on(box.name, interrupted_at=interrupted_at, tries=2))
        assert isinstance(result, Done), result
        assert result.text == f"restarted container {box.name}"
        assert box.look().started_at == started_at

    def test_an_interrupted_try_that_came_to_nothing_is_repeated(self, containers: Containers):
        box = sleeper(containers)
        started_at = box.look().started_at
        result = act("restart_container", work_on(box.name, interrupted_at=clock.now(), tries=2))
        assert isinstance(result, Done), result
        assert box.look().started_at > started_at

    def test_a_restart_that_takes_longer_than_a_try_is_waited_for_and_done_once(self, containers: Containers):
        box = containers.run("slow", "sleep", "1000")  # the first process of a container ignores SIGTERM
        started_at = box.look().started_at
        work = work_on(box.name, timeout_seconds=4.5)
        first = act("restart_container", work, stop_seconds=3)
        assert isinstance(first, Again), first
        assert act("restart_container", again(work, first), stop_seconds=3) == Again(
            5, f"container {box.name} is being restarted", first.detail
        )
        until(lambda: box.look().started_at != started_at)
        new = box.look().started_at
        last = act("restart_container", again(work, first), stop_seconds=3)
        assert isinstance(last, Done), last
        assert last.detail["asked"] == 1
        assert box.look().started_at == new

    def test_an_engine_that_cannot_start_it_is_asked_once_more_and_then_quoted(self, containers: Containers):
        box = containers.run("nothing", "no-such-program", start=False)
        work = work_on(box.name)
        result = to_the_end("restart_container", work)
        assert isinstance(result, Failed), result
        assert "was not restarted" in result.text or "the Docker engine answers" in result.text
        assert "no-such-program" in result.text


class TestWithoutAnEngine:
    def test_a_missing_socket_is_asked_for_again_and_then_said(self, tmp_path: Path):
        work = work_on("smm-test-x", docker={"host": f"unix://{tmp_path}/none.sock"}, timeout_seconds=3)
        result = act("restart_container", work)
        assert isinstance(result, Failed)
        assert result.text == "the Docker engine's socket does not exist"

    def test_a_socket_that_comes_back_in_time_is_used(self, containers: Containers, tmp_path: Path):
        box = sleeper(containers)
        link = tmp_path / "engine.sock"
        timer = threading.Timer(0.5, link.symlink_to, ["/var/run/docker.sock"])
        timer.start()
        result = act("restart_container", work_on(box.name, docker={"host": f"unix://{link}"}))
        timer.join()
        assert isinstance(result, Done), result

    def test_refused_and_silent_engines_are_failures_within_the_time(self):
        closed = {"host": f"tcp://127.0.0.1:{local.closed_port()}"}
        refused = act("restart_container", work_on("smm-test-x", docker=closed, timeout_seconds=2))
        assert refused.text == "the Docker engine refuses connections"
        with local.silent_port() as port:
            started = time.monotonic()
            silent = work_on("smm-test-x", docker={"host": f"tcp://127.0.0.1:{port}"}, timeout_seconds=3)
            hanging = act("restart_container", silent)
            assert time.monotonic() - started < 3
        assert isinstance(hanging, Failed)
        assert hanging.text.startswith("the Docker engine did not answer within")


class TestWhatTheCatalogueForbids:
    @pytest.mark.parametrize(
        ("container", "why"),
        [
            (None, "no container is set for it"),
            ("claw-qdrant", None),
            ("Claw-qdrant", "Claw-qdrant is none of the containers that recovery.containers lists"),
            ("xclaw-qdrant", "xclaw-qdrant is none of the containers that recovery.containers lists"),
            ("other", None),
        ],
    )
    def test_only_listed_containers_are_restarted(self, container: str | None, why: str | None):
        service = service_of(container=container)
        catalog = catalog_of(service, containers=["claw-*", "other"])
        assert forbidden("restart_container", service, catalog) == why
        if why is not None:
            assert act("restart_container", work_of(service, catalog=catalog)) == Failed(why)

    def test_a_step_may_name_another_container_and_the_list_holds_for_it_too(self):
        service = service_of(container="claw-a")
        catalog = catalog_of(service)
        for container, allowed in (("claw-b", True), ("smm-postgres", False), ("", True)):
            assert (forbidden("restart_container", service, catalog, container=container) is None) is allowed
