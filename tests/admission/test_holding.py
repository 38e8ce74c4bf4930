"""People and playbooks hold modes, too: together with health, for a while, and on record."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app import clock
from app.admission import metrics
from app.errors import Conflict, Invalid, NotFound
from app.infra import queue
from tests.admission.conftest import NO_VECTORS, SERVICES, Scene
from tests.health.test_metrics import samples

RUN = "playbook:queue-backlog run 1"
REPLAY = (
    'replay = [{task = "tests.record", kwargs = {note = "again"}}, {task = "tests.record", kwargs = {note = "b"}}]\n'
)


def test_a_person_sets_a_mode_of_the_catalogue_and_it_lasts_until_it_is_left(scene: Scene) -> None:
    hold = scene.enter("no-vectors", reason="qdrant is being moved")
    assert (hold.fall_back, hold.wait, hold.cause) == (("brand-context",), ("publish-with-context",), ())
    scene.reconcile()
    assert scene.on() == [("no-vectors", "person:ann")]
    assert scene.modes().operations["brand-context"].reasons == ("qdrant is being moved",)
    scene.leave("no-vectors", by="person:bob")
    assert scene.on() == []
    entered, left = scene.signals()
    assert (entered.facts["by"], left.facts["by"], left.facts["set_by"]) == ("person:ann", "person:bob", "person:ann")


def test_a_mode_is_on_while_anybody_holds_it_and_its_beginning_and_end_are_told_once(scene: Scene) -> None:
    scene.enter("no-vectors")
    scene.fall("qdrant")
    scene.work()
    assert {by for _, by in scene.on()} == {"health", "person:ann"}
    scene.leave("no-vectors")
    assert scene.on() == [("no-vectors", "health")]
    scene.rise("qdrant")
    scene.work()
    assert scene.told() == [(kind, "no-vectors") for kind in ("entered", "changed", "changed", "left")]
    first, *_, last = scene.signals()
    assert last.facts["since"].replace("+00:00", "") == first.facts["since"].replace("+00:00", "")


def test_a_mode_that_health_alone_holds_is_not_left_by_hand(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.work()
    with pytest.raises(Conflict, match="qdrant"):
        scene.leave("no-vectors")
    with pytest.raises(NotFound):
        scene.leave("other")


def test_people_share_one_hold_and_the_last_word_counts(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"])
    scene.enter("by-hand", by="person:bob", reason="longer", fall_back=["sync"])
    [hold] = scene.modes().holds
    assert (hold.set_by, hold.reason, hold.fall_back, hold.wait) == ("person:bob", "longer", ("sync",), ())
    before = scene.modes().version
    scene.enter("by-hand", by="person:bob", reason="longer", fall_back=["sync"])
    assert scene.modes().version == before
    assert scene.told() == [("entered", "by-hand"), ("changed", "by-hand")]


def test_a_hold_ends_when_its_time_is_up(scene: Scene) -> None:
    until = clock.now() + timedelta(hours=1)
    scene.enter("by-hand", wait=["sync"], until=until)
    scene.work()
    [again] = scene.jobs()
    assert abs((again.not_before - until).total_seconds()) < 0.001
    scene.ledger.sql("UPDATE operation_modes SET until = now() - interval '1 s'")
    scene.run(again.id)
    assert scene.on() == []
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert mirrored["operations"] == {}
    left = scene.signals()[-1]
    assert (left.facts["by"], left.facts["why"]) == ("clock", "its time is up")


def test_a_mode_that_is_handed_from_a_person_to_health_stays_on(scene: Scene) -> None:
    scene.catalogue(SERVICES + NO_VECTORS + REPLAY)
    scene.enter("no-vectors", until=clock.now() + timedelta(hours=1))
    scene.fall("qdrant")
    scene.ledger.sql("UPDATE operation_modes SET until = now() - interval '1 s'")
    scene.reconcile()
    assert scene.on() == [("no-vectors", "health")]
    assert scene.told() == [("entered", "no-vectors"), ("changed", "no-vectors"), ("changed", "no-vectors")]
    assert replayed(scene) == []


def test_a_hold_whose_time_was_made_longer_lasts_that_long(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"], until=clock.now() + timedelta(minutes=1))
    scene.enter("by-hand", wait=["sync"], until=clock.now() + timedelta(hours=1))
    scene.work()
    [again] = scene.jobs()
    assert again.not_before > clock.now() + timedelta(minutes=50)


def test_each_run_of_a_playbook_has_a_hold_of_its_own(scene: Scene) -> None:
    other = "playbook:queue-backlog run 2"
    for by in (RUN, other):
        scene.enter("playbook:queue-backlog", by=by, reason="too much waits", wait=["analytics"], cause=["workers"])
    assert len(scene.leave("playbook:queue-backlog", by=RUN)) == 1
    assert scene.on() == [("playbook:queue-backlog", other)]
    assert scene.leave("playbook:queue-backlog", by=RUN) == []
    assert len(scene.leave("playbook:queue-backlog", by=other)) == 1
    assert scene.told()[-1] == ("left", "playbook:queue-backlog")


@pytest.mark.parametrize("by", ["person:ann", "playbook:queue-backlog"])
def test_a_person_ends_what_playbooks_hold_and_a_playbook_what_its_runs_do(scene: Scene, by: str) -> None:
    for run in (1, 2):
        scene.enter("playbook:queue-backlog", by=f"playbook:queue-backlog run {run}", wait=["analytics"])
    assert len(scene.leave("playbook:queue-backlog", by=by)) == 2
    assert scene.on() == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "Not a name"}, "name"),
        ({"by": "health"}, "by"),
        ({"by": "  "}, "by"),
        ({"by": "person: "}, "by"),
        ({"reason": "\x00 "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"until": timedelta(seconds=-1)}, "until"),
        ({"until": timedelta(days=367)}, "until"),
        ({"wait": []}, "wait"),
        ({"wait": ["a", "a"]}, "wait.1"),
        ({"wait": ["A"]}, "wait.0"),
        ({"fall_back": ["sync"]}, "wait.0"),
        ({"wait": [f"o{number}" for number in range(101)]}, "wait"),
    ],
)
def test_what_cannot_be_held_is_refused_by_its_field(scene: Scene, wrong: dict[str, object], field: str) -> None:
    given = {"name": "by-hand", "wait": ["sync"], **wrong}
    if isinstance(given.get("until"), timedelta):
        given["until"] = clock.now() + given["until"]  # type: ignore[operator]
    with pytest.raises(Invalid) as refused:
        scene.enter(str(given.pop("name")), **given)  # type: ignore[arg-type]
    assert [problem.field for problem in refused.value.problems] == [field]
    assert scene.on() == []


def test_the_jobs_of_a_replay_are_submitted_once_when_the_last_holder_lets_go(scene: Scene) -> None:
    scene.catalogue(SERVICES + NO_VECTORS + REPLAY)
    scene.enter("no-vectors")
    scene.fall("qdrant")
    scene.work()
    scene.leave("no-vectors")
    assert replayed(scene) == []
    scene.rise("qdrant")
    scene.work()
    assert replayed(scene) == ["again", "b"]
    assert len(scene.signals()[-1].facts["replayed"]) == 2
    scene.enter("no-vectors")
    scene.leave("no-vectors")
    assert replayed(scene) == ["again", "b"]


def test_a_mode_ends_although_a_job_of_its_replay_cannot_be_submitted(scene: Scene) -> None:
    wrong = 'replay = [{task = "tasks.maintenance.retention"}, {task = "tests.record", kwargs = {note = "again"}}]\n'
    scene.catalogue(SERVICES + NO_VECTORS + wrong)
    scene.enter("no-vectors")
    known = queue.names()
    queue.configure([name for name in known if name != "bulk"])
    try:
        scene.leave("no-vectors")
    finally:
        queue.configure(known)
    assert scene.on() == []
    assert replayed(scene) == ["again"]
    assert "tasks.maintenance.retention" in scene.signals()[-1].facts["replay_problems"][0]


def replayed(scene: Scene) -> list[str]:
    rows = scene.ledger.sql("SELECT kwargs FROM jobs WHERE task = 'tests.record' ORDER BY kwargs->>'note'")
    return [row.kwargs["note"] for row in rows]


def test_many_at_once_neither_lose_nor_repeat_anything(scene: Scene) -> None:
    def act(number: int) -> None:
        scene.enter(f"mode-{number % 4}", by=f"playbook:p run {number}", wait=[f"operation-{number}"])
        if number % 2:
            scene.leave(f"mode-{number % 4}", by=f"playbook:p run {number}")

    threads = [threading.Thread(target=act, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = scene.modes()
    assert found.version == 12 + 6
    assert set(found.operations) == {f"operation-{number}" for number in range(0, 12, 2)}
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert (mirrored["version"], set(mirrored["operations"])) == (found.version, set(found.operations))


def test_a_scrape_reads_which_modes_are_on(scene: Scene) -> None:
    assert samples(metrics.modes()) == {("smm_modes", "no-vectors"): 0}
    scene.enter("no-vectors")
    scene.enter("playbook:queue-backlog", by=RUN, wait=["analytics"])
    assert samples(metrics.modes()) == {("smm_modes", "no-vectors"): 1, ("smm_modes", "playbook:queue-backlog"): 1}
