"""Repairs in the watchdog: the engine's playbooks and guards without its servers, over restarts and full disks."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app import catalog, clock
from app.health.core import State
from app.infra import ids
from app.recovery import control
from app.recovery.actions import actions
from app.recovery.control import Stop
from app.recovery.core import Again, Done, Failed, Run, StepState, Verdict, Why
from app.recovery.playbooks import plan
from app.watchdog.copied import AtWork, Copied, Restart
from app.watchdog.sights import Sight
from tests.fixtures.waiting import until
from tests.health.catalogs import use
from tests.watchdog.mending import PLAYBOOK, Ward, service_of


@pytest.fixture
def ward(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ward]]:
    """`ward(parts of the catalogue)`: neither Redis nor Postgres is there."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://smm@127.0.0.1:1/smm")
    known, made = actions(), []

    def begin(*parts: str, playbook: str = PLAYBOOK) -> Ward:
        use(monkeypatch, home, "\n".join(parts or (service_of("redis"),)) + playbook)
        made.append(Ward(home))
        here = made[-1]
        known.update(poke=here.poke, stare=here.stare, nudge=here.nudge)  # type: ignore[arg-type]
        return here

    yield begin
    for each in made:
        for medic in each.medics:
            medic.stop()
    for name in ("poke", "stare", "nudge"):
        known.pop(name, None)


def recovers(ward: Ward) -> None:
    """From now on the look after the restart finds the service up."""

    def stare(work: Any) -> Any:
        ward.see(work.service.name, State.UP)
        return Done("it is up again", healthy=True)

    ward.stare.result = stare


