"""What the watchdog repaired is taken into the tables: each move once, with its restarts, and told with its alert."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import catalog, clock
from app.alerts import pipeline
from app.config import settings
from app.health.core import State
from app.infra.db import read_only, unit_of_work
from app.recovery import status, store
from app.recovery.core import Done, Run, Runner, StepState, Verdict, Why
from app.recovery.imported import import_runs, journal_in, link_incidents
from app.recovery.playbooks import Standing, plan
from app.recovery.taking import begun, ended
from tests.recovery.field import PLAYBOOK, Field, service_of
from tests.watchdog.paging import RULES, webhook

ME = UUID(int=1)


@pytest.fixture
def field(play: Any) -> Field:
    found: Field = play.begin(service_of("redis", watched_by='"watchdog"') + PLAYBOOK + webhook() + RULES)
    return found


def planned(**more: Any) -> Run:
    """A run of the watchdog that begins now."""
    current = catalog.current()
    standing = Standing("redis", "tcp", State.DOWN, State.DOWN, since=clock.now(), runner=Runner.WATCHDOG)
    return replace(plan(current.playbooks["restart"], standing, current, clock.now()), **more)


def poking(run: Run) -> Run:
    return begun(run, 0, clock.now(), job_id=ME)


def poked(run: Run) -> Run:
    return ended(run, 0, Done("poked it"), clock.now())


def recovered(run: Run) -> Run:
    now = clock.now()
    return replace(
        run,
        verdict=Verdict.RECOVERED,
        reason=Why.OVER,
        why="the trouble is over",
        ended_at=now,
        over_at=now,
        due_at=None,
    )


def take_in(*runs: Run, told_of: Container[str] = ()) -> None:
    with unit_of_work() as uow:
        import_runs(uow, runs, clock.now(), told_of=told_of)


def kinds(field: Field) -> list[str]:
    return [signal.kind for signal in field.signals("recovery.%")]


def alert(field: Field) -> Any:
    """The alert about the service, handled and told as far as the engine has got."""
    field.work(only="tasks.alerts.on_signal")
    pipeline.run()
    (row,) = field.sql(
        "SELECT e.*, m.acted_at, m.told_at AS member_told_at FROM alert_episodes e"
        " LEFT JOIN alert_group_members m ON m.episode_id = e.id WHERE e.state <> 'resolved'"
    )
    return row


def acted_at(field: Field) -> Any:
    """Since when there is more to tell of the only alert."""
    return field.sql("SELECT acted_at FROM alert_group_members")[0].acted_at


def test_each_move_is_stored_as_it_is_made_and_told_once(field: Field):
    run = planned()
    moves = [run, poking(run)]
    moves.append(poked(moves[-1]))
    moves.append(recovered(moves[-1]))
    told = [
        ["recovery.started"],
        ["recovery.started"],
        ["recovery.started", "recovery.acted"],
        ["recovery.started", "recovery.acted", "recovery.recovered"],
    ]
    for move, kind in zip(moves, told, strict=True):
        for _ in range(2):
            take_in(move)
            assert kinds(field) == kind
        assert field.runs() == [move]


def test_a_run_of_which_nothing_was_known_is_told_whole_and_once(field: Field):
    done = recovered(poked(poking(planned())))
    for _ in range(2):
        take_in(done)
    assert kinds(field) == ["recovery.started", "recovery.acted", "recovery.recovered"]
    assert field.signals("recovery.acted")[0].facts["text"] == "poked it"


def test_its_restarts_count_for_the_engine_at_the_moment_when_they_began(field: Field):
    run = poking(planned())
    began_at = clock.now() - timedelta(minutes=59)
    early = replace(run, steps=(replace(run.steps[0], began_at=began_at), *run.steps[1:]))
    take_in(early)
    take_in(poked(early))
    with read_only() as session:
        assert store.restarts(session, "redis", clock.now()) == (1, 1)
        assert store.restarts(session, "redis", clock.now() + timedelta(minutes=2)) == (0, 0)


def test_a_restart_that_a_guard_refused_is_none(field: Field):
    run = planned()
    now = clock.now()
    refused = replace(run.steps[0], state=StepState.REFUSED, began_at=now, ended_at=now, text="the budget is used up")
    take_in(replace(run, steps=(refused, *run.steps[1:])))
    with read_only() as session:
        assert store.restarts(session, "redis", now) == (0, 0)


def test_what_was_done_stands_in_the_alert_that_is_open(field: Field):
    field.fall("redis")
    assert "actions_taken" not in alert(field).annotations
    take_in(poked(poking(planned())))
    assert alert(field).annotations["actions_taken"].endswith(" poked it")


def test_what_was_done_before_the_alert_opens_stands_in_it_too(field: Field):
    take_in(poked(poking(planned())))
    field.fall("redis")
    assert alert(field).annotations["actions_taken"].endswith(" poked it")


def test_those_who_know_of_the_alert_are_told_unless_the_watchdog_tells_them(field: Field):
    field.fall("redis")
    assert alert(field).member_told_at is not None
    take_in(poked(poking(planned())), told_of={"redis"})
    assert acted_at(field) is None
    take_in(poked(poking(replace(planned(), playbook="another"))))
    assert acted_at(field) is not None


def test_a_failure_is_an_escalation_with_all_that_was_tried(field: Field):
    run = poked(poking(planned()))
    now = clock.now()
    failed = replace(run, verdict=Verdict.ESCALATED, reason=Why.NO_STEPS_LEFT, why="in vain", ended_at=now, due_at=None)
    take_in(failed)
    (signal,) = field.signals("recovery.escalated")
    assert signal.facts["actions"][0].endswith(" poked it")
    assert signal.labels["playbook"] == "restart"


def test_a_run_that_a_person_began_at_the_same_time_gives_way(field: Field):
    by_ann = field.start("restart", "redis")
    mine = poking(planned())
    take_in(mine)
    ours, anns = sorted(field.runs(), key=lambda run: run.id == by_ann)
    assert ours.ended_at is None
    assert (anns.id, anns.verdict, anns.reason) == (by_ann, Verdict.ABORTED, Why.BUSY)
    assert str(mine.id) in anns.why


def test_another_watchdogs_run_does_not_give_way_and_both_are_stored_in_the_end(field: Field):
    theirs, mine = poking(planned()), poking(planned())
    take_in(theirs)
    take_in(mine)
    assert [run.id for run in field.runs()] == [theirs.id]
    take_in(recovered(poked(mine)))
    take_in(recovered(poked(theirs)))
    assert {run.verdict for run in field.runs()} == {Verdict.RECOVERED}
    assert len(field.runs()) == 2


def test_a_run_that_a_person_began_is_taken_on_as_it_is(field: Field):
    by_ann = field.start("restart", "redis")
    (asked,) = field.runs()
    take_in(poking(asked))
    (run,) = field.runs()
    assert (run.id, run.started_by, run.steps[0].state) == (by_ann, "ann", StepState.RUNNING)
    assert kinds(field) == ["recovery.started"]


def test_who_wants_it_aborted_is_not_forgotten(field: Field):
    run = planned()
    take_in(run)
    field.sql("UPDATE recovery_runs SET abort_by = 'ann'")
    take_in(poking(run))
    assert field.runs()[0].abort_by == "ann"


def test_it_belongs_to_the_incident_whichever_is_stored_first(field: Field):
    run = planned()
    take_in(run)
    field.fall("redis")
    (incident,) = field.sql("SELECT id, started_at FROM incidents")
    field.sql("UPDATE recovery_runs SET since = :at", at=incident.started_at)
    with unit_of_work() as uow:
        link_incidents(uow, ["redis"])
    assert field.runs()[0].incident_id == incident.id
    take_in(poking(replace(run, since=incident.started_at)))
    assert field.runs()[0].incident_id == incident.id
    take_in(replace(planned(since=incident.started_at), playbook="another"))
    assert {run.incident_id for run in field.runs()} == {incident.id}


def test_what_was_done_is_known_by_the_file_while_postgres_is_away(field: Field, home: Path):
    assert status.fallback(settings(), clock.now())["action_taken"] == "none"
    old, new = poked(poking(planned(created_at=clock.now() - timedelta(hours=2)))), poked(poking(planned()))
    lines = [store.RUN.dump_json(run).decode() for run in (old, new)]
    journal_in(home).write_text("\n".join([*lines, lines[0][:100]]))
    done = status.fallback(settings(), clock.now())["action_taken"]
    assert done.startswith("redis: ")
    assert done.count("poked it") == 1
