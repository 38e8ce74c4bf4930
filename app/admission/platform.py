"""What a platform's answer says about its limits: the contract of `platforms/`, and what is the same everywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol

from app.infra import http

Source = Literal["app_usage", "business_usage", "publishing_limit"]
"""Figures of a platform, as limits of the catalogue name them in `reported_by`."""

UNAUTHORIZED = 401
TOO_MANY_REQUESTS = 429
RETRY_AFTER = "retry-after"

LONGEST_HEADER = 16_384
LONGEST_BLOCK = timedelta(days=1)
MOST_PERCENT = 1000
"""A figure beyond is counted as this one: it says no more than that everything is used."""
MOST_CALLS = 10**9


class Trouble(StrEnum):
    """What an error of a platform means for its caller."""

    RATE_LIMITED = "rate_limited"
    """Too many calls: it was counted, and calls wait now."""
    TOKEN = "token"  # noqa: S105 - the word, not one
    """The account must be connected anew."""
    PASSING = "passing"
    """The platform's own; another try may help."""
    REQUEST = "request"
    """The call was wrong; another try cannot help."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PlatformError:
    """An error as the platform worded it. The message is kept away from logs: it may quote what was sent."""

    code: int
    subcode: int | None = None
    message: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a caller tells of an answer. `headers` have lower-case names, and only those that the platform reads."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    error: PlatformError | None = None
    publishing_limit: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """One of the platform's figures: a share of a limit in percent, or calls; and the limit where it names one."""

    source: Source
    percent: float = 0.0
    used: int = 0
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Limited:
    """The platform wants no calls for `wait`; None: it does not say how long. `sources`: which limits it speaks of."""

    sources: tuple[Source, ...] = ()
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says. `notes`: what could not be read, in words without the values."""

    usages: tuple[Usage, ...] = ()
    limited: Limited | None = None
    trouble: Trouble | None = None
    notes: tuple[str, ...] = ()


class PlatformModule(Protocol):
    """A file of `platforms/`."""

    PLATFORM: str
    SUMMARY: str
    HEADERS: frozenset[str]
    """Names, in lower case, of the headers it reads; no other one is kept."""

    def read(self, sent: Sent, now: datetime) -> Reading:
        """What the answer says; whatever was sent, it raises nothing."""


@dataclass(slots=True)
class Notes:
    """Collects what could not be read."""

    said: list[str] = field(default_factory=list)

    def add(self, note: str) -> None:
        if note not in self.said:
            self.said.append(note)

    def json_object(self, headers: Mapping[str, str], name: str) -> dict[str, Any]:
        """The JSON object of a header; empty where it is missing or something else."""
        text = headers.get(name)
        if text is None:
            return {}
        if len(text) > LONGEST_HEADER:
            self.add(f"{name} is longer than {LONGEST_HEADER} characters: ignored")
            return {}
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.add(f"{name} is no JSON object: ignored")
            return {}
        return found

    def number(self, values: Mapping[str, Any], key: str, where: str, *, most: float) -> float:
        """A figure that is not below zero; 0 where it is missing or none, `most` where it is greater."""
        given = values.get(key)
        if given is None:
            return 0.0
        found = figure(given)
        if found is None or found < 0:
            self.add(f"{where}: {key} is no number from 0: ignored")
            return 0.0
        if found > most:
            self.add(f"{where}: {key} is more than {most:g}: counted as {most:g}")
            return most
        return found


def figure(value: object) -> float | None:
    """A finite number, also one that is written as a text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value) if not isinstance(value, str) else float(value.strip()[:40])
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def largest(usages: Sequence[Usage]) -> tuple[Usage, ...]:
    """Without those that say nothing."""
    return tuple(usage for usage in usages if usage.percent > 0 or usage.used > 0 or usage.capacity is not None)


def retry_after(sent: Sent, now: datetime) -> timedelta | None:
    """How long the answer's Retry-After asks to wait; None where it does not."""
    found = http.retry_after(sent.headers.get(RETRY_AFTER), now)
    return found if found else None


def plainly(sent: Sent, now: datetime) -> Reading:
    """What every HTTP API says: 429, and when to come back; 401. For platforms that have no file of their own."""
    if sent.status == TOO_MANY_REQUESTS:
        return Reading(limited=Limited(wait=retry_after(sent, now)), trouble=Trouble.RATE_LIMITED)
    if sent.status == UNAUTHORIZED:
        return Reading(trouble=Trouble.TOKEN)
    return Reading(trouble=Trouble.UNKNOWN if sent.error is not None else None)


def kept(headers: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """The headers of these names, with the names in lower case."""
    return {name.lower(): value for name, value in headers.items() if name.lower() in names}
