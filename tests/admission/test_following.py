"""Modes follow the services: real results, real signals, real jobs; the test is the worker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import admission, clock, health
from app.infra.db import unit_of_work
from tests.admission.conftest import NO_VECTORS, SERVICES, Scene
from tests.health.catalogs import catalog_of

BY_HAND = NO_VECTORS + '[modes.by-hand]\nwhile_down = ["n8n", "qdrant"]\nwait = ["brand-context", "sync"]\n'


def test_a_fall_turns_the_mode_on_and_a_rise_turns_it_off(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.work()
    assert scene.effects() == {"brand-context": "fall_back", "publish-with-context": "wait"}
    [hold] = scene.modes().holds
    assert (hold.set_by, hold.cause, hold.reason) == (
        "health",
        ("qdrant",),
        "qdrant is down: brand context is left out",
    )
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert mirrored["operations"]["publish-with-context"]["effect"] == "wait"
    assert mirrored["operations"]["brand-context"]["since"] == clock.iso(hold.since)
    assert mirrored["version"] == scene.modes().version

    scene.rise("qdrant")
    scene.work()
    assert scene.on() == []
    after = scene.mirrored()
    assert after is not None
    assert after["operations"] == {}
    assert after["version"] > mirrored["version"]
    entered, left = scene.signals()
    assert (entered.kind, entered.subject, entered.labels) == (
        "modes.entered",
        "mode:no-vectors",
        {"mode": "no-vectors"},
    )
    assert entered.facts["operations"] == {"fall_back": ["brand-context"], "wait": ["publish-with-context"]}
    assert (entered.facts["cause"], entered.facts["lasted_seconds"]) == (["qdrant"], None)
    assert left.facts["why"] == "qdrant is no longer down"
    assert left.facts["lasted_seconds"] >= 0


def test_what_a_service_is_now_counts_and_not_the_order_of_the_signals(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.rise("qdrant")
    down, up = scene.jobs()
    scene.run(up.id)
    assert scene.on() == []
    scene.run(down.id)
    assert scene.on() == []
    assert scene.told() == []


def test_an_end_that_is_heard_of_before_its_beginning_leaves_nothing_on(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.work()
    scene.rise("qdrant")
    scene.fall("qdrant")
    scene.rise("qdrant")
    for job in reversed(scene.jobs()):
        scene.run(job.id)
    assert scene.on() == []
    assert scene.told() == [("entered", "no-vectors"), ("left", "no-vectors")]


def test_of_two_modes_that_name_one_operation_the_stricter_counts(scene: Scene) -> None:
    scene.catalogue(SERVICES + BY_HAND)
    scene.fall("qdrant")
    scene.work()
    assert scene.effects()["brand-context"] == "wait"
    assert scene.modes().operations["brand-context"].modes == ("by-hand",)
    scene.catalogue(SERVICES + NO_VECTORS)
    scene.reconcile()
    assert scene.effects() == {"brand-context": "fall_back", "publish-with-context": "wait"}


def test_a_mode_of_two_services_lasts_as_long_as_any_of_them_is_down(scene: Scene) -> None:
    scene.catalogue(SERVICES + BY_HAND)
    for act, causes in (
        ((scene.fall, "n8n"), ("n8n",)),
        ((scene.fall, "qdrant"), ("n8n", "qdrant")),
        ((scene.rise, "n8n"), ("qdrant",)),
    ):
        step, service = act
        step(service)
        scene.work()
        assert [hold.cause for hold in scene.modes().holds if hold.name == "by-hand"] == [causes]
    scene.rise("qdrant")
    scene.work()
    assert [kind for kind, mode in scene.told() if mode == "by-hand"] == ["entered", "changed", "changed", "left"]


def test_a_mode_with_a_delay_comes_on_when_it_has_passed_and_not_before(scene: Scene) -> None:
    scene.catalogue(SERVICES + NO_VECTORS + "delay_seconds = 300\n")
    scene.fall("qdrant", ago=timedelta(seconds=100))
    scene.work()
    assert scene.on() == []
    [again] = scene.jobs()
    assert not again.due
    scene.ledger.sql("UPDATE services SET since = now() - interval '301 s' WHERE name = 'qdrant'")
    scene.run(again.id)
    assert scene.on() == [("no-vectors", "health")]


def test_a_service_that_rises_within_the_delay_turns_nothing_on(scene: Scene) -> None:
    scene.catalogue(SERVICES + NO_VECTORS + "delay_seconds = 300\n")
    scene.fall("qdrant")
    scene.rise("qdrant")
    for job in scene.jobs():
        scene.run(job.id)
    assert scene.told() == []


def test_another_catalogue_changes_what_is_on(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.work()
    scene.catalogue(SERVICES + NO_VECTORS.replace('"publish-with-context"', '"publish", "draft"'))
    scene.reconcile()
    assert scene.effects() == {"brand-context": "fall_back", "draft": "wait", "publish": "wait"}
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert set(mirrored["operations"]) == {"brand-context", "draft", "publish"}
    scene.catalogue(SERVICES)
    scene.reconcile()
    assert scene.effects() == {}
    assert scene.signals()[-1].facts["why"] == "the mode left the catalogue"
    scene.catalogue(SERVICES + NO_VECTORS)
    scene.reconcile()
    assert scene.told() == [(kind, "no-vectors") for kind in ("entered", "changed", "left", "entered")]


def test_a_service_that_is_removed_turns_its_mode_off(scene: Scene) -> None:
    """Its signal may be handled by a process that has the old file still, in which the mode names the service."""
    scene.fall("qdrant")
    scene.work()
    with unit_of_work() as uow:
        health.sync_catalog(uow, catalog_of(SERVICES.partition("[services.n8n]")[2].join(("[services.n8n]", ""))))
    assert scene.work() > 0
    assert scene.on() == []
    assert scene.signals()[-1].facts["why"] == "qdrant left the catalogue"


def test_a_service_of_which_nothing_is_known_keeps_what_was(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.work()
    unknown = "UPDATE services SET state = 'unknown', announced = 'unknown' WHERE name = 'qdrant'"
    scene.ledger.sql(unknown)
    scene.reconcile()
    assert scene.on() == [("no-vectors", "health")]
    scene.rise("qdrant")
    scene.ledger.sql("UPDATE services SET state = 'up', announced = 'up' WHERE name = 'qdrant'")
    scene.reconcile()
    scene.ledger.sql(unknown)
    scene.reconcile()
    assert scene.on() == []


def test_a_service_that_flaps_is_what_people_were_told_of_it(scene: Scene) -> None:
    for state, announced, is_on in (("down", "up", False), ("up", "down", True), ("up", "up", False)):
        scene.ledger.sql(
            "UPDATE services SET flapping = true, state = :state, announced = :announced WHERE name = 'qdrant'",
            state=state,
            announced=announced,
        )
        scene.reconcile()
        assert bool(scene.on()) is is_on


def test_a_signal_that_was_missed_is_made_up_for(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.ledger.sql("DELETE FROM jobs")
    scene.reconcile()
    assert scene.on() == [("no-vectors", "health")]


def test_being_in_step_changes_nothing(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.work()
    before = scene.modes().version
    for _ in range(3):
        scene.reconcile()
    assert scene.modes().version == before
    assert len(scene.told()) == 1
    assert scene.jobs() == []


def test_what_is_rolled_back_never_was(scene: Scene) -> None:
    scene.fall("qdrant")
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        admission.reconcile(uow)
        raise ZeroDivisionError
    assert (scene.on(), scene.told(), scene.mirrored()) == ([], [], None)
