"""Runs on a real database: begun by signals, taken step by step, ended and told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.errors import Conflict, NotFound
from app.infra.db import unit_of_work
from app.recovery import control, triggering
from app.recovery.core import Again, Done, Effect, Failed, Run, StepState, Verdict, Why
from tests.recovery.field import PLAYBOOK, service_of


def verdicts(runs: list[Run]) -> list[Verdict | None]:
    return [run.verdict for run in runs]


def test_a_fall_is_answered_by_one_run_that_escalates_with_everything_it_tried(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.fall("qdrant")
    field.work()
    (run,) = field.runs()
    assert (run.verdict, run.reason) == (Verdict.ESCALATED, Why.NO_STEPS_LEFT)
    assert [step.state for step in run.steps] == [StepState.DONE, StepState.DONE]
    assert run.incident_id is not None
    (told,) = field.signals("recovery.escalated")
    assert told.labels == {"service": "qdrant", "kind": "tcp", "severity": "critical", "playbook": "restart"}
    assert told.facts["advice"] == "look at qdrant"
    assert [line[9:] for line in told.facts["actions"]][:2] == ["poked it", "still down"]
    field.look()
    field.see("qdrant", "d", "d")
    field.look()
    assert len(field.runs()) == 1, "one run an incident"


def test_the_next_incident_is_another_one(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    for _ in range(2):
        field.fall("qdrant")
        field.work()
        field.rise("qdrant")
        field.look()
    assert verdicts(field.runs()) == [Verdict.ESCALATED, Verdict.ESCALATED]
    assert all(run.over_at is not None for run in field.runs())


def test_a_service_that_is_back_after_the_restart_is_recovered_and_calm(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.stare.result = lambda work: Done("answers", healthy=True)
    field.fall("qdrant")
    field.work()
    (run,) = field.runs()
    assert run.verdict is Verdict.RECOVERED
    assert [signal.kind for signal in field.signals("recovery.%")] == [
        "recovery.started",
        "recovery.acted",
        "recovery.recovered",
    ]


def test_what_comes_back_in_the_middle_of_a_run_needs_no_further_step(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK.replace("after = 0", "after = 30"))
    field.fall("qdrant")
    field.work()
    field.rise("qdrant")
    field.age(seconds=31)
    field.work()
    (run,) = field.runs()
    assert run.verdict is Verdict.RECOVERED
    assert not field.stare.asked


def test_a_wait_is_a_job_of_its_own_that_no_worker_sleeps_for(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK.replace("after = 0", "after = 30"))
    field.fall("qdrant")
    field.work()
    (waiting,) = field.sql("SELECT state, not_before - now() AS wait FROM jobs WHERE task = 'tasks.recovery.advance'")
    assert waiting.state == "scheduled"
    assert 25 < waiting.wait.total_seconds() <= 30


def test_a_broken_service_is_restarted_three_times_an_hour_and_then_a_person_is_told(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    for _ in range(5):
        field.fall("qdrant")
        field.work()
        field.rise("qdrant")
        field.look()
    assert len(field.poke.asked) == 3
    assert [run.reason for run in field.runs()] == [Why.NO_STEPS_LEFT] * 3 + [Why.BUDGET_OF_SERVICE] * 2
    field.age(minutes=61)
    field.fall("qdrant")
    field.work()
    assert len(field.poke.asked) == 4


def test_the_budget_of_the_stack_counts_over_all_services(play: Any) -> None:
    field = play.begin(
        "".join(service_of(f"s{number}") for number in range(4))
        + PLAYBOOK.replace("cooldown = 0", "cooldown = 0\nrestarts_in_all = 2")
    )
    for number in range(4):
        field.fall(f"s{number}")
        field.work()
    assert len(field.poke.asked) == 2
    assert [run.reason for run in field.runs()][2:] == [Why.BUDGET_IN_ALL] * 2


def test_two_critical_services_are_never_repaired_at_once(play: Any) -> None:
    field = play.begin(
        service_of("one", severity='"critical"')
        + service_of("two", severity='"critical"')
        + service_of("third")
        + PLAYBOOK.replace("after = 0", "after = 30")
    )
    for name in ("one", "two", "third"):
        field.fall(name)
    field.work()
    assert [work.run.service for work in field.poke.asked] == ["one", "third"]
    (waiting,) = field.runs("two")
    assert waiting.waits == "one is under repair, and so few critical services may be at once"
    field.age(seconds=31)
    field.work()
    field.age(seconds=6)
    field.work()
    assert [work.run.service for work in field.poke.asked] == ["one", "third", "two"]


def test_a_run_that_only_watches_keeps_no_other_from_repairing_a_fall(play: Any) -> None:
    field = play.begin(
        service_of("qdrant")
        + PLAYBOOK
        + '[playbooks.pressure]\non = "health.warning"\nsteps = [{do = "poke", word = "more"}, {do = "stare"}]\n'
    )
    field.stare.result = lambda work: Again(600, "watches")
    field.poke.EFFECT = Effect.CHANGE
    field.see("qdrant", "u", readings={"latency_ms": 99}, latency_ms="warning")
    field.work()
    field.poke.EFFECT = Effect.RESTART
    field.fall("qdrant")
    field.work()
    assert [(work.run.playbook, work.run.service) for work in field.poke.asked] == [
        ("pressure", "qdrant"),
        ("restart", "qdrant"),
    ]


def test_a_symptom_is_left_alone_while_its_cause_is_down(play: Any) -> None:
    field = play.begin(service_of("db") + service_of("shop", depends_on='["db"]') + PLAYBOOK)
    field.fall("db")
    field.fall("shop")
    field.work()
    assert [run.service for run in field.runs()] == ["db"]
    field.rise("db")
    field.look()
    assert [run.service for run in field.runs()] == ["db", "shop"]


def test_a_container_that_may_not_be_restarted_is_a_matter_for_people(play: Any) -> None:
    field = play.begin(service_of("forbidden") + PLAYBOOK)
    field.fall("forbidden")
    field.work()
    (run,) = field.runs()
    assert (run.verdict, run.reason, run.why) == (Verdict.ESCALATED, Why.FORBIDDEN, "nobody may poke that")
    assert not field.poke.asked


def test_in_maintenance_nothing_begins_and_afterwards_what_is_still_down_is_taken_up(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    text = service_of("qdrant", maintenance=window()) + PLAYBOOK
    play.begin(text)
    field.fall("qdrant")
    field.work()
    assert field.runs() == []
    play.begin(service_of("qdrant") + PLAYBOOK)
    field.look()
    assert verdicts(field.runs()) == [Verdict.ESCALATED]


def window() -> str:
    now = datetime.now(UTC)
    begin, until = now - timedelta(hours=1), now + timedelta(hours=1)
    return f'[{{from = {begin:%Y-%m-%dT%H:%M:%SZ}, until = {until:%Y-%m-%dT%H:%M:%SZ}, reason = "a move"}}]'


def test_a_dry_run_says_what_it_would_do(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK.replace("cooldown = 0", "cooldown = 0\ndry_run = true"))
    field.fall("qdrant")
    field.work()
    (run,) = field.runs()
    assert run.verdict is Verdict.SIMULATED
    assert run.steps[0].text == "would do: poke claw-qdrant"
    assert not field.poke.asked
    assert not field.signals("recovery.escalated")


class TestTheStop:
    def test_nothing_begins_while_all_is_stopped_and_all_goes_on_after_it(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        with unit_of_work() as uow:
            control.stop(uow, by="ann", reason="a move", now=datetime.now(UTC))
        kept = control.kept(control.stop_file())
        assert kept is not None
        assert kept.reason == "a move"
        field.fall("qdrant")
        field.work()
        field.look()
        assert field.runs() == []
        with unit_of_work() as uow:
            control.resume(uow, by="ann", now=datetime.now(UTC))
        assert control.kept(control.stop_file()) is None
        field.look()
        assert verdicts(field.runs()) == [Verdict.ESCALATED]

    def test_a_run_under_way_changes_nothing_any_more(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        field.fall("qdrant")
        (signal,) = field.sql("SELECT id FROM jobs WHERE task = 'tasks.recovery.on_signal'")
        field.run_job(signal.id)
        with unit_of_work() as uow:
            control.stop(uow, by="ann", reason="", now=datetime.now(UTC))
        field.work()
        (run,) = field.runs()
        assert (run.verdict, run.reason) == (Verdict.REFUSED, Why.STOPPED)
        assert not field.poke.asked


class TestPeople:
    def test_a_person_starts_a_run_of_a_service_that_is_well(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        field.rise("qdrant")
        field.stare.result = lambda work: Done("answers", healthy=True)
        field.start("restart", "qdrant")
        field.work()
        (run,) = field.runs()
        assert (run.verdict, run.started_by) == (Verdict.RECOVERED, "ann")

    def test_the_same_playbook_runs_once_at_a_time_for_a_service(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        first = field.start("restart", "qdrant")
        with pytest.raises(Conflict, match=str(first)):
            field.start("restart", "qdrant")

    @pytest.mark.parametrize(("playbook", "service"), [("restrat", "qdrant"), ("restart", "qdrnt")])
    def test_what_the_catalogue_does_not_have_is_named_with_what_was_meant(
        self, play: Any, playbook: str, service: str
    ) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        with pytest.raises(NotFound, match="did you mean"):
            field.start(playbook, service)

    def test_an_abort_ends_a_run_that_waits(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK.replace("after = 0", "after = 3000"))
        field.fall("qdrant")
        field.work()
        (run,) = field.runs()
        with unit_of_work() as uow:
            control.abort(uow, run.id, by="ann")
        field.work()
        (run,) = field.runs()
        assert (run.verdict, run.why) == (Verdict.ABORTED, "aborted by ann")
        field.look()
        assert len(field.runs()) == 1, "nobody wanted it repaired"


class TestDyingWorkers:
    def test_a_worker_that_died_in_the_middle_of_a_step_leaves_word_of_it(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        died: list[bool] = []

        def dies_once(work: Any) -> Any:
            if not died:
                died.append(True)
                raise SystemExit  # nothing in the process records anything after this
            return Done("poked it before") if work.interrupted_at else Failed("it was not told")

        field.poke.result = dies_once
        field.fall("qdrant")
        with pytest.raises(SystemExit):
            field.work()
        (running,) = field.sql("SELECT id FROM jobs WHERE task = 'tasks.recovery.advance'")
        field.sql("UPDATE jobs SET state = 'rung', lease_until = NULL, worker = NULL WHERE id = :id", id=running.id)
        field.work()
        (run,) = field.runs()
        assert run.steps[0].text == "poked it before"
        assert run.steps[0].tries == 2
        assert field.sql("SELECT count(*) AS n FROM recovery_restarts")[0].n == 1, "one restart, counted once"

    def test_a_run_whose_job_was_lost_is_taken_up_by_the_tick(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        field.fall("qdrant")
        (signal,) = field.sql("SELECT id FROM jobs WHERE task = 'tasks.recovery.on_signal'")
        field.run_job(signal.id)
        field.sql("DELETE FROM jobs WHERE task = 'tasks.recovery.advance'")
        field.age(seconds=30)
        field.look()
        assert verdicts(field.runs()) == [Verdict.ESCALATED]

    def test_a_second_doorbell_of_the_same_run_does_nothing_twice(self, play: Any) -> None:
        field = play.begin(service_of("qdrant") + PLAYBOOK)
        field.fall("qdrant")
        (signal,) = field.sql("SELECT id FROM jobs WHERE task = 'tasks.recovery.on_signal'")
        field.run_job(signal.id)
        (run,) = field.runs()
        with unit_of_work() as uow:
            for _ in range(3):
                triggering.ring_now(uow, run)
        field.work()
        assert len(field.poke.asked) == 1


def test_a_signal_that_was_missed_is_made_up_for_by_the_tick(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.fall("qdrant")
    field.sql("DELETE FROM jobs")
    field.look()
    assert verdicts(field.runs()) == [Verdict.ESCALATED]


def test_a_warning_starts_its_playbook_and_ends_it_when_it_is_gone(play: Any) -> None:
    field = play.begin(
        service_of("qdrant").replace("container", "#")
        + PLAYBOOK.replace('on = "health.down"', 'on = "health.warning"').replace(
            'unless = {"service.container" = ""}', 'when = {"facts.levels.latency_ms" = "warning"}'
        )
    )
    field.stare.result = lambda work: Again(5, "still slow")
    field.see("qdrant", "u", readings={"latency_ms": 99}, latency_ms="warning")
    field.work()
    (run,) = field.runs()
    assert run.verdict is None
    field.see("qdrant", "u")
    field.age(seconds=6)
    field.work()
    assert verdicts(field.runs()) == [Verdict.RECOVERED]


def test_a_playbook_that_changed_under_a_run_is_not_the_one_that_was_begun(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    field.fall("qdrant")
    (signal,) = field.sql("SELECT id FROM jobs WHERE task = 'tasks.recovery.on_signal'")
    field.run_job(signal.id)
    play.begin(service_of("qdrant") + PLAYBOOK.replace("{service.container}", "something-else"))
    field.work()
    (run,) = field.runs()
    assert run.verdict is Verdict.ESCALATED
    assert "was changed" in run.why
    assert not field.poke.asked


def test_a_service_that_left_the_catalogue_ends_its_run(play: Any) -> None:
    field = play.begin(service_of("qdrant") + service_of("other") + PLAYBOOK)
    field.fall("qdrant")
    (signal,) = field.sql("SELECT id FROM jobs WHERE task = 'tasks.recovery.on_signal'")
    field.run_job(signal.id)
    play.begin(service_of("other") + PLAYBOOK)
    field.work()
    assert verdicts(field.runs()) == [Verdict.ABORTED]


def test_an_action_that_raises_is_a_failed_step_and_the_run_comes_to_its_end(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)

    def breaks(work: Any) -> Any:
        raise RuntimeError("oh no")

    field.poke.result = breaks
    field.fall("qdrant")
    field.work()
    (run,) = field.runs()
    assert run.verdict is Verdict.ESCALATED
    assert "the action itself failed: RuntimeError" in run.why


def test_what_the_watchdog_watches_is_left_to_the_watchdog(play: Any) -> None:
    field = play.begin(service_of("qdrant", watched_by='"watchdog"') + PLAYBOOK)
    field.fall("qdrant")
    field.work()
    field.look()
    assert field.runs() == []