def test_a_fall_is_repaired_step_by_step(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    here.see("redis")
    run = here.ends()
    assert (run.verdict, run.started_by, run.service) == (Verdict.RECOVERED, "signal", "redis")
    assert [(step.action, step.state) for step in run.steps] == [("poke", StepState.DONE), ("stare", StepState.DONE)]
    assert len(here.poke.asked) == 1
    assert run.over_at is not None
    assert here.heard.acts == ["redis"]
    assert here.heard.failures == []
    assert here.changes >= 5
    assert "poked it" in here.journal.lines("redis", clock.now())


def test_a_service_without_a_container_and_one_that_wants_no_repair_are_left_alone(ward: Callable[..., Ward]):
    here = ward(service_of("redis", container=None), service_of("web", recovery="false"))
    here.see("redis")
    here.see("web")
    here.turns()
    assert here.runs() == []


def test_one_run_stands_for_one_trouble_until_it_is_over(ward: Callable[..., Ward]):
    here = ward()
    here.see("redis")
    run = here.ends()
    assert run.verdict is Verdict.ESCALATED
    here.see("redis")
    here.turns()
    assert len(here.runs()) == 1
    here.see("redis", State.UP)
    here.until(lambda: here.run().over_at)
    here.see("redis")
    here.ends(2)
    assert len(here.poke.asked) == 2


def test_what_is_over_meanwhile_ends_the_run_before_its_next_step(ward: Callable[..., Ward]):
    here = ward(playbook=PLAYBOOK.replace('{do = "stare"}', '{do = "stare", after = 3600}'))
    here.see("redis")
    here.until(lambda: here.run().steps[0].state is StepState.DONE)
    here.turns()
    assert here.run().ended_at is None
    here.see("redis", State.UP)
    run = here.ends()
    assert (run.verdict, run.reason) == (Verdict.RECOVERED, Why.OVER)
    assert here.stare.asked == []


def test_a_failure_is_handed_to_whoever_pages_before_it_is_written_down(ward: Callable[..., Ward]):
    here = ward()
    unstored: list[list[Run]] = []
    told = here.heard.fallen

    def fallen(failure: Any) -> None:
        unstored.append([run for run in here.journal.unstored() if run.ended_at is not None])
        told(failure)

    here.heard.fallen = fallen  # type: ignore[method-assign]
    here.see("redis")
    run = here.ends()
    assert unstored[0] == []
    (failure,) = here.heard.failures
    assert failure.run.id == run.id
    assert failure.run.advice == "look at redis"
    here.see("redis", State.UP)
    here.until(lambda: here.heard.over)
    assert here.heard.over == [failure.key]


def test_nobody_is_woken_for_the_failed_repair_of_what_is_only_a_warning(ward: Callable[..., Ward]):
    here = ward(service_of("redis", severity='"warning"'))
    here.see("redis")
    assert here.ends().verdict is Verdict.ESCALATED
    assert here.heard.failures == []


def test_while_recovery_is_stopped_nothing_begins_and_what_was_begun_ends(ward: Callable[..., Ward]):
    here = ward(playbook=PLAYBOOK.replace('{do = "stare"}', '{do = "stare"}, {do = "poke", after = 3600}'))
    control.keep(Stop("2026-01-01T00:00:00.000Z", "ann", "a move"), here.stop_file)
    here.see("redis")
    here.turns()
    assert here.runs() == []
    control.keep(None, here.stop_file)
    here.until(lambda: here.runs() and here.run().steps[1].is_over)
    control.keep(Stop("2026-01-01T00:00:00.000Z", "ann", "a move"), here.stop_file)
    here.age(hours=2)
    run = here.ends()
    assert (run.verdict, run.reason) == (Verdict.REFUSED, Why.STOPPED)
    assert "stopped: by ann" in run.why
    assert len(here.poke.asked) == 1


def test_a_stop_that_only_the_database_knew_counts_as_well(ward: Callable[..., Ward]):
    here = ward()
    here.copied = Copied(stopped=Stop("2026-01-01T00:00:00.000Z", "ann"))
    here.see("redis")
    here.turns()
    assert here.runs() == []


def test_a_dry_run_says_what_it_would_do_and_does_nothing(ward: Callable[..., Ward]):
    here = ward(playbook=PLAYBOOK.replace("[recovery]", "[recovery]\ndry_run = true"))
    here.see("redis")
    run = here.ends()
    assert run.verdict is Verdict.SIMULATED
    assert run.steps[0].text == "would do: poke redis"
    assert here.poke.asked == []
    assert here.heard.failures == []


def test_what_is_still_down_when_dry_runs_are_over_is_repaired(ward: Callable[..., Ward], home: Path, monkeypatch):
    here = ward(playbook=PLAYBOOK.replace("[recovery]", "[recovery]\ndry_run = true"))
    here.see("redis")
    assert here.ends().verdict is Verdict.SIMULATED
    recovers(here)
    use(monkeypatch, home, service_of("redis") + PLAYBOOK)
    assert here.ends(2).verdict is Verdict.RECOVERED


def test_one_that_only_watches_holds_up_no_other(ward: Callable[..., Ward]):
    watching = PLAYBOOK.replace("poke", "nudge").replace('{do = "stare"}', '{do = "stare", after = 3600}')
    here = ward(service_of("redis"), service_of("postgres"), playbook=watching)
    recovers(here)
    here.see("redis")
    here.until(lambda: here.run().steps[0].is_over)
    here.see("postgres")
    here.until(lambda: len(here.runs()) == 2 and here.runs()[1].steps[0].is_over)


def test_the_budget_of_restarts_is_kept_over_restarts_of_the_watchdog(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    for count in range(1, 4):
        here.see("redis")
        assert here.ends(count).verdict is Verdict.RECOVERED
        here.restart()
    here.see("redis")
    run = here.ends(4)
    assert (run.verdict, run.reason) == (Verdict.ESCALATED, Why.BUDGET_OF_SERVICE)
    assert len(here.poke.asked) == 3


def test_a_service_that_flaps_is_in_trouble_for_as_long_as_people_were_told(ward: Callable[..., Ward]):
    here = ward()
    here.see("redis")
    here.ends()
    here.see("redis", State.UP, announced=State.DOWN)
    here.turns()
    here.see("redis")
    here.turns()
    assert len(here.runs()) == 1
    assert here.run().over_at is None


def test_an_hour_later_the_budget_is_there_again(ward: Callable[..., Ward]):
    here = ward(playbook=PLAYBOOK.replace("[recovery]", "[recovery]\nrestarts_per_service = 1"))
    recovers(here)
    here.see("redis")
    here.ends()
    here.age(minutes=61)
    here.see("redis")
    assert here.ends(2).verdict is Verdict.RECOVERED


def test_a_disk_that_takes_nothing_costs_no_repair_and_no_budget_is_exceeded(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    here.path.with_name(f"{here.path.name}.{os.getpid()}").mkdir()
    for count in range(1, 4):
        here.see("redis")
        here.ends(count)
    here.see("redis")
    assert here.ends(4).reason is Why.BUDGET_OF_SERVICE
    assert not here.path.exists()
    assert len(here.poke.asked) == 3


def test_what_the_engine_has_restarted_counts_too(ward: Callable[..., Ward]):
    here = ward()
    now = clock.now()
    others = [Restart(ids.uuid7(), f"other-{number}", now - timedelta(minutes=number)) for number in range(10)]
    here.copied = Copied(restarts=tuple(others))
    here.see("redis")
    assert here.ends().reason is Why.BUDGET_IN_ALL
    assert here.poke.asked == []


def test_its_own_restarts_are_not_counted_twice_when_they_come_back_from_the_tables(ward: Callable[..., Ward]):
    here = ward(playbook=PLAYBOOK.replace("[recovery]", "[recovery]\nrestarts_per_service = 2"))
    recovers(here)
    here.see("redis")
    first = here.ends()
    here.copied = Copied(restarts=(Restart(first.id, "redis", clock.now()),))
    here.see("redis")
    assert here.ends(2).verdict is Verdict.RECOVERED


def test_a_step_that_was_begun_when_the_watchdog_died_is_taken_up_as_one(ward: Callable[..., Ward]):
    here = ward()
    for_ever = threading.Event()
    here.poke.result = lambda work: Done("late") if for_ever.wait(30) else Done("never")
    here.see("redis")
    here.until(lambda: here.poke.asked)
    began_at = here.run().steps[0].began_at
    here.restart()
    here.poke.result = lambda work: Done("it has restarted already")
    recovers(here)
    here.turns()
    assert len(here.poke.asked) == 1  # its service was not seen yet
    here.see("redis")
    run = here.ends()
    for_ever.set()
    first, second = here.poke.asked
    assert first.interrupted_at is None
    assert (second.interrupted_at, second.began_at, second.tries) == (began_at, began_at, 2)
    assert run.verdict is Verdict.RECOVERED
    assert run.steps[0].text == "it has restarted already"


def test_what_another_process_had_begun_is_left_to_the_other_side_for_a_while(ward: Callable[..., Ward]):
    here = ward()
    for_ever = threading.Event()
    here.poke.result = lambda work: Done("late") if for_ever.wait(30) else Done("never")
    here.see("redis")
    here.until(lambda: here.poke.asked)
    here.lease_seconds = 3600
    here.restart()
    here.see("redis")
    here.turns()
    assert len(here.poke.asked) == 1
    here.see("redis", State.UP)
    run = here.ends()
    for_ever.set()
    assert (run.verdict, run.reason) == (Verdict.RECOVERED, Why.OVER)
    assert len(here.poke.asked) == 1


def test_a_step_that_goes_on_is_not_one_that_was_interrupted(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    here.poke.result = lambda work: Again(0.01, "under way", {"far": 1}) if work.tries == 1 else Done("poked it")
    here.see("redis")
    run = here.ends()
    assert [work.interrupted_at for work in here.poke.asked] == [None, None]
    assert here.poke.asked[1].last_detail == {"far": 1}
    assert run.steps[0].tries == 2


def test_a_late_answer_of_a_step_that_was_given_up_changes_nothing(ward: Callable[..., Ward], monkeypatch):
    here = ward()
    monkeypatch.setattr("app.watchdog.medic.GIVEN_UP_SECONDS", 0.1)
    late = threading.Event()
    here.poke.result = lambda work: Done("late") if late.wait(30) else Done("never")
    here.see("redis")
    run = here.ends()
    assert (run.verdict, run.reason) == (Verdict.ESCALATED, Why.STEP_FAILED)
    assert "did not come back" in run.steps[0].text
    late.set()
    here.turns()
    assert "did not come back" in here.run().steps[0].text


def test_a_second_watchdog_of_the_home_repairs_nothing(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    first = here.medic
    first.turn()
    here.begin()
    here.see("redis")
    here.turns()
    assert here.runs() == []


def test_nothing_begins_for_what_hangs_on_a_fallen_service_or_is_in_maintenance(ward: Callable[..., Ward]):
    window = '[{from = 2020-01-01T00:00:00Z, until = 2090-01-01T00:00:00Z, reason = "a move"}]'
    here = ward(
        service_of("redis", container=None),
        service_of("workers", depends_on='["redis"]'),
        service_of("beat", maintenance=window),
    )
    here.see("redis")
    here.see("workers")
    here.see("beat")
    here.turns()
    assert here.runs() == []
    here.see("redis", State.UP)
    assert here.ends().service == "workers"


def test_a_probe_that_told_nothing_begins_nothing(ward: Callable[..., Ward]):
    here = ward()
    here.see("redis", ok=None)
    here.turns()
    assert here.runs() == []


def test_critical_services_are_repaired_one_after_the_other(ward: Callable[..., Ward]):
    here = ward(service_of("redis"), service_of("postgres"))
    hold = threading.Event()
    here.poke.result = lambda work: Done("poked it") if hold.wait(30) else Failed("never")
    here.see("redis")
    here.until(lambda: here.poke.asked)
    here.see("postgres")
    here.until(lambda: len(here.runs()) == 2 and here.runs()[1].waits)
    assert "redis is under repair" in (here.runs()[1].waits or "")
    recovers(here)
    hold.set()
    here.until(lambda: here.runs()[0].ended_at)
    here.age(seconds=10)
    assert here.ends(2).verdict is Verdict.RECOVERED


def test_what_the_engine_is_at_counts_for_a_minute_after_postgres_was_last_heard(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    at_work = (AtWork(ids.uuid7(), "restart", "qdrant", critical=True),)
    here.copied = Copied(at=clock.now(), at_work=at_work)
    here.see("redis")
    here.until(lambda: here.runs() and here.run().waits)
    assert here.poke.asked == []
    here.copied = Copied(at=clock.now() - timedelta(seconds=61), at_work=at_work)
    here.age(seconds=10)
    assert here.ends().verdict is Verdict.RECOVERED


def asked(ward: Ward, **more: Any) -> Run:
    """A run that a person has begun, as its row has it."""
    ward.see("redis", State.UP)
    standing = ward.sights.all()["redis"].standing
    current = catalog.current()
    return plan(current.playbooks["restart"], standing, current, clock.now(), started_by="ann", **more)


def test_a_run_that_a_person_began_is_taken_up_whatever_the_state(ward: Callable[..., Ward]):
    here = ward()
    here.stare.result = lambda work: Done("as it was")
    wanted = asked(here)
    here.copied = Copied(at=clock.now(), asked=(wanted,))
    run = here.ends()
    assert (run.id, run.verdict, run.started_by) == (wanted.id, Verdict.COMPLETED, "ann")
    here.turns()
    assert len(here.poke.asked) == 1  # the copy is a little old, and still has it


def test_what_another_watchdog_repairs_is_left_to_it_until_nobody_moves_it(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    theirs = replace(asked(here), started_by="signal")
    here.copied = Copied(at=clock.now(), asked=(theirs,))
    here.see("redis")
    here.turns()
    assert here.runs() == []
    long_ago = clock.now() - timedelta(minutes=11)
    here.copied = Copied(at=clock.now(), asked=(replace(theirs, created_at=long_ago, due_at=long_ago),))
    assert here.ends().id == theirs.id


def test_a_run_that_a_person_aborts_ends_before_its_next_step(ward: Callable[..., Ward]):
    here = ward(playbook=PLAYBOOK.replace('{do = "stare"}', '{do = "stare", after = 3600}'))
    here.see("redis")
    here.until(lambda: here.run().steps[0].state is StepState.DONE)
    here.copied = Copied(at=clock.now(), asked=(replace(here.run(), abort_by="ann"),))
    run = here.ends()
    assert (run.verdict, run.why) == (Verdict.ABORTED, "aborted by ann")


def test_a_run_whose_service_left_the_catalogue_ends(ward: Callable[..., Ward], home: Path, monkeypatch):
    here = ward(playbook=PLAYBOOK.replace('{do = "stare"}', '{do = "stare", after = 3600}'))
    here.see("redis")
    here.until(lambda: here.run().steps[0].state is StepState.DONE)
    use(monkeypatch, home, service_of("other") + PLAYBOOK)
    here.sights.lost("redis")
    run = here.ends()
    assert (run.verdict, run.reason) == (Verdict.ABORTED, Why.GONE)


def test_a_probe_of_a_run_is_the_watchs_own_and_waits_for_one_that_began_later(ward: Callable[..., Ward]):
    here = ward(playbook=PLAYBOOK.replace('{do = "stare"}', '{do = "probe"}'))
    looked: list[str] = []

    def ask(name: str) -> None:
        looked.append(name)
        old = here.sights.all()[name]
        here.sights.saw(Sight(old.standing, old.probed, True, "too old"))
        here.see(name, State.UP)

    here.sights.use(ask)
    here.see("redis")
    run = here.ends()
    assert looked == ["redis"]
    assert run.verdict is Verdict.RECOVERED
    assert run.steps[1].text == "redis is up again: as seen"


def test_a_watch_that_does_not_answer_leaves_the_question_open(ward: Callable[..., Ward], monkeypatch):
    here = ward(playbook=PLAYBOOK.replace('{do = "stare"}', '{do = "probe", patience = 0}'))
    monkeypatch.setattr("app.watchdog.medic.PROBE_SLACK_SECONDS", -19.9)
    here.see("redis")
    run = here.ends()
    assert run.verdict is Verdict.ESCALATED
    assert "its probe has not answered" in run.steps[1].text


def test_in_its_own_thread_it_acts_as_soon_as_the_watch_has_seen_a_fall(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    here.medic.start()
    here.see("redis")
    until(lambda: here.runs() and here.runs()[0].ended_at, what="the run has ended")
    assert here.run().verdict is Verdict.RECOVERED


def test_a_line_that_a_crash_cut_off_costs_one_run_and_no_more(ward: Callable[..., Ward]):
    here = ward()
    recovers(here)
    for count in (1, 2):
        here.see("redis")
        here.ends(count)
    first, second = here.path.read_bytes().splitlines()
    here.path.write_bytes(first + b"\n" + second[: len(second) // 2])
    here.restart()
    here.turns()
    assert [str(run.id) for run in here.runs()] == [json.loads(first)["id"]]
