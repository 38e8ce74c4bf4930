"""What the page of all tokens shows, made of the API's documents. Pure: takes `now`, returns plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from app.tokens.apps_state import AppState
from app.tokens.levels import DISABLED, LEVELS, UNCONNECTED
from app.tokens.reasons import words
from app.web.console.charts import share
from app.web.console.figures import GLYPHS
from app.web.console.moments import Moment, moment, parse

SIGNS = GLYPHS | {"calm": "–"}
"""Nothing is unknown of an account that is left alone."""
TONES = {"critical": "bad", "expiring_soon": "warn", "healthy": "ok"}
_STATES = {
    "good": "good",
    "waiting": "waits",
    "failing": "fails",
    "reconnect": "login needed",
    "lost": "lost: login needed",
    "expired": "expired",
    "unconnected": "not connected",
    "disabled": "left alone",
}
_NAMES = {UNCONNECTED: "not connected", DISABLED: "left alone"}
_APPS = {
    "refused": "its platform refuses the app",
    "limited": "its platform wants fewer questions",
    "unsure": "its platform gives no answers",
    "odd": "its platform answered something unknown: look at its newest errors",
}
_KEY = "key:"
WORST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Tile:
    """How many accounts are of a level."""

    name: str
    count: str
    tone: str
    href: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One account. `width` of 100 is left of its token's life."""

    account: str
    href: str
    name: str
    tenant: str
    state: str
    tone: str
    glyph: str
    why: str
    detail: str
    left: str
    width: float | None
    refreshed: Moment
    tries: str
    next_look: str


@dataclass(frozen=True, slots=True)
class SuccessRow:
    """A platform's refreshes."""

    platform: str
    href: str
    percent: str
    width: float
    tone: str
    said: str
    why: str


@dataclass(frozen=True, slots=True)
class TokensPage:
    """All of it."""

    filters: tuple[str, ...]
    all_href: str
    notices: tuple[str, ...]
    tiles: tuple[Tile, ...]
    rows: tuple[TokenRow, ...]
    success: tuple[SuccessRow, ...]
    succeeded: str
    target: str
    days: int
    total: str
    next_href: str | None
    is_ever: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What the page is made of. `shown`: documents of accounts with their levels, in order."""

    filters: Mapping[str, str]
    shown: Sequence[tuple[str, Mapping[str, Any]]]
    following: str | None
    counts: Mapping[str, int]
    apps: Mapping[str, AppState]
    success: Mapping[str, Any]


def tokens_page(facts: Facts, now: datetime) -> TokensPage:
    """Of all accounts, or those that the filters leave."""
    given = {name: value for name, value in facts.filters.items() if value}
    found = facts.success
    total = sum(facts.counts.values())
    return TokensPage(
        filters=tuple(_NAMES.get(value, value.replace("_", " ")) for value in given.values()),
        all_href="/tokens",
        notices=notices(facts.apps, now),
        tiles=tuple(_tile(level, facts.counts.get(level, 0), given) for level in LEVELS),
        rows=tuple(row(level, document, now) for level, document in facts.shown),
        success=tuple(_success(one, found["target"], given) for one in found["by_platform"]),
        succeeded=percent(found["share"]),
        target=percent(found["target"]),
        days=found["days"],
        total=f"{total:,}",
        next_href=None if facts.following is None else _href(given | {"cursor": facts.following}),
        is_ever=total > 0,
    )


def notices(apps: Mapping[str, AppState], now: datetime) -> tuple[str, ...]:
    """Apps in trouble, and keys that are missing."""
    return tuple(notice for state in apps.values() for notice in _notice(state, now))


def _notice(state: AppState, now: datetime) -> Iterable[str]:
    if state.name.startswith(_KEY):
        if state.state == "refused":
            yield f"Tokens under the key {state.name.removeprefix(_KEY)} cannot be opened: {words(state.reason)}."
    elif state.state in _APPS:
        why = f" ({words(state.reason)})" if state.reason else ""
        held = state.block(now)
        until = ""
        if held is not None:
            until = "; its tokens wait" + ("" if held.until is None else f", the next try is {coming(held.until, now)}")
        yield f"App {state.name}: {_APPS[state.state]}{why}{until}."


def row(level: str, given: Mapping[str, Any], now: datetime) -> TokenRow:
    """One account's line."""
    tone = TONES.get(level, "calm")
    expires_at, issued_at = parse(given["expires_at"]), parse(given["issued_at"])
    paused = "operations are paused" if given["paused"] else ""
    reason = words(given["reason"])
    next_at = parse(given["next_at"])
    is_off = level in (UNCONNECTED, DISABLED)
    return TokenRow(
        account=f"{given['platform']}/{given['account']}",
        href=href_of(given["platform"], given["account"]),
        name=given["name"],
        tenant=given["tenant"],
        state=_state(level, given["state"]),
        tone=tone,
        glyph=SIGNS[tone],
        why="; ".join(part for part in (paused, reason) if part),
        detail=given["detail"],
        left="-" if is_off else left(expires_at, now),
        width=_width(issued_at, expires_at, now) if not is_off else None,
        refreshed=moment(given["refreshed_at"], now),
        tries=tries(given["attempts"], given["attempts_most"]),
        next_look="-" if next_at is None or is_off else coming(next_at, now),
    )


