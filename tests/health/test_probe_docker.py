"""The Docker probe against a real engine, and against engines that are away."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from app.catalog import Docker
from app.errors import Invalid
from app.health.checking import target_of
from app.health.probes import docker
from app.health.probing import CannotTell, Outcome, Target
from app.health.specs import resolve
from tests.fixtures.answering import HANG, Reply, answering
from tests.fixtures.docker import Box, Containers
from tests.fixtures.waiting import until
from tests.health import catalogs, local
from tests.health.catalogs import catalog_of

SECOND = 1_000_000_000


def probe(container: str, *, timeout: float = 5, engine: str | None = None, **target: object) -> Outcome | CannotTell:
    where = Docker() if engine is None else Docker(host=engine)
    given = Target(name="web", timeout_seconds=timeout, home=Path("/"), container=container, docker=where, **target)
    return docker.probe(given, docker.Options())


def of(box: Box) -> Outcome:
    verdict = probe(box.name)
    assert isinstance(verdict, Outcome)
    return verdict


def away(**target: object) -> Outcome | CannotTell:
    return probe("web", engine=f"tcp://127.0.0.1:{local.closed_port()}", **target)


@pytest.mark.docker
def test_a_running_container_is_well_and_tells_since_when(containers: Containers):
    outcome = of(containers.run("web", "sleep", "600"))
    assert outcome.error is None
    assert (outcome.readings["state"], outcome.readings["restart_count"]) == ("running", 0)
    assert 0 <= outcome.readings["uptime_seconds"] < 60
    assert outcome.latency_ms > 0


@pytest.mark.docker
def test_a_container_that_ended_says_with_which_code(containers: Containers):
    box = containers.run("job", "sh", "-c", "exit 3")
    until(lambda: not box.look().running)
    outcome = of(box)
    assert (outcome.error.code, outcome.error.text) == ("not_running", "it has ended; exit code 3")
    assert outcome.readings["exit_code"] == 3
    killed = containers.run("web", "sleep", "600")
    killed.kill()
    until(lambda: not killed.look().running)
    assert of(killed).error.text == "it has ended; exit code 137"


@pytest.mark.docker
def test_a_container_that_is_paused_or_was_never_started_does_not_run(containers: Containers):
    box = containers.run("web", "sleep", "600")
    box.pause()
    assert of(box).error.text == "it is paused"
    box.unpause()
    assert of(box).error is None
    assert of(containers.run("later", "sleep", "600", start=False)).error.text == "it is created"


@pytest.mark.docker
def test_a_container_whose_own_check_fails_is_unhealthy(containers: Containers):
    check = {"test": ["CMD", "test", "-e", "/tmp/well"], "interval": SECOND // 5, "timeout": SECOND, "retries": 1}
    box = containers.run("web", "sleep", "600", healthcheck=check)
    until(lambda: box.look().health == "unhealthy")
    outcome = of(box)
    assert outcome.error.code == "unhealthy"
    assert outcome.readings["health"] == "unhealthy"
    well = containers.run("well", "sh", "-c", "touch /tmp/well; sleep 600", healthcheck=check)
    until(lambda: well.look().health == "healthy")
    assert of(well).error is None


@pytest.mark.docker
def test_a_container_that_ends_at_once_each_time_is_restarting(containers: Containers):
    box = containers.run("loop", "sh", "-c", "exit 5", restart="always")
    until(lambda: of(box).error is not None and of(box).error.code == "restarting")
    outcome = until(lambda: found if (found := of(box)).readings["restart_count"] >= 2 else None)
    assert outcome.readings["restart_count"] >= 2


@pytest.mark.docker
def test_a_container_that_was_removed_or_renamed_is_missing(containers: Containers):
    box = containers.run("web", "sleep", "600")
    box.rename(f"{box.name}-else")
    assert of(box).error.code == "missing"
    box.remove()
    assert of(box).error.code == "missing"


def test_one_ended_for_want_of_memory_says_so():
    state = {"Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True, "Error": ""}
    with answering({"GET /containers/web/json": Reply(body={"State": state})}) as engine:
        outcome = probe("web", engine=f"tcp://127.0.0.1:{engine.port}")
    assert outcome.error.text == "it has ended; exit code 137, ended by the kernel for want of memory"


def test_while_the_engine_is_away_nothing_is_told_of_the_container():
    now = clock.now()
    verdict = away(told_at=now - timedelta(seconds=200), registered_at=now - timedelta(days=1))
    assert verdict == CannotTell("the Docker engine refuses connections")
    assert isinstance(away(registered_at=now), CannotTell)
    assert isinstance(away(watched_since=now), CannotTell)


def test_an_engine_that_stays_away_is_a_failure_of_its_own_until_it_answers():
    now = clock.now()
    first = away(told_at=now - timedelta(seconds=301))
    assert isinstance(first, Outcome)
    assert first.error.code == "engine"
    assert first.error.text == "whether it runs cannot be told: the Docker engine refuses connections"
    confirming = away(told_at=now - timedelta(seconds=5), told_code="engine")
    assert isinstance(confirming, Outcome)
    assert confirming.error.code == "engine"
    assert isinstance(away(told_at=now - timedelta(seconds=5), told_code="not_running"), CannotTell)


def test_an_engine_that_hangs_is_waited_for_no_longer_than_the_probe_may_take():
    with answering({"GET /containers/web/json": HANG}) as engine:
        started = time.monotonic()
        verdict = probe("web", engine=f"tcp://127.0.0.1:{engine.port}", timeout=0.4)
        assert time.monotonic() - started < 0.9
    assert verdict == CannotTell("the Docker engine did not answer within 0.4 s")


def test_a_service_of_this_kind_names_its_container():
    with pytest.raises(Invalid, match=r"services\.web\.container \(line 1\): is required"):
        catalog_of('[services.web]\nkind = "docker"\n')
    found = catalog_of('[services.web]\nkind = "docker"\ncontainer = "claw-web"\n[docker]\nhost = "tcp://proxy:2375"\n')
    assert found.docker.host == "tcp://proxy:2375"


def test_the_engine_of_the_catalogue_is_asked_for_the_services_container(home: Path, monkeypatch: pytest.MonkeyPatch):
    with answering({}) as engine:
        text = f'[services.web]\nkind = "docker"\ncontainer = "claw-web"\n[docker]\nhost = "tcp://127.0.0.1:{engine.port}"\n'
        catalogs.use(monkeypatch, home, text)
        spec = resolve(catalog_of(text).services["web"])
        spec.probe.probe(target_of(spec), spec.options)
    assert engine.paths == ["GET /containers/claw-web/json"]
