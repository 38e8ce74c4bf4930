"""Pauses: who sets them, who may lift them, how they end, and what is on record of it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.admission import pauses, retention
from app.admission.pause_store import Pause
from app.errors import Conflict, Invalid, NotFound
from app.infra.db import unit_of_work
from tests.admission.conftest import Scene
from tests.admission.pausing import lift, open_pauses, pause

ACCOUNT = "account:instagram/anna"


def told(scene: Scene) -> list[tuple[str, str, str]]:
    """Each signal of a pause: its kind's last word, its subject, who did it."""
    return [(row.kind.removeprefix("pauses."), row.subject, row.facts["by"]) for row in scene.signals("pauses.%")]


def held() -> list[tuple[str, str]]:
    return [(one.scope, one.holder) for one in open_pauses()]


@pytest.mark.parametrize(
    "scope", ["all", "platform:instagram", "tenant:Müller & Söhne", "account:instagram/a/b:c", "operation:a.b-c_d"]
)
def test_every_scope_is_paused_and_lifted(scene: Scene, scope: str) -> None:
    made = pause(scope, reason="an audit")
    assert (made.scope, made.least, made.effect, made.until) == (scope, 0, "wait", None)
    assert held() == [(scope, "person:")]
    assert [ended.id for ended in lift(scope, why="done")] == [made.id]
    assert held() == []
    assert told(scene) == [("set", scope, "person:ann"), ("lifted", scope, "person:ann")]
    set_, lifted = scene.signals("pauses.%")
    assert set_.labels == {"scope": scope, "holder": "person:"}
    assert (set_.facts["class"], set_.facts["effect"], set_.facts["reason"]) == ("critical", "wait", "an audit")
    assert (lifted.facts["why"], lifted.facts["set_by"], lifted.facts["forced"]) == ("done", "person:ann", False)


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "ALL",
        "all:",
        "all:x",
        "platform",
        "platform:",
        "platform:a\nb",
        "tenant:" + "x" * 201,
        "tenant:\ud800",
        "tenant:a\x00b",
        "account:instagram",
        "account:/anna",
        "account:instagram/",
        "account:instagram/a\x7f",
        "operation:",
        "operation:Publish",
        "operation:publish\n",
        "service:qdrant",
        "anything:else",
    ],
)
def test_what_is_no_scope_is_named(scene: Scene, scope: str) -> None:
    with pytest.raises(Invalid) as refused:
        pause(scope)
    assert [problem.field for problem in refused.value.problems] == ["scope"]
    with pytest.raises(Invalid):
        lift(scope)
    assert scene.signals("pauses.%") == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"by": ""}, "by"),
        ({"by": "person:"}, "by"),
        ({"until": clock.now() - timedelta(seconds=1)}, "until"),
        ({"until": clock.now() + timedelta(days=367)}, "until"),
        ({"least": 4}, "class"),
        ({"least": -1}, "class"),
        ({"effect": "hint"}, "effect"),
        ({"holder": "x" * 501}, "holder"),
    ],
)
def test_what_is_wrong_with_a_pause_is_named(scene: Scene, more: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        pause("all", **more)
    assert [problem.field for problem in refused.value.problems] == [field]


def test_every_wrong_field_is_named_at_once(scene: Scene) -> None:
    with pytest.raises(Invalid) as refused:
        pause("nothing", reason="", effect="stop", least=9)
    assert [problem.field for problem in refused.value.problems] == ["scope", "reason", "class", "effect"]


def test_all_people_share_one_pause_and_the_second_changes_it(scene: Scene) -> None:
    first = pause("all", reason="first")
    second = pause("all", by="person:bob", reason="second", least=3, until=clock.now() + timedelta(hours=1))
    assert (second.id, second.since, second.set_by, second.least) == (first.id, first.since, "person:bob", 3)
    assert open_pauses() == [second]
    assert told(scene) == [("set", "all", "person:ann"), ("changed", "all", "person:bob")]


def test_setting_the_same_again_changes_and_tells_nothing(scene: Scene) -> None:
    assert pause("all") == pause("all")
    assert told(scene) == [("set", "all", "person:ann")]


def test_parts_of_the_system_hold_their_own(scene: Scene) -> None:
    pause(ACCOUNT)
    pause(ACCOUNT, by="tokens", effect="token", reason="the token is dead")
    pause(ACCOUNT, by="budgets: tenant of anna", holder="budgets", least=3, reason="the budget is spent")
    assert held() == [(ACCOUNT, "person:"), (ACCOUNT, "tokens"), (ACCOUNT, "budgets")]
    assert [ended.holder for ended in lift(ACCOUNT, by="tokens")] == ["tokens"]
    assert held() == [(ACCOUNT, "person:"), (ACCOUNT, "budgets")]


def test_a_part_that_holds_nothing_ends_nothing(scene: Scene) -> None:
    pause("all")
    assert lift("all", by="budgets") == []
    assert lift("platform:x", by="budgets") == []
    assert held() == [("all", "person:")]


def test_people_end_what_people_hold_and_the_rest_only_by_force(scene: Scene) -> None:
    with pytest.raises(NotFound):
        lift("all")
    pause("all")
    pause("all", by="budgets")
    assert [ended.holder for ended in lift("all", by="person:bob")] == ["person:"]
    with pytest.raises(Conflict, match="paused by budgets"):
        lift("all")
    assert held() == [("all", "budgets")]
    assert [ended.holder for ended in lift("all", by="person:bob", why="it is 3 a.m.", force=True)] == ["budgets"]
    assert held() == []
    last = scene.signals("pauses.lifted")[-1]
    assert (last.facts["by"], last.facts["set_by"], last.facts["forced"]) == ("person:bob", "budgets", True)


def test_other_scopes_are_left_alone(scene: Scene) -> None:
    pause("account:instagram/a")
    pause("account:instagram/b")
    lift("account:instagram/a")
    assert held() == [("account:instagram/b", "person:")]
    assert [one.scope for one in open_pauses("account:instagram/b")] == ["account:instagram/b"]
    assert open_pauses("account:instagram/a") == []


def test_a_pause_whose_time_is_up_holds_no_longer_and_is_ended_by_the_clock(scene: Scene) -> None:
    made = pause("all", until=clock.now() + timedelta(hours=1))
    pause("platform:x")
    scene.ledger.sql(
        "UPDATE pauses SET until = now() - interval '1 s', since = since - interval '1 h' WHERE scope='all'"
    )
    assert held() == [("platform:x", "person:")]
    with unit_of_work() as uow:
        assert [over.id for over in pauses.expire(uow)] == [made.id]
    with unit_of_work() as uow:
        assert pauses.expire(uow) == []
    assert told(scene)[-1] == ("lifted", "all", "clock")
    row = scene.ledger.sql("SELECT ended_at >= since AS forward, ended_by FROM pauses WHERE scope = 'all'")[0]
    assert (row.forward, row.ended_by) == (True, "clock")


def test_a_new_pause_does_not_continue_one_whose_time_was_up(scene: Scene) -> None:
    first = pause("all", until=clock.now() + timedelta(hours=1))
    scene.ledger.sql("UPDATE pauses SET until = now() - interval '1 s'")
    second = pause("all")
    assert second.id != first.id
    assert [kind for kind, _, _ in told(scene)] == ["set", "lifted", "set"]


def test_many_whose_time_is_up_are_ended_one_part_after_another(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "AT_ONCE", 2)
    for name in "abc":
        pause(f"tenant:{name}", until=clock.now() + timedelta(hours=1))
    scene.ledger.sql("UPDATE pauses SET until = now() - interval '1 s'")
    with unit_of_work() as uow:
        assert len(pauses.expire(uow)) == 2
    assert scene.work() >= 1
    assert len(scene.signals("pauses.lifted")) == 3


def test_one_of_two_who_set_it_at_the_same_time_changes_what_the_other_set(scene: Scene) -> None:
    made: list[Pause] = []
    threads = [
        threading.Thread(target=lambda name=name: made.append(pause("all", by=f"person:{name}"))) for name in "abcdef"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({one.id for one in made}) == 1
    assert len(made) == 6
    assert [kind for kind, _, _ in told(scene)] == ["set"] + ["changed"] * 5


def test_texts_that_postgres_cannot_keep_are_made_storable(scene: Scene) -> None:
    made = pause("all", by="person:an\x00n", reason="a\ud800b")
    assert (made.set_by, made.reason) == ("person:ann", "a?b")
    assert open_pauses() == [made]


def test_pauses_that_are_long_over_are_forgotten(scene: Scene) -> None:
    pause("all")
    lift("all")
    pause("platform:lasting")
    assert retention.drop_old(clock.now())["pauses"] == 0
    assert retention.drop_old(clock.now() + timedelta(days=91))["pauses"] == 1
    assert held() == [("platform:lasting", "person:")]


def test_a_class_is_named_as_in_the_catalogue() -> None:
    assert [pauses.rank_of(name) for name in ("critical", "interactive", "normal", "background")] == [0, 1, 2, 3]
    with pytest.raises(Invalid, match="background"):
        pauses.rank_of("backgruond")
