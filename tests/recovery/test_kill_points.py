"""A worker dies wherever it can, and hosts differ in time: no restart happens twice, and every run ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.infra.db import unit_of_work
from app.recovery import control, running, sweeping
from app.recovery.acting import Work
from app.recovery.core import Again, Done, Run, StepState, Verdict, Why
from app.recovery.running import MOST_DEATHS
from tests.recovery.field import PLAYBOOK, Field, service_of


class Killed(BaseException):
    """The process is gone: nobody records anything after this."""


@dataclass
class Container:
    """What a restart really does, told by its own marks and by nobody's memory."""

    started: list[str] = dataclasses.field(default_factory=list)

    def restart(self, work: Work) -> Done:
        if work.key not in self.started:
            self.started.append(work.key)
        elif work.interrupted_at is None:
            raise AssertionError("restarted twice, and nobody said that a try was interrupted")
        return Done("restarted")


def in_the_hands_of(play: Any, text: str = PLAYBOOK) -> Field:
    begun: Field = play.begin(service_of("qdrant") + text)
    begun.fall("qdrant")
    (signal,) = begun.sql("SELECT id FROM jobs WHERE task = 'tasks.recovery.on_signal'")
    begun.run_job(signal.id)
    return begun


def until_the_end(field: Field) -> Run:
    """Workers die, leases run out, ticks pass."""
    for _ in range(60):
        try:
            field.work()
        except Killed:
            field.sql("UPDATE jobs SET state = 'rung', lease_until = NULL, worker = NULL WHERE state = 'running'")
        field.age(seconds=25)
        sweeping.look()
        (run,) = field.runs()
        if run.ended_at is not None:
            return run
    raise AssertionError("the run hangs")


@contextmanager
def dying(patch: pytest.MonkeyPatch, name: str, when: str) -> Iterator[None]:
    """Kill the process the first time that it comes past a place of `running`."""
    real, died = getattr(running, name), False

    def dies(*given: Any, **named: Any) -> Any:
        nonlocal died
        found = real(*given, **named) if died or when == "after" else None
        if not died:
            died = True
            raise Killed
        return found

    with patch.context() as only:
        only.setattr(running, name, dies)
        yield
    assert died


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["decide_all", "begun", "act", "ended", "settle", "_leave"])
def test_a_run_ends_wherever_its_worker_died(play: Any, monkeypatch: pytest.MonkeyPatch, name: str, when: str) -> None:
    container, field = Container(), in_the_hands_of(play)
    field.poke.result = container.restart
    with dying(monkeypatch, name, when):
        run = until_the_end(field)
    assert run.verdict is Verdict.ESCALATED
    assert [step.state for step in run.steps] == [StepState.DONE] * 2
    assert len(container.started) == 1
    assert field.sql("SELECT count(*) AS n FROM recovery_restarts")[0].n == 1
    assert [len(field.signals(f"recovery.{kind}")) for kind in ("started", "acted", "escalated")] == [1, 1, 1]


def test_a_restart_whose_worker_died_right_after_it_counts(play: Any) -> None:
    field = in_the_hands_of(play)

    def dies(work: Work) -> Done:
        raise Killed

    field.poke.result = dies
    with pytest.raises(Killed):
        field.work()
    assert field.sql("SELECT count(*) AS n FROM recovery_restarts")[0].n == 1


def test_a_step_that_kills_every_worker_is_given_up(play: Any) -> None:
    field = in_the_hands_of(play)

    def kills(work: Work) -> Done:
        raise Killed

    field.poke.result = kills
    run = until_the_end(field)
    assert (run.verdict, run.reason) == (Verdict.ESCALATED, Why.STEP_FAILED)
    assert len(field.poke.asked) == MOST_DEATHS
    assert "never came back" in run.why


@pytest.mark.parametrize("ahead", [timedelta(minutes=-20), timedelta(minutes=20)])
def test_a_worker_whose_clock_is_wrong_tells_how_long_a_step_has_lasted(
    play: Any, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    field = in_the_hands_of(play)
    lasted: list[float] = []

    def looks(work: Work) -> Any:
        lasted.append((work.now - work.began_at).total_seconds())
        return Again(60, "goes on") if len(lasted) == 1 else Done("poked")

    field.poke.result = looks
    here = clock.now
    monkeypatch.setattr(clock, "now", lambda: here() + ahead)
    field.work()
    field.age(seconds=61)
    field.work()
    assert 0 <= lasted[0] < 5
    assert 60 <= lasted[1] < 70


def test_an_abort_in_the_middle_of_a_step_lets_the_step_end_and_nothing_follow(play: Any) -> None:
    field = in_the_hands_of(play)

    def aborted(work: Work) -> Done:
        with unit_of_work() as uow:
            control.abort(uow, work.run.id, by="ann")
        return Done("poked")

    field.poke.result = aborted
    field.work()
    (run,) = field.runs()
    assert (run.verdict, [step.state for step in run.steps]) == (
        Verdict.ABORTED,
        [StepState.DONE, StepState.SKIPPED],
    )
    assert not field.stare.asked
