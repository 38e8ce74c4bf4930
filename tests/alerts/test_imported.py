"""What the watchdog told is taken in: nobody is told twice, the ladder goes on, and what failed is the engine's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import catalog, clock, signals
from app.alerts import imported, pipeline, raising
from app.alerts.imported import Call, Page, PageState, import_calls
from app.health import record, sync_catalog
from app.infra import ids
from app.infra.db import read_only, unit_of_work
from app.watchdog import planning
from app.watchdog.falls import Fall
from tests.alerts.pipe import Pipe
from tests.health.catalogs import use
from tests.watchdog import paging
from tests.watchdog.paging import RULES, service, webhook

CATALOG = service() + service("postgres") + webhook() + webhook(name="second") + RULES
HANDLER = "tasks.alerts.on_signal"


@pytest.fixture
def pipe(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """A pipeline over a fresh database, whose beat the test is."""
    use(monkeypatch, home, CATALOG)
    importlib.import_module("tasks.celery").compose()
    with unit_of_work() as uow:
        sync_catalog(uow, catalog.current())
    return Pipe()


def called(fallen: Fall, **told: Any) -> Call:
    """The watchdog's call of this fall, and how far its page is."""
    (call,) = planning.plan(fallen, paging.look()).calls
    return with_page(call, **told) if told else call


def with_page(call: Call, **told: Any) -> Call:
    return replace(call, pages=(replace(call.pages[0], **told), *call.pages[1:]))


def delivered(**more: Any) -> dict[str, Any]:
    now = clock.now()
    return {
        "state": PageState.DELIVERED,
        "attempts": 1,
        "sent_at": now,
        "finished_at": now,
        "http_status": 200,
        "provider_id": "remote-1",
        "latency_ms": 12.0,
        **more,
    }


def take_in(*calls: Call) -> set[UUID]:
    with unit_of_work() as uow:
        return import_calls(uow, calls, clock.now())


def store(fallen: Fall, *more: tuple[str, Any]) -> None:
    """The recorder's work: the results that made it fall, and more."""
    with unit_of_work() as uow:
        record(uow, [*paging.results_of(fallen), *more], source="watchdog", in_maintenance=lambda *_: False)


def engine_learns(*, newest_first: bool = False) -> None:
    """Every signal so far is handled."""
    with read_only() as session:
        found = signals.timeline(session, kind="health.*")
    for signal in found if newest_first else found[::-1]:
        with unit_of_work() as uow:
            raising.apply(uow, signal, catalog.current().telling, handler=HANDLER, now=clock.now())


def rows(pipe: Pipe) -> Any:
    return pipe.sql("SELECT * FROM notifications ORDER BY reason, id")


def recovered(fallen: Fall) -> list[tuple[str, Any]]:
    at = fallen.result.started_at
    return [(fallen.spec.name, paging.well(at + timedelta(seconds=second))) for second in (5, 10)]


def test_a_page_that_arrived_is_not_told_again_and_the_ladder_goes_on(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen, **delivered())
    take_in(call)
    store(fallen)
    engine_learns()
    pipe.run()
    (episode,) = pipe.sql("SELECT * FROM alert_episodes")
    (group,) = pipe.groups()
    assert (episode.state, episode.rule, episode.subject) == ("firing", "SMM_ServiceDown", "redis")
    assert episode.told_at is not None
    assert (group.told_count, group.step, group.thread) == (1, 0, call.thread)
    assert group.waiting_since == group.told_at == call.told_at
    (row,) = rows(pipe)
    assert (row.id, row.reason, row.state, row.source, row.provider_id) == (
        call.pages[0].id,
        "first",
        "delivered",
        "watchdog",
        "remote-1",
    )
    assert row.message == dict(call.pages[0].message)
    pipe.later(minutes=29)
    assert pipe.told() == [("first", "ops")]
    pipe.later(minutes=2)
    assert pipe.told() == [("first", "ops"), ("escalated", "ops")]


def test_the_end_is_told_by_the_engine_in_the_same_thread(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen, **delivered())
    take_in(call)
    store(fallen, *recovered(fallen))
    engine_learns()
    pipe.run()
    assert pipe.told() == [("first", "ops"), ("resolved", "ops")]
    assert {row.thread for row in rows(pipe)} == {call.thread}
    assert pipe.groups()[0].closed_at is not None


