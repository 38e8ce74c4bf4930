"""Times that people give with a token: read, compared with one another, and completed by what the platform is like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import Problem
from app.tokens.provider import Traits

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=3650)
"""From now until a token expires."""
SKEW = timedelta(minutes=5)
"""By which the clock of whoever wrote a time down may be ahead of ours."""

_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Moments:
    """When a token was issued, and when it ends; None: not known, or never."""

    issued_at: datetime | None = None
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None


def read(
    given: Mapping[str, Any], now: datetime, problems: list[Problem], *, traits: Traits | None, has_refresh: bool
) -> Moments:
    """The times of one token; what is wrong is added to `problems`.

    `expires_in` counts from `issued_at`, else from now. A token whose end nobody gave ends with the platform's usual
    life; where it is not known either when it began, one with a refresh token counts as due, and any other is refused:
    it would run out without anybody knowing. For the same reason one that can be refreshed ends within that usual life.
    """
    issued = _moment("issued_at", given, problems)
    if issued is not None and issued > now + SKEW:
        problems.append(Problem("issued_at", "lies in the future"))
    refresh_end = _end("refresh_expires_at", given, issued, now, problems)
    end = _end("expires_at", given, issued, now, problems)
    lasts = _seconds(given.get("expires_in"), problems)
    if given.get("expires_in") is not None and given.get("expires_at") is not None:
        problems.append(Problem("expires_in", "is given beside expires_at: give one of them"))
    elif lasts is not None:
        end = (issued or now) + lasts
    is_told = any(given.get(field) is not None for field in ("expires_at", "expires_in", "issued_at"))
    if traits is not None and traits.life is not None and end is None:
        if issued is not None:
            end = issued + traits.life
        elif has_refresh and not traits.one_token:
            end = now
        elif not is_told:
            problems.append(Problem("expires_at", "is needed, or expires_in, or issued_at: when will it run out?"))
    if end is not None and traits is not None and traits.life is not None and (has_refresh or traits.one_token):
        end = min(end, now + traits.life)
    return Moments(issued, end, refresh_end)


def _end(
    field: str, given: Mapping[str, Any], issued: datetime | None, now: datetime, problems: list[Problem]
) -> datetime | None:
    found = _moment(field, given, problems)
    if found is not None and issued is not None and found <= issued:
        problems.append(Problem(field, "must be after issued_at"))
    elif found is not None and found > now + LONGEST:
        problems.append(Problem(field, f"must be at most {LONGEST.days} days away"))
    else:
        return found
    return None


def _moment(field: str, given: Mapping[str, Any], problems: list[Problem]) -> datetime | None:
    value = given.get(field)
    if value is None:
        return None
    found = _parsed(value)
    if found is None or not EARLIEST <= found <= datetime(9000, 1, 1, tzinfo=UTC):
        problems.append(
            Problem(field, "must be a time with its offset, such as 2026-11-20T09:00:00Z, or seconds since 1970")
        )
        return None
    return found


def _parsed(value: object) -> datetime | None:
    try:
        if isinstance(value, datetime):
            found = value
        elif isinstance(value, str) and not value.isdigit():
            found = datetime.fromisoformat(value)
        elif (
            isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) <= _MOST_DIGITS + 8
        ):
            return datetime.fromtimestamp(float(value), UTC)
        else:
            return None
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(value: object, problems: list[Problem]) -> timedelta | None:
    if value is None:
        return None
    text = str(value)
    is_whole = isinstance(value, str | int) and not isinstance(value, bool) and text.isascii() and text.isdigit()
    if is_whole and len(text) <= _MOST_DIGITS and 0 < int(text) <= LONGEST.total_seconds():
        return timedelta(seconds=int(text))
    problems.append(Problem("expires_in", f"must be whole seconds, from 1 to {LONGEST.total_seconds():.0f}"))
    return None
