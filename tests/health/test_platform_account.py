"""The platform probe of an account whose token is kept here: by what is known of it, then by its platform's answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.errors import Transient
from app.health import accounts
from app.health.probes import platform
from app.health.probing import CannotTell, Outcome, Target
from app.tokens import standing
from app.tokens.core import Grant
from app.tokens.store import Held
from tests.tokens.platforms.meta import GraphError, MetaPlatform
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.scene import Scene, scene

__all__ = ["scene"]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[MetaPlatform, OAuthPlatform]]:
    with MetaPlatform("instagram") as instagram, OAuthPlatform("x") as x:
        yield instagram, x


@pytest.fixture
def instagram(running: tuple[MetaPlatform, OAuthPlatform], scene: Scene) -> Iterator[MetaPlatform]:
    """Its accounts are looked at by the test's clock."""
    for one in running:
        one.heal()
        one.calls.clear()
    running[0].accept()
    scene.catalogue(*running)
    accounts.use(lambda name, account: standing.look(name, account, now=scene.now))
    yield running[0]
    accounts.use(standing.look)


@pytest.fixture
def x(running: tuple[MetaPlatform, OAuthPlatform], instagram: MetaPlatform) -> OAuthPlatform:
    return running[1]


@pytest.fixture
def anna(instagram: MetaPlatform, scene: Scene) -> Held:
    """58 days are left."""
    return scene.account(instagram, "anna")


def probe(held: Held | str) -> Outcome | CannotTell:
    target = Target(name="instagram", timeout_seconds=2, home=Path("/"))
    account = held if isinstance(held, str) else held.account.key
    return platform.probe(target, platform.Options.model_validate({"account": account}))


def code(outcome: Outcome | CannotTell) -> str | None:
    assert isinstance(outcome, Outcome)
    return None if outcome.error is None else outcome.error.code


def test_an_accepted_token_tells_its_days_and_how_fast_the_platform_answered(anna: Held) -> None:
    outcome = probe(anna)
    assert code(outcome) is None
    assert isinstance(outcome, Outcome)
    assert outcome.readings == {"days_remaining": 58.0}
    assert outcome.latency_ms is not None
    limits = platform.THRESHOLDS["days_remaining"]
    assert [limits.level(days) for days in (4, 3, 1)] == [None, ("warning", 3), ("degraded", 1)]


def test_what_lives_for_hours_tells_no_days(scene: Scene, x: OAuthPlatform) -> None:
    outcome = probe(scene.account(x, "bert"))
    assert isinstance(outcome, Outcome)
    assert (outcome.error, outcome.readings) == (None, {})


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"grant_state": ""}, "the account was never connected"),
        ({"grant_state": "dead", "reason": "password_changed"}, "the owner must log in again (password_changed)"),
        ({"grant_state": "lost"}, "its refresh token was lost: the owner must log in again"),
        ({"expires_at": "2027-01-01"}, "the token has expired"),
    ],
)
def test_what_is_known_to_be_no_good_is_refused_without_asking(
    scene: Scene, instagram: MetaPlatform, anna: Held, columns: dict[str, Any], text: str
) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    scene.ledger.sql(f"UPDATE token_status SET {sets}", **columns)
    outcome = probe(anna)
    assert isinstance(outcome, Outcome)
    assert (code(outcome), outcome.error and outcome.error.text) == ("refused", text)
    assert not instagram.calls


def test_a_token_that_was_revoked_is_refused_and_declared_dead(
    scene: Scene, instagram: MetaPlatform, anna: Held
) -> None:
    instagram.revoke("anna")
    assert code(probe(anna)) == "refused"
    assert scene.held(anna).status.grant is Grant.DEAD


def test_the_platforms_own_trouble_is_told_apart(instagram: MetaPlatform, anna: Held) -> None:
    instagram.refuse(GraphError(2, status=500))
    assert code(probe(anna)) == "platform"
    instagram.refuse(GraphError(4, status=429))
    assert isinstance(probe(anna), CannotTell)


def test_a_disabled_account_tells_nothing_and_one_that_is_not_here_fails(scene: Scene, anna: Held) -> None:
    assert code(probe("instagram/99")) == "account"
    scene.ledger.sql("UPDATE accounts SET disabled_at = now()")
    assert isinstance(probe(anna), CannotTell)


def test_a_missing_key_is_no_fault_of_the_platform(scene: Scene, anna: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.ledger.sql("UPDATE token_status SET key_id = 'gone'")
    outcome = probe(anna)
    assert code(outcome) == "key"
    assert isinstance(outcome, Outcome)
    assert outcome.error is not None
    assert '"gone"' in outcome.error.text


def test_a_token_that_is_refreshed_instead_is_good(scene: Scene, x: OAuthPlatform) -> None:
    held = scene.account(x, "bert")
    for given in x.access.values():
        given.expires_at = scene.now
    assert code(probe(held)) is None
    assert scene.held(held).status.generation == 2


def test_while_postgres_is_away_nothing_can_be_told() -> None:
    def away(_platform: str, _account: str) -> standing.Standing:
        raise Transient("away")

    before = accounts.look()
    accounts.use(away)
    try:
        assert isinstance(probe("instagram/1"), CannotTell)
    finally:
        accounts.use(before or standing.look)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "http://x/me"},
        {"token": "t"},
        {"account": "instagram"},
        {"account": "/1"},
        {"account": "instagram/1", "token": "t", "url": "http://x/me"},
    ],
)
def test_there_is_exactly_one_of_two_ways(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        platform.Options.model_validate(options)


def test_the_way_of_the_account_leaves_the_rest_out() -> None:
    assert platform.Options.model_validate({"account": "instagram/a/b"}).account == "instagram/a/b"
    assert timedelta(seconds=platform.DEFAULTS.interval_seconds) == timedelta(minutes=15)
