"""A year of 200 accounts on seven platforms and in three time zones, in compressed time.

Whoever's platform works is connected all the time. Whoever's does not is tried, told, paused and given back at the
hours that plain arithmetic names, and each message goes out once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.tokens.settling import Outcome
from app.tokens.store import Held
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.platforms.serving import Fault
from tests.tokens.scene import START, Scene

YEAR = timedelta(days=365)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LEAD, SPREAD = timedelta(days=10), timedelta(minutes=30)
ZONES = {"acme": "America/New_York", "kali": "Asia/Kolkata", "plain": "UTC"}
COUNTS = {"instagram": 110, "threads": 30, "facebook": 30, "linkedin": 23, "x": 3, "tiktok": 2, "reddit": 2}
SHORT = {"x", "tiktok", "reddit"}
"""Their tokens live for hours: they join on the last day, or there would be nothing else to see."""
TENANTS = "".join(f'[tenants.{name}]\ntimezone = "{zone}"\n' for name, zone in ZONES.items() if name != "plain")


@dataclass(slots=True)
class Life:
    """An account's year. `fate`: "works", "fails" (for good), "stumbles" (for a while), "revoked", or "ends": by a
    consent that no refresh makes longer."""

    held: Held
    platform: Any
    name: str
    fate: str
    joined_at: datetime
    ends_at: datetime
    """Of the token that it came with."""
    login_at: datetime | None = None
    """When its owner logs in again."""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))


@pytest.fixture(scope="module")
def platforms() -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        metas = {name: MetaPlatform(name) for name in ("instagram", "threads", "facebook")}
        others = {name: OAuthPlatform(name) for name in ("linkedin", "x", "tiktok", "reddit")}
        yield {name: stack.enter_context(one) for name, one in (metas | others).items()}


def test_a_year_of_two_hundred_accounts(scene: Scene, platforms: dict[str, Any]) -> None:
    scene.catalogue(*platforms.values(), more=TENANTS)
    dice = random.Random(20_270_301)
    lives = [_life(scene, platforms[name], place, dice) for name, count in COUNTS.items() if name not in SHORT
             for place in range(count)]  # fmt: skip
    _break_some(lives, dice)
    _run(scene, lives, until=START + YEAR - DAY)
    late = [_life(scene, platforms[name], place, dice) for name in SHORT for place in range(COUNTS[name])]
    _run(scene, [*lives, *late], until=START + YEAR)

    for life in [*lives, *late]:
        match life.fate:
            case "works" if life.platform.platform in SHORT:
                _was_never_dark(scene, life)
            case "works":
                _was_refreshed_at_nine(scene, life)
            case "ends":
                _was_asked_before_its_consent_ended(scene, life)
            case "revoked":
                _was_told_at_the_try(scene, life)
            case _:
                _climbed_at_the_right_hours(scene, life)
    everything = Counter((m.account_id, m.climb, m.step, m.recipient) for m in _messages(scene))
    assert set(everything.values()) == {1}
    assert [one.reused for one in platforms.values()] == [[]] * len(platforms)
    assert len(lives) + len(late) == 200


def _life(scene: Scene, platform: Any, place: int, dice: random.Random) -> Life:
    tenant = list(ZONES)[place % len(ZONES)]
    name = f"{platform.platform[:2]}{place}"
    long = platform.platform not in SHORT
    life = timedelta(days=60) if long else platform.life
    age = timedelta(seconds=dice.randrange(2 * 86_400, 49 * 86_400)) if long else timedelta()
    held = scene.account(platform, name, tenant=tenant, age=age, life=life)
    assert held.status.expires_at is not None
    fate = "ends" if platform.platform == "linkedin" else "works"
    return Life(held, platform, name, fate, scene.now, held.status.expires_at, zone=ZoneInfo(ZONES[tenant]))


def _break_some(lives: list[Life], dice: random.Random) -> None:
    """Forty of them meet trouble with the token that they came with."""
    chosen = dice.sample([life for life in lives if life.platform.platform != "linkedin"], 40)
    for place, life in enumerate(chosen):
        life.fate = ("fails", "stumbles", "revoked", "fails")[place % 4]
        if life.fate == "revoked":
            life.platform.revoke(life.name)
        else:
            life.platform.fail(Fault.ERROR_500, life.name)
        if place % 2 == 0:
            life.login_at = life.ends_at + timedelta(days=dice.randrange(1, 30))


def _run(scene: Scene, lives: list[Life], *, until: datetime) -> None:
    """Go from moment to moment at which something is due, and let owners do what they do."""
    mends = sorted(
        [(life.ends_at - 4 * DAY - 7 * HOUR, life) for life in lives if life.fate == "stumbles"]
        + [(life.login_at, life) for life in lives if life.login_at is not None and life.fate != "stumbles"],
        key=lambda one: one[0],
    )
    mends = [(moment, life) for moment, life in mends if moment > scene.now]
    while True:
        one, all_of_them = scene.next_at()
        due = min(moment or until + DAY for moment in (one, all_of_them))
        if mends and mends[0][0] <= due and mends[0][0] <= until:
            moment, life = mends.pop(0)
            scene.at(moment)
            life.platform.heal(life.name)
            if life.fate != "stumbles":
                scene.connect(life.held, life.platform)
            continue
        if due > until:
            break
        scene.at(max(due, scene.now))
        if all_of_them is None or all_of_them <= scene.now:
            scene.sweep()
            _deliver(scene)
        elif {came.outcome for came in scene.attend_due()} != {Outcome.REFRESHED}:
            _deliver(scene)
    scene.at(until)


def _deliver(scene: Scene) -> None:
    """What the jobs that were submitted beside do: every message that is still wanted is sent."""
    if scene.ledger.sql("DELETE FROM jobs RETURNING 1"):
        scene.ledger.sql("UPDATE token_messages SET state = 'sent' WHERE state = 'waiting'")


def _messages(scene: Scene) -> list[Any]:
    rows: list[Any] = scene.ledger.sql("SELECT account_id, climb, step, recipient, created_at FROM token_messages")
    return rows


def _told(scene: Scene, life: Life) -> list[tuple[str, datetime]]:
    """Steps of its first climb, and when the owner was told."""
    rows = scene.ledger.sql(
        "SELECT step, created_at FROM token_messages WHERE account_id = :id AND climb = 1 ORDER BY id",
        id=life.held.account.id,
    )
    return [(row.step, row.created_at) for row in rows]


def _nine(moment: datetime, zone: ZoneInfo) -> datetime:
    """The first nine o'clock there that is not before `moment`."""
    day = moment.astimezone(zone).date()
    found = datetime.combine(day, time(9), zone)
    return found if found >= moment else datetime.combine(day + DAY, time(9), zone)


