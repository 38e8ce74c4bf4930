"""Where tokens stand by SQL is where the ladder says that they stand."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import text

from app.catalog import App, Connecting
from app.infra.db import read_only
from app.tokens import core, levels, store
from app.tokens.apps_state import AppState
from app.tokens.provider import ProviderModule, Traits
from tests.tokens.rows import Kept, keep

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
PLATFORMS = {
    "one": Traits(life=60 * DAY, one_token=True, minimum_age=DAY),
    "hourly": Traits(life=timedelta(hours=2), lead=timedelta(minutes=20), rotates=True),
    "ending": Traits(life=60 * DAY, deadline=True),
}
APPS = Connecting(apps={name: App(name=name, platform=of) for name, of in (("brand", "one"), ("held", "one"))})
QUICK = {**APPS.apps, "brand": App(name="brand", platform="one", refresh_minutes=30)}
HELD = AppState("held", "limited", held_until=NOW + timedelta(hours=1))
_SPANS = (-DAY, -timedelta(seconds=1), timedelta(), timedelta(minutes=10), timedelta(minutes=30), DAY, 3 * DAY, 9 * DAY)


def moments(chance: random.Random) -> datetime | None:
    """Before, at and after every bound of every ladder."""
    span = chance.choice((*_SPANS, 10 * DAY, 60 * DAY, None))
    return None if span is None else NOW + span + timedelta(seconds=chance.choice((-1, 0, 0, 1)))


def accounts() -> list[Kept]:
    chance = random.Random(7)
    found = []
    kinds = itertools.product(PLATFORMS, ("good", "dead", "lost", ""), (0, 1, 3), (b"r", None))
    for number, (platform, grant, attempts, refresh) in enumerate(itertools.chain(*itertools.repeat(tuple(kinds), 8))):
        token: dict[str, Any] = {"grant_state": grant, "attempts": attempts, "refresh": refresh}
        token |= {"expires_at": moments(chance), "refresh_expires_at": moments(chance)}
        app = chance.choice(("", "", "brand", "held", "gone"))
        disabled_at = NOW if chance.random() < 0.05 else None
        found.append(Kept(f"a{number}", platform=platform, app=app, disabled_at=disabled_at, token=token))
    return found


def expected(row: Any, connecting: Connecting) -> tuple[int, str]:
    """By the ladder, in Python."""
    account, status = store.account_of(row), store.status_of(row)
    app = connecting.app_of(account.platform, account.app)
    traits = PLATFORMS[account.platform]
    ladder = core.ladder_of(connecting.tokens, traits, app)
    token = store.token_of(account, status, blocked=app is not None and app.name == HELD.name)
    level = core.level_of(token, ladder, traits, NOW)
    without = levels.DISABLED if account.disabled_at else levels.UNCONNECTED
    return core.place_of(token, ladder, traits, NOW).step.height, without if level is None else level.value


def test_the_query_and_the_ladder_agree_about_every_token(database: str) -> None:
    keep(*accounts())
    providers = {name: cast("ProviderModule", SimpleNamespace(TRAITS=traits)) for name, traits in PLATFORMS.items()}
    stands = f"{levels.HEIGHT} AS height, {levels.level(levels.HEIGHT)} AS level"
    query = text(f"SELECT {store.COLUMNS}, {stands} FROM {levels.SOURCE}")
    seen = set()
    for connecting in (APPS, Connecting(apps=QUICK)):
        with read_only() as session:
            given = levels.given(levels.rules(providers, connecting, {HELD.name: HELD}, NOW), NOW)
            rows = session.execute(query, given).all()
        assert {row.external_id: (row.height, row.level) for row in rows} == {
            row.external_id: expected(row, connecting) for row in rows
        }
        seen |= {(row.height, row.level) for row in rows}
    assert {level for _, level in seen} == set(levels.LEVELS)
    assert {height for height, _ in seen} == {0, 1, 2, 3, 4}


def test_a_platform_that_is_not_known_here_has_no_level(database: str) -> None:
    keep(Kept("a", platform="myspace"))
    with read_only() as session:
        given = levels.given(levels.rules({}, APPS, {}, NOW), NOW)
        query = f"SELECT {levels.HEIGHT} AS height, {levels.level(levels.HEIGHT)} AS level FROM {levels.SOURCE}"
        assert session.execute(text(query), given).one() == (0, levels.UNCONNECTED)
