"""Operations of an account wait while its token is no good, and go on when there is a good one."""

from __future__ import annotations

import pytest

from app import clock
from app.admission import admitting, requests, token_effects
from app.infra import ids, redis
from app.infra.db import unit_of_work
from app.limits import keys
from app.signals import Signal, record
from tests.admission.conftest import SERVICES, Scene
from tests.admission.pausing import mirrored, open_pauses, pause

ANNA = "account:instagram/17841"
OPERATIONS = """
[operations.publish]
platform = "instagram"
requires_token = true

[operations.look]
platform = "instagram"
"""


def tell(kind: str, subject: str = ANNA, **facts: object) -> Signal:
    with unit_of_work() as uow:
        return record(uow, f"tokens.{kind}", subject, labels={"platform": "instagram"}, facts=facts)


def tell_nobody(**facts: object) -> Signal:
    """A signal that was never written."""
    return Signal(ids.uuid7(), "tokens.paused", ANNA, 1, {}, dict(facts), clock.now())


def held() -> list[tuple[str, str, str]]:
    return [(one.scope, one.holder, one.effect) for one in open_pauses()]


def test_what_needs_the_token_waits_and_the_rest_goes_on(scene: Scene) -> None:
    scene.catalogue(SERVICES + OPERATIONS)
    redis.client().set(keys.EPOCH, "whole:1")
    tell("paused", reason="password_changed", detail="the platform answered 190, 460")
    scene.work()
    assert held() == [(ANNA, "tokens", "token")]
    [one] = open_pauses()
    assert one.reason == "waits for a good token (password_changed; the platform answered 190, 460)"
    asked = {"account": "17841", "on_wait": "deny"}
    told = admitting.admit(
        [requests.parse({"operation": name, **asked}, caller="the-test") for name in ("publish", "look")]
    )
    assert [(one.outcome, one.reason) for one in told] == [("deny", "token"), ("allow", "room")]
    tell("resumed")
    scene.work()
    assert (held(), mirrored()) == ([], {})


@pytest.mark.parametrize("kind", ["resumed", "disabled", "removed"])
def test_each_of_these_ends_the_wait(scene: Scene, kind: str) -> None:
    tell("paused")
    scene.work()
    assert open_pauses()[0].reason == "waits for a good token"
    tell(kind, reason="left us")
    scene.work()
    assert held() == []


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("", "there is a good token"),
        ("removed", "the account was removed"),
        ("disabled", "the account is disabled: nobody looks after its token"),
    ],
)
def test_it_is_said_why_operations_go_on(scene: Scene, reason: str, why: str) -> None:
    tell("paused")
    scene.work()
    tell("resumed", reason=reason)
    scene.work()
    assert [row.facts["why"] for row in scene.signals("pauses.lifted")] == [why]


def test_an_older_signal_changes_nothing_and_odd_accounts_are_left_alone(scene: Scene) -> None:
    tell("paused")
    tell("resumed")
    tell("paused", "account:" + "x" * 500)
    scene.ledger.sql("UPDATE jobs SET created_at = now() - (created_at - '2020-01-01')")  # the last one comes first
    scene.work()
    assert held() == []


def test_a_pause_of_people_stays(scene: Scene) -> None:
    pause(ANNA)
    tell("paused")
    scene.work()
    tell("resumed")
    scene.work()
    assert held() == [(ANNA, "person:", "wait")]


def test_the_reason_is_never_too_long() -> None:
    signal = tell_nobody(reason="r", detail="d" * 1000)
    assert len(token_effects.reason_of(signal)) == 500
