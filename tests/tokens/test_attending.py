"""A token is looked at: refreshed once, given up for a reason, waited for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from app.catalog import App
from app.config import settings
from app.errors import Transient
from app.infra.crypto import new_key
from app.infra.db import unit_of_work
from app.tokens import apps_state, attending, keys_in_use, provider, settling, store, storing, sweeping
from app.tokens.core import Grant, Step
from app.tokens.settling import Outcome
from tests.tokens.platforms.meta import GraphError, MetaPlatform
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.platforms.serving import Fault
from tests.tokens.running import instagram, near_its_end, running, x
from tests.tokens.scene import Scene

__all__ = ["instagram", "running", "x"]


def test_a_token_with_ten_days_left_is_refreshed_at_nine_of_the_next_day(scene: Scene, instagram: MetaPlatform) -> None:
    held = scene.account(instagram, "anna", age=timedelta(days=49, hours=22), life=timedelta(days=60))
    assert scene.attend(held).reason == "not_due"
    due = scene.held(held).status.next_at
    assert due is not None
    assert (due.hour, due.minute < 30) == (9, True)
    scene.at(due)
    assert scene.attend(held).outcome is Outcome.REFRESHED
    after = scene.held(held).status
    assert (after.generation, after.grant, after.attempts) == (2, Grant.GOOD, 0)
    assert after.expires_at == due + timedelta(days=60)
    assert instagram.is_good(storing.reveal(scene.held(held)).access)


def test_what_is_told_of_a_refresh_holds_no_token(scene: Scene, instagram: MetaPlatform) -> None:
    held = near_its_end(scene, instagram)
    scene.attend(held, force=True)
    [told] = scene.signals("tokens.refreshed")
    assert told.subject == f"account:{held.account.key}"
    assert (told.facts["generation"], told.facts["days_remaining"]) == (2, 60.0)
    rows = scene.ledger.sql("SELECT t::text AS told FROM signals t UNION ALL SELECT h::text FROM token_history h")
    assert not [row for row in rows if "canary" in row.told]


def test_three_tries_an_hour_apart_then_the_owner_is_asked_and_one_a_day_goes_on(
    scene: Scene, instagram: MetaPlatform
) -> None:
    held = near_its_end(scene, instagram, days=9)
    instagram.fail(Fault.ERROR_500)
    tries = []
    for _ in range(4):
        due = scene.held(held).status.next_at
        assert due is not None
        scene.at(due)
        assert scene.attend(held).outcome is Outcome.FAILED
        tries.append(due)
    first = tries[0]
    assert [moment - first for moment in tries[1:3]] == [timedelta(hours=1), timedelta(hours=2)]
    assert tries[3] - first == timedelta(days=1)
    assert scene.messages(held) == [(1, "reconnect", "0.anna@example.com")]
    assert [row.labels["step"] for row in scene.signals("tokens.climbed")] == ["reconnect"]


def test_success_ends_the_climb_lets_operations_go_on_and_thanks_who_was_told(
    scene: Scene, instagram: MetaPlatform
) -> None:
    held = near_its_end(scene, instagram, days=0.5)
    instagram.fail(Fault.ERROR_500)
    assert scene.attend(held).outcome is Outcome.FAILED
    assert (scene.held(held).status.told, scene.held(held).status.paused) == (Step.LAST, True)
    instagram.heal()
    scene.after(hours=1)
    assert scene.attend(held).outcome is Outcome.REFRESHED
    after = scene.held(held).status
    assert (after.told, after.paused, after.reason) == (Step.NONE, False, "")
    told = [row.kind for row in scene.signals() if row.subject.startswith("account:")]
    assert told[-3:] == ["tokens.refreshed", "tokens.recovered", "tokens.resumed"]


@pytest.mark.parametrize("subcode", [0, 458, 459, 460, 463, 467])
def test_an_answer_that_wants_a_login_is_told_at_once_and_uses_up_no_try(
    scene: Scene, instagram: MetaPlatform, subcode: int
) -> None:
    held = near_its_end(scene, instagram, days=9)
    instagram.revoke("anna", subcode)
    assert scene.attend(held, force=True).outcome is Outcome.DEAD
    after = scene.held(held).status
    assert (after.grant, after.attempts, after.paused, after.told) == (Grant.DEAD, 0, True, Step.LAST)
    assert [step for _, step, _ in scene.messages(held)] == ["last"]
    assert scene.attend(held, force=True).reason == "login_needed"


def test_a_token_that_is_too_young_waits_and_nobody_hears_of_it(scene: Scene, instagram: MetaPlatform) -> None:
    held = scene.account(instagram, "anna", age=timedelta(hours=3), life=timedelta(days=5))
    came = scene.attend(held, force=True)
    assert (came.outcome, came.reason) == (Outcome.WAITING, "too_young")
    assert came.until == scene.now + timedelta(hours=21)
    assert scene.signals("tokens.refresh_failed", "tokens.climbed") == []
    scene.at(came.until or scene.now)
    assert scene.held(held).status.attempts == 0


@pytest.mark.parametrize("issued", ["issued_at", "NULL"])
def test_a_platform_that_never_finds_it_old_enough_is_trouble_like_any_other(
    scene: Scene, instagram: MetaPlatform, issued: str
) -> None:
    held = near_its_end(scene, instagram, days=9)
    instagram.refuse(GraphError(100, text="The access token must be at least 24 hours old"))
    scene.ledger.sql(f"UPDATE token_status SET issued_at = {issued}")
    for _ in range(6):
        scene.attend(held)
        scene.after(days=1)
    after = scene.held(held).status
    assert (after.attempts >= 3, after.told) == (True, Step.RECONNECT)


def test_a_refresh_that_moves_no_end_is_a_failed_one(scene: Scene, instagram: MetaPlatform) -> None:
    held = near_its_end(scene, instagram)
    instagram.life = timedelta(days=5)
    try:
        came = scene.attend(held, force=True)
    finally:
        instagram.life = timedelta(days=60)
    assert (came.outcome, came.reason) == (Outcome.FAILED, settling.NOT_EXTENDED)
    assert (scene.held(held).status.attempts, scene.held(held).status.generation) == (1, 2)


def test_a_wrong_app_secret_is_one_notice_for_all_accounts_and_uses_up_no_try(
    scene: Scene, instagram: MetaPlatform
) -> None:
    accounts = [scene.account(instagram, name, age=timedelta(days=55)) for name in ("anna", "bob", "cleo")]
    instagram.fail(Fault.APP)
    assert [scene.attend(one, force=True).outcome for one in accounts] == [Outcome.WAITING] * 3
    assert [row.subject for row in scene.signals("tokens.app_refused")] == ["app:instagram"]
    assert {scene.held(one).status.attempts for one in accounts} == {0}
    assert scene.attend(accounts[0]).outcome is not Outcome.REFRESHED
    instagram.heal()
    scene.after(hours=23)
    assert scene.attend(accounts[0]).outcome is Outcome.REFRESHED
    assert len(scene.signals("tokens.app_accepted")) == 1


def test_when_an_app_is_accepted_again_none_of_its_accounts_says_otherwise(
    scene: Scene, instagram: MetaPlatform
) -> None:
    due = scene.account(instagram, "anna", age=timedelta(days=55))
    others = [scene.account(instagram, name, age=timedelta(days=20)) for name in ("bob", "cleo")]
    instagram.fail(Fault.APP)
    assert [scene.attend(one, force=True).reason for one in (due, others[0])] == ["app_refused"] * 2
    scene.ledger.sql("UPDATE token_status SET reason = 'damaged' WHERE account_id = :id", id=others[1].account.id)
    instagram.heal()
    scene.after(hours=2)
    assert scene.attend(due).outcome is Outcome.REFRESHED
    assert [scene.held(one).status.reason for one in (due, *others)] == ["", "", "damaged"]
    assert scene.held(others[0]).status.detail == ""


def test_a_platform_that_answers_nobody_is_waited_for_before_everybody_has_lost_a_try(
    scene: Scene, instagram: MetaPlatform
) -> None:
    accounts = [scene.account(instagram, f"a{place}", age=timedelta(days=55)) for place in range(14)]
    instagram.fail(Fault.ERROR_500)
    scene.after(days=1)
    came = [scene.attend(one).outcome for one in accounts]
    assert came == [Outcome.FAILED] * 10 + [Outcome.WAITING] * 4
    assert len(scene.signals("tokens.platform_unsure")) == 1
    instagram.heal()
    scene.after(hours=2)
    assert {scene.attend(one).outcome for one in accounts} == {Outcome.REFRESHED}
    assert len(scene.signals("tokens.platform_sure")) == 1


def test_after_a_hold_one_account_asks_first_and_costs_no_other_its_consent(scene: Scene, x: OAuthPlatform) -> None:
    held = [scene.account(x, f"a{place}", age=timedelta(hours=1), life=timedelta(hours=2)) for place in range(3)]
    with unit_of_work() as uow:
        for _ in range(apps_state.LOST_AFTER):
            apps_state.failed(uow, App(name="x"), now=scene.now, lost=True)
    scene.after(minutes=6)
    with ThreadPoolExecutor(3) as pool:
        x.fail(Fault.RESET_AFTER)
        came = sorted(found.outcome for found in pool.map(scene.attend, held))
        x.heal()
    assert came == [Outcome.LOST, Outcome.WAITING, Outcome.WAITING]
    scene.after(minutes=5)
    assert {scene.attend(one).outcome for one in held[:2]} <= {Outcome.WAITING, Outcome.NOTHING}
    scene.after(minutes=6)
    assert sorted(scene.attend(one).outcome for one in held) == [Outcome.NOTHING, Outcome.REFRESHED, Outcome.REFRESHED]


def test_what_was_told_of_an_app_ends_when_something_else_is_the_matter(scene: Scene) -> None:
    app, until = App(name="x"), scene.now + timedelta(hours=1)
    with unit_of_work() as uow:
        apps_state.odd(uow, app, reason="undocumented", detail="")
        apps_state.limited(uow, app, until=until)
        assert apps_state.read(uow.session, "x").block(scene.now) is not None
        for _ in range(apps_state.OUTAGE_AFTER):
            apps_state.failed(uow, app, now=scene.now, lost=False)
        apps_state.odd(uow, app, reason="undocumented", detail="")
        apps_state.refused(uow, app, reason="app_refused", detail="", until=until)
        apps_state.answered(uow, app)
    assert [row.kind.removeprefix("tokens.") for row in scene.signals()] == [
        "answer_unknown", "answer_known", "platform_unsure", "platform_sure", "app_refused", "app_accepted",
    ]  # fmt: skip


def test_an_app_that_is_gone_from_the_catalogue_is_told_at_once(scene: Scene, instagram: MetaPlatform) -> None:
    held = scene.account(instagram, "anna", age=timedelta(days=52))
    scene.ledger.sql("UPDATE accounts SET app = 'gone'")
    scene.after(days=1)
    assert scene.attend(held).reason == "app_missing"
    assert isinstance(attending.check(held.account.id, by="person", now=scene.now), provider.Refused)
    assert [(row.subject, row.labels["platform"]) for row in scene.signals("tokens.app_refused")] == [
        ("app:gone", "instagram")
    ]
    assert scene.held(held).status.attempts == 0
    scene.sweep()
    scene.after(days=1)
    scene.sweep()
    assert scene.signals("tokens.app_accepted") == []
    scene.ledger.sql("UPDATE accounts SET app = ''")
    scene.after(days=1)
    scene.sweep()
    assert [row.labels for row in scene.signals("tokens.app_accepted")] == [{"platform": "instagram", "app": "gone"}]


def test_nobody_hears_of_a_token_that_only_waits_for_its_turn(scene: Scene, instagram: MetaPlatform) -> None:
    accounts = [near_its_end(scene, instagram, days=0.5, name=name) for name in ("anna", "bob")]
    scene.rate = 1
    scene.catalogue(instagram)
    came = [scene.attend(one).outcome for one in accounts]
    assert came == [Outcome.REFRESHED, Outcome.WAITING]
    assert scene.signals("tokens.climbed", "tokens.paused") == []


def test_with_the_key_missing_nothing_is_overwritten_and_one_notice_goes_out(
    scene: Scene, instagram: MetaPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [scene.account(instagram, name, age=timedelta(days=55)) for name in ("anna", "bob")]
    before = scene.ledger.sql("SELECT access, key_id, generation FROM token_status ORDER BY account_id")
    monkeypatch.setenv("SMM_TOKEN_KEYS", new_key("other"))
    settings.cache_clear()
    for one in accounts:
        assert scene.attend(one, force=True).reason == "key_missing"
    assert scene.ledger.sql("SELECT access, key_id, generation FROM token_status ORDER BY account_id") == before
    [told] = scene.signals("tokens.key_missing")
    assert (told.subject, told.facts["account"]) == ("key:test", accounts[0].account.key)
    assert instagram.calls["refresh", "anna"] == 0


def test_without_any_key_the_ladder_goes_on_and_staff_are_told(
    scene: Scene, instagram: MetaPlatform, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = scene.account(instagram, "anna", age=timedelta(days=59, hours=6))
    monkeypatch.delenv("SMM_TOKEN_KEYS")
    monkeypatch.setenv("SMM_TOKEN_KEYS_FILE", str(home / "no.keys"))
    settings.cache_clear()
    assert keys_in_use.watch(scene.now) == {"test": "key_missing"}
    assert scene.attend(held).reason == "key_missing"
    assert [row.subject for row in scene.signals("tokens.key_missing")] == ["key:test"]
    after = scene.held(held).status
    assert (after.told, after.next_at) == (Step.LAST, scene.now + attending.KEY_RETRY)
    found = attending.check(held.account.id, by="person", now=scene.now)
    assert isinstance(found, provider.Refused)
    scene.ledger.sql("DELETE FROM accounts")
    assert keys_in_use.watch(scene.now) == {}


def test_a_ciphertext_of_another_row_does_not_open(scene: Scene, instagram: MetaPlatform) -> None:
    anna = scene.account(instagram, "anna", age=timedelta(days=55))
    bob = scene.account(instagram, "bob", age=timedelta(days=55))
    scene.ledger.sql(
        "UPDATE token_status SET access = (SELECT access FROM token_status WHERE account_id = :bob) "
        "WHERE account_id = :anna",
        anna=anna.account.id,
        bob=bob.account.id,
    )
    assert scene.attend(anna, force=True).reason == "damaged"
    assert scene.attend(bob, force=True).outcome is Outcome.REFRESHED
    assert instagram.calls["refresh", "anna"] == 0


def test_a_revoked_token_is_noticed_by_a_check_and_its_owner_told(scene: Scene, instagram: MetaPlatform) -> None:
    held = scene.account(instagram, "anna")
    assert isinstance(attending.check(held.account.id, by="person", now=scene.now), provider.Known)
    instagram.revoke("anna", 458)
    found = attending.check(held.account.id, by="person", now=scene.now)
    assert isinstance(found, provider.Refused)
    assert scene.held(held).status.reason == "app_removed"
    assert [step for _, step, _ in scene.messages(held)] == ["last"]


def test_a_refused_access_token_with_a_good_refresh_token_is_refreshed(scene: Scene, x: OAuthPlatform) -> None:
    held = scene.account(x, "anna", age=timedelta(hours=3), life=timedelta(hours=2))
    attending.check(held.account.id, by="person", now=scene.now)
    assert (scene.held(held).status.generation, scene.held(held).status.grant) == (2, Grant.GOOD)


def test_refused_access_tokens_cost_no_refresh_tokens_while_answers_get_lost(scene: Scene, x: OAuthPlatform) -> None:
    held = scene.account(x, "anna", age=timedelta(hours=3), life=timedelta(hours=2))
    with unit_of_work() as uow:
        for _ in range(apps_state.LOST_AFTER):
            apps_state.failed(uow, App(name="x"), now=scene.now, lost=True)
    scene.after(minutes=1)
    assert isinstance(attending.check(held.account.id, by="platform error", now=scene.now), provider.Refused)
    assert x.calls["refresh", "anna"] == 0
    assert scene.held(held).status.grant is Grant.GOOD
    assert scene.attend(held, force=True).outcome is Outcome.REFRESHED


def test_the_daily_look_counts_all_tokens_and_puts_right_what_waits_for_the_wrong_time(
    scene: Scene, instagram: MetaPlatform
) -> None:
    accounts = [scene.account(instagram, f"a{days}", age=timedelta(days=60 - days)) for days in (2, 6, 20, 40)]
    dead = scene.account(instagram, "dead", tenant="other")
    instagram.revoke("dead")
    scene.attend(dead, force=True)
    scene.ledger.sql("UPDATE token_status SET next_at = NULL")
    assert scene.sweep() == []
    instagram.fail(Fault.ERROR_500)
    scene.at(scene.now.replace(hour=9) + timedelta(days=1))
    assert [came.outcome for came in scene.sweep()] == [Outcome.FAILED] * 2
    days = scene.ledger.sql("SELECT tenant, checked, healthy, expiring_soon, critical FROM token_days ORDER BY tenant")
    assert [tuple(day) for day in days] == [("acme", 4, 2, 2, 0), ("other", 1, 0, 0, 1)]
    assert [scene.held(one).status.attempts for one in accounts] == [1, 1, 0, 0]
    assert all(scene.held(one).status.next_at is not None for one in accounts)


def test_a_row_that_somebody_holds_holds_up_nobody_else(scene: Scene, instagram: MetaPlatform) -> None:
    anna, bob = (near_its_end(scene, instagram, name=name) for name in ("anna", "bob"))
    with unit_of_work() as uow:
        store.lock(uow, anna.account.id)
        assert sweeping.sweep(scene.now) == 1
    [job] = scene.ledger.sql("SELECT kwargs FROM jobs WHERE task = 'tasks.tokens.attend'")
    assert job.kwargs["account_id"] == str(bob.account.id)
    assert sweeping.sweep(scene.now) == 1


def test_a_daily_look_that_fails_holds_up_nothing_that_is_due(scene: Scene, instagram: MetaPlatform) -> None:
    held = near_its_end(scene, instagram, days=10.1)
    scene.sweep()
    scene.at(scene.now.replace(hour=10) + timedelta(days=1))
    scene.ledger.sql("ALTER TABLE token_days ADD CONSTRAINT none CHECK (checked = 0) NOT VALID")
    try:
        with pytest.raises(Transient):
            scene.sweep()
    finally:
        scene.ledger.sql("ALTER TABLE token_days DROP CONSTRAINT none")
    [job] = scene.ledger.sql("SELECT kwargs FROM jobs WHERE task = 'tasks.tokens.attend'")
    assert job.kwargs["account_id"] == str(held.account.id)


def test_a_token_that_never_expires_is_asked_about_at_each_daily_look(scene: Scene) -> None:
    with MetaPlatform("facebook") as facebook:
        scene.catalogue(facebook)
        facebook.life = None
        held = scene.account(facebook, "anna")
        assert held.status.expires_at is None
        scene.sweep()
        facebook.revoke("anna", 458)
        scene.at(scene.now.replace(hour=9) + timedelta(days=1))
        scene.sweep()
        [job] = scene.ledger.sql("SELECT kwargs FROM jobs WHERE task = 'tasks.tokens.check'")
        assert job.kwargs["account_id"] == str(held.account.id)
        attending.check(held.account.id, by="daily look", now=scene.now)
        after = scene.held(held).status
        assert (after.grant, after.paused, after.told) == (Grant.DEAD, True, Step.LAST)


def test_staff_learn_that_tokens_without_an_end_cannot_be_asked_about(scene: Scene) -> None:
    with MetaPlatform("facebook") as facebook:
        scene.catalogue(facebook)
        facebook.life = None
        held = scene.account(facebook, "anna")
        for error in (GraphError(100, text="Unsupported"), GraphError(190, text="Error validating application")):
            facebook.refuse(error)
            attending.check(held.account.id, by="daily look", now=scene.now)
            facebook.accept()
            attending.check(held.account.id, by="daily look", now=scene.now)
    assert [row.kind.removeprefix("tokens.") for row in scene.signals() if row.subject.startswith("app:")] == [
        "answer_unknown", "answer_known", "app_refused", "app_accepted",
    ]  # fmt: skip


def test_one_damaged_row_is_told_as_that_account_and_over_with_its_next_token(
    scene: Scene, instagram: MetaPlatform
) -> None:
    anna, bob = (scene.account(instagram, name, age=timedelta(days=52)) for name in ("anna", "bob"))
    scene.ledger.sql("UPDATE token_status SET access = reverse(access) WHERE account_id = :id", id=anna.account.id)
    for _ in range(3):
        scene.attend(anna, force=True)
        scene.attend(bob)
        scene.after(hours=1)
    assert [row.subject for row in scene.signals("tokens.refresh_failed")] == [anna.account.subject]
    assert scene.signals("tokens.key_missing") == []
    scene.connect(anna, instagram)
    assert [row.subject for row in scene.signals("tokens.recovered")] == [anna.account.subject]


def test_a_key_with_other_bytes_is_one_notice_whatever_the_number_of_accounts(
    scene: Scene, instagram: MetaPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [scene.account(instagram, name, age=timedelta(days=55)) for name in ("anna", "bob")]
    monkeypatch.setenv("SMM_TOKEN_KEYS", new_key("test"))
    settings.cache_clear()
    assert {scene.attend(one, force=True).reason for one in accounts} == {"damaged"}
    assert [row.subject for row in scene.signals("tokens.key_missing", "tokens.refresh_failed")] == ["key:test"]


def test_what_is_paused_is_said_again_each_day_until_it_is_over(scene: Scene, instagram: MetaPlatform) -> None:
    held = scene.account(instagram, "anna")
    instagram.revoke("anna")
    scene.sweep()
    scene.attend(held, force=True)
    for _ in range(2):
        scene.at(scene.now.replace(hour=9, minute=1) + timedelta(days=1))
        scene.sweep()
    assert len(scene.signals("tokens.paused", subject=held.account.subject)) == 3
    scene.connect(held, instagram)
    scene.after(days=1)
    scene.sweep()
    assert [row.kind for row in scene.signals("tokens.paused", "tokens.resumed")][-2:] == [
        "tokens.paused",
        "tokens.resumed",
    ]