def test_the_end_is_told_once_even_if_the_engine_learns_of_it_before_it_learns_of_the_fall(pipe: Pipe):
    fallen = paging.fall()
    take_in(called(fallen, **delivered()))
    store(fallen, *recovered(fallen))
    engine_learns(newest_first=True)
    pipe.run()
    pipe.later(minutes=10)
    assert pipe.told() == [("first", "ops"), ("resolved", "ops")]
    assert pipe.sql("SELECT count(*) FROM alert_episodes")[0].count == 1


def test_taking_in_twice_changes_nothing(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen, **delivered())
    assert take_in(call) == set()
    before = (pipe.groups(), rows(pipe), pipe.sql("SELECT * FROM alert_episodes ORDER BY id"))
    assert take_in(call, call) == set()
    assert (pipe.groups(), rows(pipe), pipe.sql("SELECT * FROM alert_episodes ORDER BY id")) == before


def test_a_call_that_is_only_planned_is_the_watchdogs_already(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen)
    assert take_in(call) == set()
    store(fallen)
    engine_learns()
    pipe.run()
    assert [(row.state, row.source, row.attempts) for row in rows(pipe)] == [("waiting", "watchdog", 0)]
    assert pipe.sql("SELECT * FROM jobs WHERE task = 'tasks.alerts.deliver'") == []
    take_in(with_page(call, **delivered()))
    assert [row.state for row in rows(pipe)] == ["delivered"]


def test_a_page_under_way_is_told_of_first_and_its_outcome_follows(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen, state=PageState.SENDING, attempts=1, sent_at=clock.now())
    assert take_in(call) == set()
    store(fallen)
    engine_learns()
    pipe.run()
    assert [(row.state, row.attempts) for row in rows(pipe)] == [("sending", 1)]
    assert pipe.told() == [("first", "ops")]
    assert take_in(with_page(call, **delivered(attempts=1))) == set()
    assert [row.state for row in rows(pipe)] == ["delivered"]
    history = [row.event for row in pipe.sql("SELECT event FROM alert_history ORDER BY id")]
    assert history.count("delivered") == 1


def test_a_page_that_the_watchdog_gave_up_becomes_the_engines_to_deliver(pipe: Pipe):
    fallen = paging.fall()
    call = called(
        fallen, state=PageState.GIVEN_UP, attempts=3, sent_at=clock.now(), http_status=404, error="answered 404"
    )
    assert take_in(call) == {call.pages[0].id}
    store(fallen)
    engine_learns()
    pipe.run()
    (row,) = rows(pipe)
    assert (row.reason, row.state, row.source, row.attempts, row.error) == (
        "first",
        "waiting",
        "engine",
        0,
        "answered 404",
    )
    (job,) = pipe.sql("SELECT * FROM jobs WHERE task = 'tasks.alerts.deliver'")
    assert job.kwargs == {"notification_id": str(row.id)}
    pipe.sql("UPDATE notifications SET state = 'failed', attempts = 8")
    assert take_in(call) == {call.pages[0].id}
    assert [row.state for row in rows(pipe)] == ["failed"]


def test_a_page_that_the_engine_took_over_is_not_touched_again(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen, state=PageState.WAITING, attempts=1, sent_at=clock.now())
    assert take_in(call) == set()
    pipe.sql("UPDATE notifications SET state = 'sending', attempts = 2")
    assert take_in(call) == {call.pages[0].id}
    assert [(row.state, row.attempts) for row in rows(pipe)] == [("sending", 2)]
    pipe.sql("UPDATE notifications SET state = 'delivered', provider_id = 'theirs'")
    take_in(with_page(call, **delivered()))
    assert [row.provider_id for row in rows(pipe)] == ["theirs"]


def test_what_arrived_by_another_channel_is_taken_in_as_that(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen, state=PageState.GIVEN_UP, attempts=2, sent_at=clock.now(), http_status=500)
    first = call.pages[0]
    other = replace(first, id=ids.uuid7(), channel="second", fallback_of=first.id, **delivered())
    assert take_in(replace(call, pages=(first, other))) == {first.id}
    assert [(row.channel, row.reason, row.state) for row in rows(pipe)] == [
        ("ops", "first", "waiting"),
        ("second", "first-instead-of-ops", "delivered"),
    ]


