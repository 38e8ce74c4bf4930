"""Many probes at once, and one that hangs where no time-out reaches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from app.catalog import Service
from app.health.prober import Prober
from app.health.probing import CannotTell, Target
from app.health.results import ProbeResult
from app.health.specs import Spec, resolve


@dataclass
class Stuck:
    """A probe that ignores its time-out, as a resolver can: it ends when the test says so."""

    release: threading.Event = field(default_factory=threading.Event)
    runs: int = 0
    KIND = "stuck"

    def probe(self, _target: Target, _options: object) -> object:
        self.runs += 1
        self.release.wait(30)
        raise RuntimeError("late")


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    probe = Stuck()
    yield probe
    probe.release.set()


def tcp(name: str, port: int, **options: object) -> Spec:
    return resolve(Service(name=name, kind="tcp", options={"host": "127.0.0.1", "port": port, **options}))


def target(spec: Spec, timeout: float = 0.2) -> Target:
    return Target(name=spec.name, timeout_seconds=timeout, home=Path("/"))


def collect_all(prober: Prober, count: int) -> dict[str, ProbeResult | CannotTell]:
    found: dict[str, ProbeResult | CannotTell] = {}
    until = time.monotonic() + 10
    while len(found) < count and time.monotonic() < until:
        found.update({spec.name: verdict for spec, verdict in prober.collect(0.5)})
    return found


def test_probes_wait_together_not_one_after_the_other(silent_port: int):
    prober = Prober(50)
    specs = [tcp(f"s{number}", silent_port, expect="x") for number in range(50)]
    started = time.monotonic()
    for spec in specs:
        prober.start(spec, target(spec, 0.5))
    found = collect_all(prober, 50)
    assert time.monotonic() - started < 2.5
    assert {verdict.error.code for verdict in found.values()} == {"timeout"}


def test_threads_are_kept_and_never_more_than_allowed(silent_port: int):
    prober = Prober(4)
    specs = [tcp(f"s{number}", silent_port) for number in range(40)]
    before = threading.active_count()
    for _ in range(3):
        for spec in specs:
            prober.start(spec, target(spec))
        assert len(collect_all(prober, 40)) == 40
    assert threading.active_count() - before <= 4


def test_a_probe_that_hangs_is_a_timeout_and_is_never_joined_by_a_second_one(stuck: Stuck):
    prober = Prober(4, grace_seconds=0.1)
    spec = replace(tcp("stuck", 1), probe=stuck)
    for _ in range(3):
        prober.start(spec, target(spec, 0.1))
        verdict = collect_all(prober, 1)["stuck"]
        assert verdict.error.code == "timeout"
    assert stuck.runs == 1
    stuck.release.set()
    assert prober.collect(0.5) == []
    prober.start(spec, target(spec, 0.1))
    assert collect_all(prober, 1)["stuck"].error.code == "probe_broke"
    assert stuck.runs == 2


def test_hanging_probes_do_not_keep_the_others_from_being_probed(stuck: Stuck, silent_port: int):
    prober = Prober(4, grace_seconds=0.1)
    for number in range(3):
        spec = replace(tcp(f"stuck{number}", 1), probe=stuck)
        prober.start(spec, target(spec, 0.1))
    assert len(collect_all(prober, 3)) == 3
    well = [tcp(f"well{number}", silent_port) for number in range(10)]
    for spec in well:
        prober.start(spec, target(spec))
    assert all(verdict.ok for verdict in collect_all(prober, 10).values())


def test_a_probe_for_which_no_thread_is_free_is_not_called_a_failure(stuck: Stuck):
    prober = Prober(1, unstarted_seconds=0.2)
    blocking, waiting = replace(tcp("blocking", 1), probe=stuck), tcp("waiting", 1)
    prober.start(blocking, target(blocking, 20))
    prober.start(waiting, target(waiting))
    assert isinstance(collect_all(prober, 1)["waiting"], CannotTell)


def test_a_probe_given_up_before_it_began_has_a_verdict_each_time_it_is_asked_for(stuck: Stuck):
    prober = Prober(1, unstarted_seconds=0.2)
    blocking, waiting = replace(tcp("blocking", 1), probe=stuck), tcp("waiting", 1)
    prober.start(blocking, target(blocking, 20))
    for _ in range(3):
        prober.start(waiting, target(waiting))
        assert isinstance(collect_all(prober, 1).get("waiting"), CannotTell)
    stuck.release.set()


def test_a_probe_that_raises_is_a_failed_result_that_names_the_error_only(stuck: Stuck):
    stuck.release.set()
    spec = replace(tcp("broken", 1), probe=stuck)
    prober = Prober(1)
    prober.start(spec, target(spec, 5))
    result = collect_all(prober, 1)["broken"]
    assert (result.ok, result.error.text) == (False, "the probe itself failed: RuntimeError")


def test_thresholds_judge_what_was_read(silent_port: int):
    service = Service.model_validate(
        {
            "name": "slow",
            "kind": "tcp",
            "options": {"host": "127.0.0.1", "port": silent_port},
            "thresholds": {"latency_ms": {"warning": 0, "degraded": 0.0001}},
        }
    )
    spec = resolve(service)
    prober = Prober(1)
    prober.start(spec, target(spec))
    result = collect_all(prober, 1)["slow"]
    assert result.ok
    assert result.degraded.startswith("latency_ms is")
