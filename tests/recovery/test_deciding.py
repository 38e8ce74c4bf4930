"""What a run does next: its guards, its waits, its verdicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recovery.core import (
    Again,
    Decision,
    Done,
    Effect,
    Failed,
    Limits,
    Look,
    Result,
    Run,
    StepRun,
    StepState,
    Verdict,
    Why,
)
from app.recovery.deciding import decide
from app.recovery.taking import begun, ended
from tests.recovery.runs import JOB, T0, at, probe, run_of, step

DOWN = Look(over=False)
UP = Look(over=True)


def settled(run: Run, look: Look, now: datetime) -> Decision:
    """Ask until there is something to do, to wait for, or nothing left."""
    for _ in range(200):
        decision = decide(run, look, now)
        run = decision.run
        if decision.act is not None or run.ended_at is not None or (run.due_at is not None and run.due_at > now):
            return decision
    raise AssertionError("it never comes to anything")


def taken(run: Run, place: int, result: Result, now: datetime) -> Run:
    return ended(begun(run, place, now, job_id=JOB), place, result, now)


def test_the_first_step_is_taken_at_once() -> None:
    assert settled(run_of(), DOWN, T0).act == 0


def test_a_step_that_waits_is_taken_when_its_time_has_come() -> None:
    run = taken(run_of(), 0, Done("restarted"), at(2))
    waiting = settled(run, DOWN, at(3))
    assert waiting.act is None
    assert waiting.run.due_at == at(32)
    assert settled(waiting.run, DOWN, at(32)).act == 1


def test_a_probe_that_passes_ends_the_run_as_recovered() -> None:
    run = taken(run_of(), 0, Done("restarted"), at(2))
    run = taken(run, 1, Done("answers", healthy=True), at(33))
    found = settled(run, DOWN, at(33)).run
    assert (found.verdict, found.reason, found.ended_at, found.over_at) == (
        Verdict.RECOVERED,
        Why.PROBE_PASSES,
        at(33),
        at(33),
    )


def test_a_probe_that_fails_ends_the_run_as_escalated_and_it_stands_until_the_trouble_is_over() -> None:
    run = taken(run_of(), 0, Done("restarted"), at(2))
    run = taken(run, 1, Done("still down", healthy=False), at(33))
    found = settled(run, DOWN, at(33)).run
    assert (found.verdict, found.reason, found.over_at) == (Verdict.ESCALATED, Why.NO_STEPS_LEFT, None)
    assert found.ended_at == at(33)


def test_what_recovers_by_itself_before_anything_was_done_is_left_alone() -> None:
    found = settled(run_of(), UP, at(1)).run
    assert found.verdict is Verdict.BY_ITSELF
    assert [one.state for one in found.steps] == [StepState.SKIPPED, StepState.SKIPPED]


def test_what_recovers_in_the_middle_of_the_run_needs_no_further_step() -> None:
    run = taken(run_of(), 0, Done("restarted"), at(2))
    found = settled(run, UP, at(10)).run
    assert found.verdict is Verdict.RECOVERED
    assert [one.state for one in found.steps] == [StepState.DONE, StepState.SKIPPED]


def test_a_failed_step_escalates_with_its_words() -> None:
    found = settled(taken(run_of(), 0, Failed("no such container"), at(1)), DOWN, at(1)).run
    assert found.verdict is Verdict.ESCALATED
    assert "no such container" in found.why
    assert found.steps[1].state is StepState.SKIPPED


def test_a_failed_step_that_may_fail_lets_the_run_go_on() -> None:
    run = run_of(step(0, "evict_keys", Effect.CHANGE, escalates=False), step(1, "raise_maxmemory", Effect.CHANGE))
    assert settled(taken(run, 0, Failed("nothing to evict"), at(1)), DOWN, at(1)).act == 1


@pytest.mark.parametrize(
    ("look", "verdict", "reason"),
    [
        (Look(stopped="by ann since noon"), Verdict.REFUSED, Why.STOPPED),
        (Look(maintenance="moving house"), Verdict.REFUSED, Why.MAINTENANCE),
        (Look(forbidden="x is none that recovery.containers allows"), Verdict.ESCALATED, Why.FORBIDDEN),
        (Look(restarts=3), Verdict.ESCALATED, Why.BUDGET_OF_SERVICE),
        (Look(restarts_in_all=10), Verdict.ESCALATED, Why.BUDGET_IN_ALL),
        (Look(gone="the catalogue has no service qdrant any more"), Verdict.ABORTED, Why.GONE),
    ],
)
def test_a_guard_refuses_with_its_reason(look: Look, verdict: Verdict, reason: Why) -> None:
    found = settled(run_of(), look, T0).run
    assert (found.verdict, found.reason) == (verdict, reason)
    assert not found.acted
    assert found.ended_at == T0


@pytest.mark.parametrize(
    ("look", "reason", "lasting"),
    [
        (Look(cause="stack-postgres"), Why.CAUSE_IS_DOWN, Verdict.EXPLAINED),
        (Look(busy="cache-eviction"), Why.BUSY, Verdict.ESCALATED),
        (Look(others=("redis",)), Why.OTHER_REPAIR, Verdict.ESCALATED),
    ],
)
def test_a_guard_postpones_for_as_long_as_patience_lasts(look: Look, reason: Why, lasting: Verdict) -> None:
    waiting = settled(run_of(severity="critical"), look, T0).run
    assert (waiting.verdict, waiting.reason, waiting.waits_since) == (None, reason, T0)
    assert waiting.due_at is not None
    assert T0 < waiting.due_at <= at(10)
    still = settled(waiting, look, at(239)).run
    assert still.verdict is None
    assert settled(still, look, at(241)).run.verdict is lasting
    assert settled(still, DOWN, at(200)).act == 0


def test_what_is_not_critical_waits_for_no_other_repair() -> None:
    assert settled(run_of(), Look(others=("redis",)), T0).act == 0


def test_a_run_waits_out_its_cooldown_however_long_that_is() -> None:
    look = Look(last_ended_at=at(-10), limits=Limits(cooldown=timedelta(hours=1), patience=timedelta(seconds=5)))
    waiting = settled(run_of(), look, T0).run
    assert waiting.due_at == at(3590)
    assert settled(waiting, look, at(3590)).act == 0


def test_a_cooldown_uses_up_no_patience() -> None:
    look = Look(last_ended_at=at(-10), limits=Limits(cooldown=timedelta(hours=1)))
    cooled = settled(run_of(severity="critical"), look, T0).run
    waiting = settled(cooled, Look(others=("redis",)), at(3590)).run
    assert (waiting.verdict, waiting.reason) == (None, Why.OTHER_REPAIR)


def test_a_dry_run_says_everything_and_does_nothing() -> None:
    found = settled(run_of(dry_run=True), DOWN, T0).run
    assert found.verdict is Verdict.SIMULATED
    assert [one.state for one in found.steps] == [StepState.SIMULATED, StepState.SIMULATED]
    assert "would do" in found.steps[0].text


def test_a_dry_run_is_refused_what_a_real_one_is_refused() -> None:
    assert settled(run_of(dry_run=True), Look(restarts=3), T0).run.reason is Why.BUDGET_OF_SERVICE


def test_what_a_dry_run_is_refused_is_no_matter_for_people() -> None:
    found = settled(run_of(dry_run=True), Look(forbidden="not allowed"), T0).run
    assert (found.verdict, found.reason, found.why) == (Verdict.SIMULATED, Why.FORBIDDEN, "not allowed")


def test_what_was_only_said_or_refused_has_changed_nothing() -> None:
    run = decide(run_of(step(), step(1), dry_run=True), DOWN, T0).run
    assert settled(run, UP, T0).run.verdict is Verdict.BY_ITSELF


@pytest.mark.parametrize("look", [Look(stopped="by ann"), Look(maintenance="a move")])
def test_the_end_undoes_whatever_is_stopped_but_restarts_nothing(look: Look) -> None:
    run = run_of(step(0, "poke", Effect.CHANGE), step(1, last=True), step(2, "undo", Effect.CHANGE, last=True))
    found = settled(taken(run, 0, Failed("no"), at(1)), look, at(1))
    assert found.run.steps[1].state is StepState.REFUSED
    assert found.act == 2


def test_a_step_that_is_refused_after_it_had_begun_keeps_its_beginning() -> None:
    run = taken(run_of(), 0, Again(5, "the engine is at it"), at(1))
    refused = settled(run, Look(stopped="by ann"), at(9)).run.steps[0]
    assert (refused.state, refused.began_at, refused.ended_at) == (StepState.REFUSED, at(1), at(9))


def test_an_abort_ends_the_run_before_its_next_step() -> None:
    run = replace(taken(run_of(), 0, Done("restarted"), at(2)), abort_by="ann")
    found = settled(run, DOWN, at(3)).run
    assert (found.verdict, found.why) == (Verdict.ABORTED, "aborted by ann")


def test_steps_of_the_end_are_taken_whatever_came_of_the_run() -> None:
    run = run_of(step(), step(1, "resume_operations", Effect.CHANGE, last=True))
    failed = taken(run, 0, Failed("no such container"), at(1))
    stopped = Look(stopped="by ann")
    last = settled(failed, stopped, at(1))
    assert last.act == 1
    done = settled(taken(last.run, 1, Done("resumed"), at(2)), stopped, at(2)).run
    assert (done.verdict, done.ended_at) == (Verdict.ESCALATED, at(2))


def test_a_failure_at_the_end_does_not_change_the_verdict() -> None:
    run = run_of(step(), step(1, "resume_operations", Effect.CHANGE, last=True))
    over = settled(taken(run, 0, Done("restarted", healthy=True), at(1)), DOWN, at(1))
    assert over.act == 1
    done = settled(taken(over.run, 1, Failed("no database"), at(2)), DOWN, at(2)).run
    assert done.verdict is Verdict.RECOVERED


def test_a_restart_that_was_begun_is_brought_to_its_end_whatever_the_budget_says() -> None:
    run = begun(run_of(), 0, T0, job_id=JOB)
    assert settled(run, Look(restarts=3, restarts_in_all=10, others=("redis",)), at(40)).act == 0


def test_a_step_that_goes_on_is_taken_again_after_its_wait() -> None:
    run = run_of(probe(0, after=0))
    run = taken(run, 0, Again(30, "still slow"), at(1))
    assert run.steps[0].state is StepState.RUNNING
    assert run.steps[0].job_id is None
    waiting = settled(run, DOWN, at(2))
    assert (waiting.act, waiting.run.due_at) == (None, at(31))
    again = settled(waiting.run, DOWN, at(31))
    assert again.act == 0
    assert begun(again.run, 0, at(31), job_id=JOB).steps[0].began_at == at(1)


def test_where_nothing_tells_whether_it_helped_all_steps_taken_is_the_end() -> None:
    run = run_of(step(0, "call_webhook", Effect.CHANGE))
    found = settled(taken(run, 0, Done("called"), at(1)), Look(over=None), at(1)).run
    assert found.verdict is Verdict.COMPLETED


LOOKS = st.builds(
    Look,
    over=st.sampled_from([True, False, False, False, None]),
    gone=st.sampled_from([None] * 9 + ["gone"]),
    stopped=st.sampled_from([None] * 5 + ["by ann"]),
    maintenance=st.sampled_from([None] * 5 + ["a window"]),
    cause=st.sampled_from([None, None, "postgres"]),
    busy=st.sampled_from([None, None, "another"]),
    others=st.sampled_from([(), (), ("redis",)]),
    forbidden=st.sampled_from([None] * 5 + ["not allowed"]),
    restarts=st.integers(0, 4),
    restarts_in_all=st.integers(0, 11),
    last_ended_at=st.sampled_from([None, at(-30), at(100)]),
)
RESULTS = st.one_of(
    st.builds(Done, st.just("done"), healthy=st.sampled_from([None, True, False])),
    st.builds(Failed, st.just("failed")),
    st.builds(Again, st.floats(1, 60), st.just("goes on")),
)


@st.composite
def some_steps(draw: st.DrawFn) -> tuple[StepRun, ...]:
    count, last = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    return tuple(
        step(
            place,
            "anything",
            draw(st.sampled_from(Effect)),
            after_seconds=draw(st.sampled_from([0, 30])),
            escalates=draw(st.booleans()),
            last=place >= count,
        )
        for place in range(count + last)
    )


@given(steps=some_steps(), critical=st.booleans(), dry=st.booleans(), data=st.data())
def test_whatever_happens_a_run_ends_and_keeps_to_its_guards(
    steps: tuple[StepRun, ...], critical: bool, dry: bool, data: st.DataObject
) -> None:
    run = run_of(*steps, severity="critical" if critical else "error", dry_run=dry)
    now, acts = T0, 0
    for _ in range(3000):
        look = data.draw(LOOKS) if acts < 30 else Look(over=True)
        had = run.verdict
        decision = decide(run, look, now)
        run = decision.run
        assert had is None or run.verdict is had, "a verdict stays"
        if run.ended_at is not None:
            break
        if decision.act is not None:
            acts += 1
            taking = run.steps[decision.act]
            assert not run.dry_run
            assert run.verdict is None or taking.last
            if taking.effect is not Effect.NONE and not taking.last:
                assert (look.stopped, look.maintenance, look.forbidden, look.gone) == (None, None, None, None)
            if taking.effect is Effect.RESTART and taking.began_at is None:
                assert look.restarts < 3
                assert look.restarts_in_all < 10
            result: Result = data.draw(RESULTS) if acts < 30 else Done("done")
            run = taken(run, decision.act, result, now)
        assert run.due_at is not None
        now = max(now, run.due_at) + timedelta(milliseconds=1)
    assert run.ended_at is not None
    assert run.verdict is not None
    assert all(one.is_over for one in run.steps)
