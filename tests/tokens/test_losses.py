"""What dies between a question and its answer's place: no token goes out twice, no account stays without a word."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.config import settings
from app.errors import Transient
from app.infra import redis
from app.infra.db import unit_of_work
from app.tokens import accounts, attending, provider, settling, store, storing
from app.tokens.asking import Asker
from app.tokens.core import Grant, Step
from app.tokens.settling import Outcome
from app.tokens.store import Held
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.platforms.serving import Fault
from tests.tokens.running import instagram, near_its_end, running, x
from tests.tokens.scene import Scene

__all__ = ["instagram", "running", "x"]


def test_two_workers_at_one_token_refresh_it_once(scene: Scene, x: OAuthPlatform) -> None:
    held = scene.account(x, "anna", age=timedelta(hours=1, minutes=30), life=timedelta(hours=2))
    x.delay = 0.1
    try:
        with ThreadPoolExecutor(4) as pool:
            came = [found.outcome for found in pool.map(lambda _: scene.attend(held, force=True), range(4))]
    finally:
        x.delay = 0.0
    assert came.count(Outcome.REFRESHED) == 1
    assert set(came) <= {Outcome.REFRESHED, Outcome.WAITING, Outcome.NOTHING}
    assert (x.refreshed["anna"], x.reused) == (1, [])
    assert scene.held(held).status.generation == 2


def _die_before_the_answer_is_stored(scene: Scene, held: Held) -> None:
    """What is left of a worker that was killed between the answer and the commit."""
    with unit_of_work() as uow:
        ready = attending._begin(uow, held.account.id, by="dead worker", force=True, now=scene.now)
    assert not isinstance(ready, settling.Attended)
    begun = ready.begun
    answer = begun.rules.provider.refresh(Asker(begun.app, begun.rules.traits, now=scene.now), begun.app, ready.tokens)
    assert isinstance(answer, provider.Granted)


_REFUSING_ONCE = """
CREATE SEQUENCE refusals;
CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('refusals') = 1 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF; RETURN NEW;
END $$;
CREATE TRIGGER refuse_once BEFORE UPDATE ON token_status FOR EACH ROW
  WHEN (NEW.generation <> OLD.generation) EXECUTE FUNCTION refuse_once()"""


def test_an_answer_outlasts_a_database_that_does_not_take_it_at_once(scene: Scene, x: OAuthPlatform) -> None:
    held = scene.account(x, "anna", age=timedelta(minutes=90), life=timedelta(hours=2))
    scene.ledger.sql(_REFUSING_ONCE)
    try:
        assert scene.attend(held).outcome is Outcome.REFRESHED
    finally:
        scene.ledger.sql("DROP TRIGGER refuse_once ON token_status")
        scene.ledger.sql("DROP FUNCTION refuse_once")
        scene.ledger.sql("DROP SEQUENCE refusals")
    assert (scene.held(held).status.generation, x.refreshed["anna"]) == (2, 1)


def test_a_rotating_token_whose_answer_died_with_its_worker_is_lost_and_told_at_once(
    scene: Scene, x: OAuthPlatform
) -> None:
    held = scene.account(x, "anna", age=timedelta(minutes=30), life=timedelta(hours=2))
    _die_before_the_answer_is_stored(scene, held)
    assert scene.attend(held, force=True).reason == "being_refreshed"
    scene.after(seconds=91)
    assert [came.outcome for came in scene.sweep()] == [Outcome.LOST]
    after = scene.held(held).status
    assert (after.grant, after.reason, after.started_at) == (Grant.LOST, "lost_in_crash", None)
    assert [step for _, step, _ in scene.messages(held)] == ["reconnect"]
    assert (x.refreshed["anna"], x.reused) == (1, [])


def test_a_token_that_does_not_rotate_is_simply_tried_again_after_a_crash(
    scene: Scene, instagram: MetaPlatform
) -> None:
    held = near_its_end(scene, instagram)
    _die_before_the_answer_is_stored(scene, held)
    scene.after(hours=22)
    assert [came.outcome for came in scene.sweep()] == [Outcome.REFRESHED]
    assert instagram.refreshed["anna"] == 2
    assert scene.messages(held) == []


def test_an_account_that_was_disabled_while_its_worker_died_is_looked_after_again(
    scene: Scene, instagram: MetaPlatform
) -> None:
    held = near_its_end(scene, instagram)
    _die_before_the_answer_is_stored(scene, held)
    with unit_of_work() as uow:
        accounts.disable(uow, "instagram", held.account.external_id, reason="holidays", by="ann", now=scene.now)
    scene.after(hours=1)
    with unit_of_work() as uow:
        accounts.enable(uow, "instagram", held.account.external_id, by="ann", now=scene.now)
    assert [came.outcome for came in scene.sweep()] == [Outcome.REFRESHED]


@pytest.mark.parametrize("wrong", ["next_at", "next_at = NULL, lease_until", "next_at = expires_at, lease_until"])
def test_a_clock_that_was_wrong_for_a_moment_leaves_nothing_behind(scene: Scene, x: OAuthPlatform, wrong: str) -> None:
    scene.account(x, "anna", age=timedelta(minutes=10), life=timedelta(hours=2))
    scene.sweep()
    scene.ledger.sql(f"UPDATE token_status SET {wrong} = :far", far=scene.now + timedelta(days=3650))
    scene.ledger.sql("UPDATE token_looks SET due_at = :far", far=scene.now + timedelta(days=3650))
    for _ in range(3):
        scene.after(minutes=30)
        scene.sweep()
    assert x.refreshed["anna"] == 1
    assert {
        row.due_at - scene.now < timedelta(days=1) for row in scene.ledger.sql("SELECT due_at FROM token_looks")
    } == {True}


def test_an_answer_that_comes_after_its_token_was_replaced_says_nothing_about_the_new_one(
    scene: Scene, x: OAuthPlatform
) -> None:
    held = scene.account(x, "anna", age=timedelta(minutes=90), life=timedelta(hours=2))
    with unit_of_work() as uow:
        ready = attending._begin(uow, held.account.id, by="slow worker", force=True, now=scene.now)
    assert not isinstance(ready, settling.Attended)
    with unit_of_work() as uow:
        found = store.lock(uow, held.account.id)
        assert found is not None
        storing.put(uow, found, x.give("anna"), kind=storing.CONNECTED, by="owner", now=scene.now)
    dead = provider.Refused(provider.Trouble.DEAD, "grant_refused")
    assert settling.settle(ready.begun, dead).outcome is Outcome.NOTHING
    assert (scene.held(held).status.grant, scene.held(held).status.generation) == (Grant.GOOD, 2)


def test_an_answer_that_comes_after_its_account_was_given_up_is_stored_all_the_same(
    scene: Scene, x: OAuthPlatform
) -> None:
    held = scene.account(x, "anna", age=timedelta(minutes=90), life=timedelta(hours=2))
    with unit_of_work() as uow:
        ready = attending._begin(uow, held.account.id, by="slow worker", force=True, now=scene.now)
    assert not isinstance(ready, settling.Attended)
    begun = ready.begun
    answer = begun.rules.provider.refresh(Asker(begun.app, begun.rules.traits, now=scene.now), begun.app, ready.tokens)
    scene.after(minutes=2)
    assert scene.attend(held).outcome is Outcome.LOST
    assert settling.settle(begun, answer).outcome is Outcome.REFRESHED
    after = scene.held(held).status
    assert (after.grant, after.generation, after.told) == (Grant.GOOD, 2, Step.NONE)
    scene.after(hours=1, minutes=1)
    assert scene.attend(held).outcome is Outcome.REFRESHED
    assert x.reused == []


@pytest.mark.parametrize("fault", [Fault.HANG_AFTER, Fault.RESET_AFTER, Fault.TRUNCATED, Fault.NO_TOKEN])
def test_a_rotating_token_whose_answer_got_lost_on_the_way_is_never_sent_again(
    scene: Scene, x: OAuthPlatform, fault: Fault
) -> None:
    held = scene.account(x, "anna", age=timedelta(minutes=90), life=timedelta(hours=2))
    x.fail(fault, "anna")
    assert scene.attend(held).outcome is Outcome.LOST
    x.heal()
    scene.after(hours=3)
    scene.sweep()
    assert (x.calls["refresh", "anna"], x.reused) == (1, [])
    assert scene.held(held).status.paused


def test_a_database_from_yesterday_sends_a_used_token_once_and_asks_for_a_login(scene: Scene, x: OAuthPlatform) -> None:
    held = scene.account(x, "anna", age=timedelta(minutes=90), life=timedelta(hours=2))
    [row] = scene.ledger.sql("SELECT * FROM token_status")
    assert scene.attend(held).outcome is Outcome.REFRESHED
    scene.ledger.sql(
        "UPDATE token_status SET generation = :generation, access = :access, refresh = :refresh, "
        "expires_at = :expires_at, attempts = 0",
        **{name: getattr(row, name) for name in ("generation", "access", "refresh", "expires_at")},
    )
    assert scene.attend(held, force=True).outcome is Outcome.DEAD
    scene.after(hours=5)
    scene.sweep()
    assert x.calls["refresh", "anna"] == 2
    assert next(step for _, step, _ in scene.messages(held)) == "reconnect"


def test_while_the_counters_are_away_nothing_is_sent_and_no_try_is_used_up(
    scene: Scene, instagram: MetaPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = near_its_end(scene, instagram)
    scene.rate = 60
    scene.catalogue(instagram)
    with monkeypatch.context() as away:
        away.setenv("REDIS_URL", "redis://127.0.0.1:1")
        settings.cache_clear()
        redis.client.cache_clear()
        with pytest.raises(Transient):
            scene.attend(held)
    settings.cache_clear()
    redis.client.cache_clear()
    status = scene.held(held).status
    assert (status.attempts, status.lease_by, instagram.calls["refresh", "anna"]) == (0, "", 0)
    assert scene.attend(held).outcome is Outcome.REFRESHED