def _is_near(moment: datetime, nine: datetime) -> bool:
    return nine <= moment < nine + SPREAD


def _was_refreshed_at_nine(scene: Scene, life: Life) -> None:
    rows = scene.history(life.held)
    assert {row.kind for row in rows} <= {"imported", "refreshed", "told", "connected"}, life.name
    ends_at = life.ends_at
    refreshes = [row for row in rows if row.kind == "refreshed"]
    assert len(refreshes) >= 6, life.name
    for row in refreshes:
        assert _is_near(row.at, _nine(ends_at - LEAD, life.zone)), (life.name, row.at, ends_at)
        ends_at = datetime.fromisoformat(row.facts["expires_at"])
    status = scene.held(life.held).status
    assert status.expires_at is not None
    assert status.expires_at > scene.now
    assert not status.paused


def _was_asked_before_its_consent_ended(scene: Scene, life: Life) -> None:
    end = life.held.status.refresh_expires_at
    assert end is not None
    told = dict(_told(scene, life))
    assert _is_near(told["reconnect"], _nine(end - LEAD, life.zone)), life.name
    assert _is_near(told["urgent"], _nine(end - 3 * DAY, life.zone)), life.name
    assert abs(told["last"] - (end - DAY)) < timedelta(minutes=1), life.name  # the platform counts in whole seconds
    status = scene.held(life.held).status
    assert status.expires_at is not None
    dark = status.expires_at - DAY <= scene.now
    assert (status.paused, "expired" in told) == (dark, status.expires_at <= scene.now), life.name
    assert len(scene.history(life.held, "refreshed")) >= 5, life.name


def _was_never_dark(scene: Scene, life: Life) -> None:
    rows = scene.history(life.held)
    assert {row.kind for row in rows} == {"imported", "refreshed"}, life.name
    moments = [life.joined_at, *(row.at for row in rows if row.kind == "refreshed"), scene.now]
    assert max(later - earlier for earlier, later in pairwise(moments)) < life.platform.life, life.name
    assert life.platform.refreshed[life.name] == len(moments) - 2


def _was_told_at_the_try(scene: Scene, life: Life) -> None:
    """The try finds out, the owner is told in the same breath, and nothing is tried again before the login."""
    [dead, *_] = scene.history(life.held, "dead")
    assert _is_near(dead.at, _nine(life.ends_at - LEAD, life.zone)), life.name
    told = _told(scene, life)
    assert told[0] == ("last", dead.at), life.name
    assert told[1] == ("expired", life.ends_at) if len(told) > 1 and told[1][0] == "expired" else True
    assert [row.at for row in scene.history(life.held, "paused")][:1] == [dead.at]
    _came_back(scene, life, told)


def _climbed_at_the_right_hours(scene: Scene, life: Life) -> None:
    mended_at = life.ends_at - 4 * DAY - 7 * HOUR if life.fate == "stumbles" else life.login_at
    failed = [row.at for row in scene.history(life.held, "failed")]
    first = failed[0]
    assert _is_near(first, _nine(life.ends_at - LEAD, life.zone)), life.name
    assert failed[1:3] == [first + HOUR, first + 2 * HOUR], life.name
    for earlier, later in pairwise(failed[2:]):
        assert _is_near(later, _nine(earlier + 12 * HOUR, life.zone)), life.name
    until = min(moment for moment in (mended_at, life.ends_at) if moment is not None)
    assert until - failed[-1] < DAY + SPREAD, life.name
    told = _told(scene, life)
    assert told[0] == ("reconnect", first + 2 * HOUR), life.name
    steps = dict(told)
    if life.fate == "fails":
        urgent = steps["urgent"]
        assert timedelta() <= urgent - (life.ends_at - 3 * DAY) < DAY + SPREAD, life.name
        assert (steps["last"], steps["expired"]) == (life.ends_at - DAY, life.ends_at), life.name
        assert [row.at for row in scene.history(life.held, "paused")] == [life.ends_at - DAY], life.name
    else:
        assert not {"urgent", "last", "expired"} & set(steps), life.name
    _came_back(scene, life, told)


def _came_back(scene: Scene, life: Life, told: list[tuple[str, datetime]]) -> None:
    """Whose trouble is over is told so once, and goes on; the others wait."""
    status = scene.held(life.held).status
    back = life.fate == "stumbles" or life.login_at is not None
    assert [step for step, _ in told].count("restored") == back, life.name
    assert status.paused is not back, life.name
    assert (status.expires_at is not None and status.expires_at > scene.now) is back, life.name
