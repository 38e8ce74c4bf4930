"""A caller meets a token that its platform refuses: the platform is asked, and who must know learns of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from app import clock
from app.admission import outcomes
from app.infra.db import unit_of_work
from app.signals import record
from app.tokens import giving, noticing
from app.tokens.core import Grant
from app.tokens.provider import Known, Refused
from app.tokens.store import Held
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.scene import Scene, scene

__all__ = ["scene"]

CALL = '[operations.call]\nplatform = "instagram"\n'


@pytest.fixture(scope="module")
def running() -> Iterator[MetaPlatform]:
    with MetaPlatform("instagram") as platform:
        yield platform


@pytest.fixture
def instagram(running: MetaPlatform, scene: Scene) -> MetaPlatform:
    running.calls.clear()
    scene.catalogue(running, more=CALL)
    return running


@pytest.fixture
def anna(instagram: MetaPlatform, scene: Scene) -> Held:
    """Whose token was accepted an hour ago."""
    held = scene.account(instagram, "anna")
    scene.after(hours=1)
    return held


def told(held: Held) -> UUID:
    with unit_of_work() as uow:
        return record(uow, outcomes.TOKEN_REFUSED, held.account.subject).id


def questions(platform: MetaPlatform) -> int:
    return sum(count for (what, _), count in platform.calls.items() if what == "introspect")


def test_a_token_that_was_revoked_at_noon_is_noticed_by_the_first_call_that_meets_it(
    scene: Scene, instagram: MetaPlatform, anna: Held
) -> None:
    instagram.revoke("anna")
    sent = {"operation": "call", "account": anna.account.external_id, "status": 400, "error": {"code": 190}}
    outcomes.report([outcomes.parse(sent)])
    [job] = scene.ledger.sql("SELECT kwargs FROM jobs WHERE task = 'tasks.tokens.on_platform_error'")
    found = noticing.follow(UUID(job.kwargs["signal_id"]), scene.now)
    assert isinstance(found, Refused)
    after = scene.held(anna).status
    assert (after.grant, after.paused) == (Grant.DEAD, True)
    assert [row.subject for row in scene.signals("tokens.paused")] == [anna.account.subject]
    assert noticing.follow(told(anna), scene.now) is None
    found = giving.decide(scene.held(anna), timedelta(), scene.now)
    assert found is not None
    assert (found.state, found.since) == ("dead", scene.now)


def test_a_good_token_is_asked_about_once_in_a_few_minutes(scene: Scene, instagram: MetaPlatform, anna: Held) -> None:
    assert isinstance(noticing.follow(told(anna), scene.now), Known)
    assert noticing.follow(told(anna), scene.now) is None
    scene.after(minutes=2)
    assert noticing.follow(told(anna), scene.now) is None
    assert questions(instagram) == 1
    scene.after(minutes=2)
    assert noticing.follow(told(anna), scene.now) is not None
    assert scene.held(anna).status.grant is Grant.GOOD


def test_accounts_that_are_not_kept_here_or_have_no_token_are_left_alone(scene: Scene, anna: Held) -> None:
    with unit_of_work() as uow:
        stranger = record(uow, outcomes.TOKEN_REFUSED, "account:instagram/99").id
    assert noticing.follow(stranger) is None
    for grant in ("", "dead"):
        scene.ledger.sql("UPDATE token_status SET grant_state = :grant", grant=grant)
        assert noticing.follow(told(anna), scene.now) is None
    assert not noticing.is_worth_asking(scene.held(anna), clock.now() + timedelta(days=1))