def test_a_fallback_that_comes_later_knows_what_it_stands_in_for(pipe: Pipe):
    call = called(paging.fall(), state=PageState.GIVEN_UP, attempts=2, sent_at=clock.now())
    take_in(call)
    first = replace(call.pages[0], state=PageState.HANDED_OVER)
    other = replace(call.pages[0], id=ids.uuid7(), channel="second", fallback_of=first.id, **delivered())
    assert take_in(replace(call, pages=(first, other))) == set()
    assert [row.reason for row in rows(pipe)] == ["first", "first-instead-of-ops"]


def test_a_group_that_people_know_already_gets_one_more_alert(pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, home, CATALOG.replace('["alertname", "service"]', '["alertname"]'))
    before = paging.fall("postgres")
    store(before)
    engine_learns()
    pipe.run()
    fallen = paging.fall()
    take_in(called(fallen, **delivered()))
    store(fallen)
    engine_learns()
    pipe.run()
    pipe.later(minutes=5)
    assert {(row.reason, row.source) for row in rows(pipe)} == {("first", "engine"), ("added-2", "watchdog")}
    (group,) = pipe.groups()
    assert group.told_count == 2


def test_if_the_engine_was_faster_its_own_word_stands(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen, state=PageState.SENDING, attempts=1, sent_at=clock.now())
    store(fallen)
    engine_learns()
    pipe.run()
    pipe.sql("UPDATE alert_groups SET told_at = NULL, told_count = 0")
    assert take_in(call) == {call.pages[0].id}
    assert [row.source for row in rows(pipe)] == ["engine"]


def test_what_was_told_since_the_fall_is_known(pipe: Pipe):
    fallen = paging.fall()
    call = called(fallen)
    print_of = call.raised[0].fingerprint
    store(fallen)
    engine_learns()
    with read_only() as session:
        assert imported.told_since(session, [print_of], fallen.began_at) == set()
    pipe.run()
    with read_only() as session:
        assert imported.told_since(session, [print_of], fallen.began_at) == {print_of}
        assert imported.told_since(session, [print_of], clock.now() + timedelta(seconds=5)) == set()


def test_a_pass_and_an_import_at_once_take_turns(pipe: Pipe):
    call = called(paging.fall(), **delivered())
    with unit_of_work() as uow:
        import_calls(uow, [call], clock.now())
        assert pipeline.run() == {}
    assert pipeline.run() != {}


STEPS = st.lists(
    st.sampled_from(["take in", "store", "learn", "pass", "try", "refused", "arrives", "gives up"]), max_size=14
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_in_whatever_order_things_happen_each_address_has_one_first_message(pipe: Pipe, steps: list[str]):
    for table in (
        "alert_groups",
        "alert_episodes",
        "notifications",
        "signals",
        "signal_cursors",
        "jobs",
        "incidents",
        "services",
    ):
        pipe.sql(f"DELETE FROM {table}")
    with unit_of_work() as uow:
        sync_catalog(uow, catalog.current())
    fallen = paging.fall()
    call = called(fallen)
    moves: dict[str, Callable[[Page], Page]] = {
        "try": lambda page: replace(page, state=PageState.SENDING, attempts=page.attempts + 1, sent_at=clock.now()),
        "refused": lambda page: replace(page, state=PageState.WAITING, http_status=500, error="answered 500"),
        "arrives": lambda page: replace(page, **delivered(attempts=page.attempts)),
        "gives up": lambda page: replace(page, state=PageState.GIVEN_UP),
    }
    for step in steps:
        page = call.pages[0]
        match step:
            case "take in":
                theirs = take_in(call)
                if page.id in theirs:
                    call = with_page(call, state=PageState.HANDED_OVER)
            case "store":
                take_in(call)
                store(fallen)
            case "learn":
                engine_learns()
            case "pass":
                pipe.run()
            case "try" if page.state is PageState.WAITING:
                call = replace(call, pages=(moves[step](page),))
            case "refused" | "arrives" | "gives up" if page.state is PageState.SENDING:
                call = replace(call, pages=(moves[step](page),))
    firsts = [row for row in rows(pipe) if row.event == "firing"]
    assert len(firsts) <= 1
    assert len(pipe.groups()) <= 1