def _state(level: str, state: str) -> str:
    return "ends soon" if state == "good" and level == "expiring_soon" else _STATES.get(state, state)


def tries(failed: int, most: int | None) -> str:
    """`2 of 3`; after those, one a day, just how many."""
    if not failed:
        return ""
    return f"{failed}" if most is None or failed > most else f"{failed} of {most}"


def left(expires_at: datetime | None, now: datetime) -> str:
    """`12 days`, `3 h`; said in words where it has ended, or never does."""
    if expires_at is None:
        return "no end known"
    seconds = (expires_at - now).total_seconds()
    if seconds <= 0:
        return f"ended {span(-seconds)} ago"
    return span(seconds)


def span(seconds: float) -> str:
    """In one unit, because it is stale at once; never more than it is."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def coming(at: datetime, now: datetime) -> str:
    """`in 3 h`; `now` for what is due."""
    seconds = (at - now).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else "now"


def percent(of_one: float | None) -> str:
    """`95.2 %`, never rounded up; a dash for nothing."""
    return "-" if of_one is None else f"{int(of_one * 1000 + 1e-9) / 10:g} %"


def href_of(platform: str, account: str) -> str:
    """The page of one account."""
    return f"/tokens/{quote(platform, safe='')}/{quote(account, safe='')}"


def _tile(level: str, count: int, given: Mapping[str, str]) -> Tile:
    rest = {name: value for name, value in given.items() if name != "level"}
    is_here = given.get("level") == level
    return Tile(
        name=_NAMES.get(level, level.replace("_", " ")),
        count=f"{count:,}",
        tone=TONES.get(level, "") if count and level != "healthy" else "",
        href=_href(rest if is_here else rest | {"level": level}),
        is_here=is_here,
    )


def _success(one: Mapping[str, Any], target: float, given: Mapping[str, str]) -> SuccessRow:
    reasons = [f"{words(why['reason'] or why['outcome'])} {why['tries']:,}" for why in one["by_reason"][:WORST_REASONS]]
    is_low = one["share"] is not None and one["share"] < target
    return SuccessRow(
        platform=one["platform"],
        href=_href(dict(given) | {"platform": one["platform"]}),
        percent=percent(one["share"]),
        width=share(one["succeeded"], one["tries"]),
        tone="bad" if is_low else "ok",
        said=f"{one['succeeded']:,} of {one['tries']:,}",
        why=", ".join(reasons),
    )


def _width(issued_at: datetime | None, expires_at: datetime | None, now: datetime) -> float | None:
    if issued_at is None or expires_at is None or expires_at <= issued_at:
        return None
    return share((expires_at - now).total_seconds(), (expires_at - issued_at).total_seconds())


def _href(given: Mapping[str, str]) -> str:
    return f"/tokens?{urlencode(given)}" if given else "/tokens"
