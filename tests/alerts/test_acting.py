"""People acknowledge, take it back, close, comment and judge: on one alert, or on all of a group."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import clock
from app.alerts import acting
from app.alerts.acting import Acted, Target, Verdict
from app.errors import Conflict, Invalid, NotFound
from app.infra.db import UnitOfWork, unit_of_work
from tests.alerts.pipe import CATALOG, Pipe, pipe
from tests.health.catalogs import use

__all__ = ["pipe"]  # the fixture


def act(deed: Callable[..., Acted], target: Target, **given: Any) -> Acted:
    with unit_of_work() as uow:
        return deed(uow, target, **({"by": "ann", "now": clock.now()} | given))


def one(episode: UUID) -> Target:
    return Target("episode", episode)


def events(pipe: Pipe, episode: UUID) -> list[tuple[str, str]]:
    rows = pipe.sql("SELECT event, by FROM alert_history WHERE episode_id = :id ORDER BY id", id=episode)
    return [(row.event, row.by) for row in rows]


def test_an_acknowledgement_holds_as_long_as_the_ladder_of_its_severity_says(pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    now = clock.now()
    done = act(acting.acknowledge, one(episode), now=now, comment="looking")
    row = pipe.episode(episode)
    assert (row.state, row.acknowledged_by) == ("acknowledged", "ann")
    assert done.until == row.acknowledged_until == row.due_at == now + timedelta(minutes=240)
    [entry] = pipe.sql("SELECT * FROM alert_history WHERE event = 'acknowledged'")
    assert (entry.by, entry.facts["comment"]) == ("ann", "looking")
    assert entry.facts["until"] == clock.iso(done.until)


def test_a_routes_own_ladder_says_how_long_an_acknowledgement_holds(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = CATALOG.replace('receiver = "pages"\n', 'receiver = "pages"\nladder = "short"\n')
    use(monkeypatch, home, own + "[ladders.short]\nacknowledge_minutes = 20\n")
    episode = pipe.fire(severity="critical")
    now = clock.now()
    assert act(acting.acknowledge, one(episode), now=now).until == now + timedelta(minutes=240), "it is in no group yet"
    pipe.run()
    assert act(acting.acknowledge, one(episode), now=now).until == now + timedelta(minutes=20)


def test_minutes_that_were_given_count_and_a_second_acknowledgement_replaces_the_first(pipe: Pipe) -> None:
    episode = pipe.fire()
    now = clock.now()
    act(acting.acknowledge, one(episode), now=now)
    done = act(acting.acknowledge, one(episode), now=now, by="bob", minutes=5)
    assert done.until == now + timedelta(minutes=5)
    assert pipe.episode(episode).acknowledged_by == "bob"


def test_an_answer_makes_the_groups_of_the_alert_due_and_no_other(pipe: Pipe) -> None:
    episode = pipe.fire()
    pipe.fire("Other")
    pipe.run()
    pipe.sql("UPDATE alert_groups SET due_at = now() + interval '1 hour'")
    act(acting.acknowledge, one(episode))
    due = pipe.sql("SELECT labels ->> 'alertname' FROM alert_groups WHERE due_at <= now()")
    assert [name for (name,) in due] == ["Trouble"]


def test_what_was_taken_back_fires_again(pipe: Pipe) -> None:
    episode = pipe.fire()
    act(acting.acknowledge, one(episode))
    act(acting.unacknowledge, one(episode), by="bob", comment="not mine")
    row = pipe.episode(episode)
    assert (row.state, row.acknowledged_by, row.acknowledged_until) == ("firing", None, None)
    with pytest.raises(Conflict, match="is not acknowledged"):
        act(acting.unacknowledge, one(episode))
    assert events(pipe, episode) == [("acknowledged", "ann"), ("unacknowledged", "bob")]


def test_a_person_closes_an_alert_and_its_name_is_kept(pipe: Pipe) -> None:
    episode = pipe.fire()
    act(acting.resolve, one(episode), comment="restarted it")
    row = pipe.episode(episode)
    assert (row.state, row.resolved_by, row.ends_explicitly) == ("resolved", "ann", True)
    assert events(pipe, episode) == [("closed", "ann")]


@pytest.mark.parametrize("deed", [acting.acknowledge, acting.unacknowledge, acting.resolve])
def test_what_is_over_takes_no_answer(pipe: Pipe, deed: Callable[..., Acted]) -> None:
    episode = pipe.fire()
    act(acting.resolve, one(episode))
    with pytest.raises(Conflict, match="is resolved already"):
        act(deed, one(episode))


def test_what_has_not_fired_yet_cannot_be_acknowledged_but_closed(pipe: Pipe) -> None:
    episode = pipe.fire()
    pipe.sql("UPDATE alert_episodes SET state = 'pending', fired_at = NULL")
    with pytest.raises(Conflict, match="has not fired yet"):
        act(acting.acknowledge, one(episode))
    act(acting.resolve, one(episode))
    assert pipe.episode(episode).state == "resolved"


def test_a_group_is_answered_as_a_whole(pipe: Pipe) -> None:
    lasting = [pipe.fire(instance=name) for name in "abc"]
    pipe.run()
    act(acting.resolve, one(lasting[0]))
    group = Target("group", pipe.groups()[0].id)
    assert set(act(acting.acknowledge, group).episodes) == set(lasting[1:])
    assert [pipe.episode(key).state for key in lasting] == ["resolved", "acknowledged", "acknowledged"]
    assert set(act(acting.resolve, group).episodes) == set(lasting[1:])
    with pytest.raises(Conflict, match="is resolved already"):
        act(acting.acknowledge, group)


def test_comments_and_verdicts_are_for_ended_alerts_too_and_the_last_verdict_counts(pipe: Pipe) -> None:
    episode = pipe.fire()
    act(acting.resolve, one(episode))
    act(acting.comment, one(episode), text="it was the disk")
    act(acting.judge, one(episode), verdict="needed")
    act(acting.judge, one(episode), verdict="not_needed", by="bob")
    row = pipe.episode(episode)
    assert (row.verdict, row.verdict_by) == ("not_needed", "bob")
    assert [name for name, _ in events(pipe, episode)] == ["closed", "comment", "verdict", "verdict"]


@pytest.mark.parametrize("target", [Target("episode", uuid4()), Target("group", uuid4())])
def test_what_does_not_exist_is_not_found(pipe: Pipe, target: Target) -> None:
    with pytest.raises(NotFound, match=str(target.id)):
        act(acting.acknowledge, target)


@pytest.mark.parametrize(
    ("deed", "given", "field"),
    [
        (acting.acknowledge, {"by": "  "}, "by"),
        (acting.acknowledge, {"by": "x" * 201}, "by"),
        (acting.acknowledge, {"minutes": 0}, "minutes"),
        (acting.acknowledge, {"minutes": 1e9}, "minutes"),
        (acting.acknowledge, {"minutes": float("nan")}, "minutes"),
        (acting.resolve, {"comment": "x" * 2001}, "comment"),
        (acting.comment, {"text": " \n"}, "text"),
        (acting.judge, {"verdict": "maybe"}, "verdict"),
    ],
)
def test_what_is_wrong_is_named(pipe: Pipe, deed: Callable[..., Acted], given: dict[str, Any], field: str) -> None:
    episode = pipe.fire()
    with pytest.raises(Invalid) as refused:
        act(deed, one(episode), **given)
    assert [problem.field for problem in refused.value.problems] == [field]
    assert events(pipe, episode) == []


def test_text_that_postgres_cannot_hold_does_no_harm(pipe: Pipe) -> None:
    episode = pipe.fire()
    act(acting.comment, one(episode), by="a\x00nn", text="nul \x00 and half \ud800")
    assert events(pipe, episode) == [("comment", "ann")]


def test_answers_that_cross_each_other_and_the_tick_wait_for_nobody_in_a_circle(pipe: Pipe) -> None:
    """The pipeline locks groups before episodes; so does whoever answers, whichever way round the alerts are named."""
    lasting = [pipe.fire(instance=str(number)) for number in range(8)]
    pipe.run()
    group = Target("group", pipe.groups()[0].id)
    troubles: list[BaseException] = []

    def work(deed: Callable[[UnitOfWork], object]) -> None:
        try:
            for _ in range(15):
                with unit_of_work() as uow:
                    deed(uow)
        except BaseException as error:
            troubles.append(error)

    def answer(target: Target) -> Callable[[UnitOfWork], object]:
        return lambda uow: acting.acknowledge(uow, target, by="ann", now=clock.now())

    def look(_uow: UnitOfWork) -> None:
        pipe.sql("UPDATE alert_groups SET due_at = now() - interval '1 s'")
        pipe.run()

    deeds = [answer(group), answer(one(lasting[-1])), answer(one(lasting[0])), look]
    threads = [threading.Thread(target=work, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert troubles == []


def test_verdicts_are_the_two_words_of_the_documentation() -> None:
    words: tuple[Verdict, ...] = ("needed", "not_needed")
    assert words == acting.VERDICTS
