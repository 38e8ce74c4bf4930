"""Where every token stands, as one expression of SQL: `core.place_of` and `core.level_of` for all accounts at once.

What differs by platform and app (the ladder's figures, whether the app is held) is worked out here once, and given to
the query as rows; the query compares moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.catalog import Connecting
from app.tokens import apps_state, core
from app.tokens.apps_state import AppState
from app.tokens.core import Ladder
from app.tokens.provider import ProviderModule, Traits
from app.tokens.providers import platforms

DISABLED, UNCONNECTED = "disabled", "unconnected"
WITHOUT = (UNCONNECTED, DISABLED)
"""Of accounts without a token to speak of."""

LEVELS = (*(level.value for level in reversed(core.Level)), *WITHOUT)
"""What needs attention first."""

_OTHER = "*"
"""Stands for an app that the catalogue has not."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for the accounts of one platform and app, at one moment. `key`: PLATFORM and app's name, or `*`."""

    key: str
    attempts: int
    daily: bool
    one_token: bool
    deadline: bool
    held: bool
    lead_at: datetime
    near_at: datetime
    login_at: datetime
    login_urgent_at: datetime
    login_last_at: datetime
    urgent_at: datetime
    last_at: datetime


_TYPES = {"str": "text", "int": "int", "bool": "bool", "datetime": "timestamptz"}
_NAMES = tuple(field.name for field in fields(Rule))
_COLUMNS = ", ".join(f"CAST(:rule_{field.name} AS {_TYPES[str(field.type)]}[])" for field in fields(Rule))
_KEY = "a.platform || ' ' || a.app"

SOURCE = f"""
    accounts a JOIN token_status s ON s.account_id = a.id
    LEFT JOIN unnest({_COLUMNS}) AS r({", ".join(_NAMES)})
      ON r.key = CASE WHEN {_KEY} = ANY(:rule_key) THEN {_KEY} ELSE a.platform || ' {_OTHER}' END"""
"""FROM: accounts `a`, their tokens `s`, their rules `r`, all null for a platform that is not known here."""

_REFUSED = "s.grant_state IN ('dead', 'lost')"
_RENEWABLE = """(s.grant_state = 'good' AND CASE WHEN r.one_token THEN s.expires_at IS NULL OR s.expires_at > :now
    ELSE s.refresh IS NOT NULL AND (s.refresh_expires_at IS NULL OR s.refresh_expires_at > :now
        AND NOT coalesce(r.deadline AND s.refresh_expires_at < s.expires_at + :worthwhile, false)) END)"""
_BY_ACCESS = f"""CASE WHEN {_RENEWABLE} AND s.attempts = 0 AND NOT r.held THEN 0
    WHEN s.expires_at <= :now THEN 4
    WHEN (s.grant_state = 'dead' AND r.one_token) OR s.expires_at <= r.last_at THEN 3
    WHEN s.expires_at <= r.urgent_at THEN 2
    WHEN {_REFUSED} OR (NOT {_RENEWABLE} AND s.expires_at <= r.near_at) OR s.attempts >= r.attempts THEN 1
    ELSE 0 END"""
_BY_DEADLINE = """CASE WHEN NOT r.deadline THEN 0 WHEN s.refresh_expires_at <= r.login_last_at THEN 3
    WHEN s.refresh_expires_at <= r.login_urgent_at THEN 2
    WHEN s.refresh_expires_at <= r.login_at THEN 1 ELSE 0 END"""

HEIGHT = f"""CASE WHEN r.key IS NULL OR a.disabled_at IS NOT NULL OR s.grant_state = '' THEN 0
    ELSE greatest({_BY_ACCESS}, {_BY_DEADLINE}) END"""
"""`core.Step.height`."""


def level(height: str) -> str:
    """The expression of the level, one of LEVELS, given that of the height."""
    return f"""CASE WHEN a.disabled_at IS NOT NULL THEN '{DISABLED}'
        WHEN r.key IS NULL OR s.grant_state = '' THEN '{UNCONNECTED}'
        WHEN s.grant_state <> 'good' OR {height} >= 2 THEN '{core.Level.CRITICAL}'
        WHEN (r.daily AND s.expires_at < r.lead_at) OR s.attempts > 0 OR {height} > 0 THEN '{core.Level.EXPIRING_SOON}'
        ELSE '{core.Level.HEALTHY}' END"""


def parameters(session: Session, connecting: Connecting, now: datetime) -> dict[str, Any]:
    """What SOURCE, HEIGHT and `level` ask for."""
    return given(rules(platforms(), connecting, apps_state.read_all(session), now), now)


def given(known: Iterator[Rule], now: datetime) -> dict[str, Any]:
    """The rules as columns."""
    found = list(known)
    return {"now": now, "worthwhile": core.WORTHWHILE} | {
        f"rule_{name}": [getattr(rule, name) for rule in found] for name in _NAMES
    }


def rules(
    providers: Mapping[str, ProviderModule], connecting: Connecting, states: Mapping[str, AppState], now: datetime
) -> Iterator[Rule]:
    """Of every platform: for accounts that name no app, for each app, and for those that name one that is not there."""
    for platform, provider in providers.items():
        named = [name for name, app in connecting.apps.items() if app.at == platform]
        for name in ("", *named, _OTHER):
            app = None if name == _OTHER else connecting.app_of(platform, name)
            state = states.get(platform if app is None else app.name)
            is_held = state is not None and state.block(now) is not None
            ladder = core.ladder_of(connecting.tokens, provider.TRAITS, app)
            yield _rule(f"{platform} {name}", provider.TRAITS, ladder, held=is_held, now=now)


def _rule(key: str, traits: Traits, ladder: Ladder, *, held: bool, now: datetime) -> Rule:
    return Rule(
        key=key,
        attempts=ladder.attempts,
        daily=ladder.daily,
        one_token=traits.one_token,
        deadline=traits.deadline,
        held=held,
        lead_at=now + ladder.lead,
        near_at=now + (ladder.lead if ladder.daily else ladder.login),
        login_at=now + ladder.login,
        login_urgent_at=now + ladder.login_urgent,
        login_last_at=now + ladder.login_last,
        urgent_at=now + ladder.urgent,
        last_at=now + ladder.last,
    )
