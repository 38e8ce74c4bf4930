"""A platform's answer with tokens in it, read with suspicion: what is odd is noted, what is unusable is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from app.infra.secret import Secret
from app.tokens.provider import LONGEST_TOKEN, Answer, Granted, Refused, Tokens, Traits, Trouble

LONGEST_LIFE = timedelta(days=3660)
MOST_SCOPES = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_REFRESH_ENDS = ("refresh_expires_in", "refresh_token_expires_in")
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_TOKEN}}}")
_WORD = re.compile(r"[\w.:/-]{1,100}", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)


def granted(
    document: Mapping[str, Any], *, traits: Traits, now: datetime, never: bool = False, scopes: tuple[str, ...] = ()
) -> Answer:
    """The tokens in an answer that OAuth 2.0 describes: access_token, refresh_token, expires_in, scope, token_type.

    `never`: without `expires_in`, or with 0, the token never expires. `scopes`: where the answer names none. Refused
    where a token is nothing that could be sent; that is LOST where the old one has been used up.
    """
    access, refresh = document.get("access_token"), document.get("refresh_token") or None
    if not is_token(access) or not (refresh is None or is_token(refresh)):
        return unreadable(traits)
    ends_at, note = end_of(document.get("expires_in"), now=now, life=traits.life, never=never)
    word = document.get("token_type")
    return Granted(
        Tokens(
            access=Secret(access),
            refresh=None if refresh is None else Secret(refresh),
            issued_at=now,
            expires_at=ends_at,
            refresh_expires_at=_refresh_end(document, now),
            scopes=scopes_of(document.get("scope")) or scopes,
            token_type=word.lower() if isinstance(word, str) and _WORD.fullmatch(word) else "",
        ),
        note,
    )


def unreadable(traits: Traits) -> Refused:
    """An answer that was to have a token in it, and has none."""
    trouble = Trouble.LOST if traits.rotates else Trouble.UNKNOWN
    return Refused(trouble, "unreadable_answer", "there is no usable token in its answer")


def is_token(value: object) -> TypeGuard[str]:
    """Could it be sent in a header?"""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def end_of(value: object, *, now: datetime, life: timedelta | None, never: bool = False) -> tuple[datetime | None, str]:
    """When something ends that lives `value` seconds, and what was odd about that.

    The platform's clock has no part in it: seconds are counted from `now`. What is no sensible number counts as
    `life`.
    """
    odd = _oddness(value, never=never)
    if odd:
        return None if life is None else now + life, f"expires_in_{odd}"
    seconds = seconds_of(value)
    return (now + timedelta(seconds=seconds), "") if seconds else (None, "")


def _oddness(value: object, *, never: bool) -> str:
    seconds = seconds_of(value)
    if value is None:
        return "" if never else "missing"
    if seconds is None:
        return "unreadable"
    if seconds == 0:
        return "" if never else "zero"
    if seconds < 0:
        return "negative"
    return "absurd" if seconds > LONGEST_LIFE.total_seconds() else ""


def seconds_of(value: object) -> int | None:
    """A whole number, also one that is written as a text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment_of(value: object) -> datetime | None:
    """A time in seconds since 1970; None for nonsense, and for 0."""
    seconds = seconds_of(value)
    if seconds is None or not 0 < seconds < 10**11:
        return None
    return _EPOCH + timedelta(seconds=seconds)


def scopes_of(value: object) -> tuple[str, ...]:
    """Scopes as a list, or as a text with blanks or commas between."""
    words = re.split(r"[\s,]+", value) if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(word for word in words if isinstance(word, str) and _WORD.fullmatch(word))[:MOST_SCOPES]


def _refresh_end(document: Mapping[str, Any], now: datetime) -> datetime | None:
    for name in _REFRESH_ENDS:
        if name in document:
            return end_of(document[name], now=now, life=None)[0]
    return None
