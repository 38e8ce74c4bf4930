"""What people and programs are told of limits: one limit, lists, the status. Pure; the keys are a contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app import clock
from app.catalog import CLASSES, RateLimit
from app.catalog.limiting import MICRO
from app.limits.core import Hold
from app.limits.live import Figures
from app.limits.models import LimitLogRow
from app.limits.plans import crossings

BACKGROUND = CLASSES.index("background")


class Action(StrEnum):
    """What is done about a limit that fills, from the mildest."""

    NONE = "none"
    WARN = "warn"
    PAUSE_BACKGROUND = "pause_background"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Queued:
    """Operations of one name that wait."""

    operation: str
    count: int
    oldest_at: datetime


def action(found: Figures) -> Action:
    """Over 80 % people are warned, over 95 % background work stops, at 100 % everything waits (or where the limit's
    own `warn_at` and `ceilings` say so)."""
    limit, used, capacity = found.limit, found.used, found.capacity
    if found.blocked_until is not None or used >= capacity:
        return Action.WAIT
    if used >= ceiling(found, BACKGROUND):
        return Action.PAUSE_BACKGROUND
    if used >= crossings(capacity, limit.warn_at)[0]:
        return Action.WARN
    return Action.NONE


def ceiling(found: Figures, rank: int) -> int:
    """Up to how much a class may go, where the platform may have told a lower capacity; in units."""
    return found.limit.ceiling(rank) * found.capacity // found.limit.units


def resets_at(found: Figures) -> datetime | None:
    """When it may go on, of a limit that is full or blocked; else when nothing is counted any more."""
    full = found.used >= found.capacity
    moments = [found.room_at if full else found.resets_at, found.blocked_until]
    return max((moment for moment in moments if moment is not None), default=None)


def document(found: Figures, queued: Sequence[Queued], now: datetime) -> dict[str, Any]:
    """One limit of one subject. The keys are a contract with the dashboards that read it."""
    return {
        "timestamp": clock.iso(now),
        "limit_type": found.limit.name,
        "current": amount(found.limit, found.used),
        "limit": amount(found.limit, found.capacity),
        "percentage": percentage(found.used, found.capacity),
        "time_until_reset": seconds_until(resets_at(found), now),
        "action": str(action(found)),
        "queued_operations": queued_shown(queued),
    }


def queued_shown(queued: Iterable[Queued]) -> list[str]:
    """A line for each operation of which some wait."""
    return [f"{item.count} {item.operation} (oldest since {clock.iso(item.oldest_at)})" for item in queued]


def shown(found: Figures, now: datetime) -> dict[str, Any]:
    """One limit of one subject in a list, with everything that is known of it.

    Amounts are calls, or millionths of a dollar where the currency says so.
    """
    limit = found.limit
    resets = resets_at(found)
    return {
        "name": limit.name,
        "description": limit.description,
        "subject": found.subject,
        "account": account_of(found.subject),
        "used": found.used,
        "limit": found.capacity,
        "percentage": percentage(found.used, found.capacity),
        "remaining": max(0, found.capacity - found.used),
        "currency": "calls" if limit.currency == "calls" else "micro_usd",
        "window": limit.window,
        "period": limit.period,
        "resets_at": _iso(resets),
        "seconds_to_reset": seconds_until(resets, now),
        "action": str(action(found)),
        "ceilings": {name: ceiling(found, rank) for rank, name in enumerate(CLASSES)},
        "blocked_until": _iso(found.blocked_until),
        "refused": found.refused,
        "deferred": found.deferred,
        "as_of": clock.iso(found.at),
    }


def closed_shown(row: LimitLogRow) -> dict[str, Any]:
    """A window that is over."""
    return {
        "account": account_of(row.subject),
        "name": row.limit_name,
        "since": clock.iso(row.start_at),
        "until": clock.iso(row.end_at),
        "used": row.used,
        "peak": row.peak,
        "limit": row.capacity,
        "percentage": percentage(row.peak, row.capacity),
        "refused": row.refused,
        "deferred": row.deferred,
        "full": row.full,
        "full_in_a_row": row.full_in_a_row,
    }


def hold_shown(scope: str, hold: Hold) -> dict[str, Any]:
    """Something that holds operations of a scope, from a class on."""
    return {
        "scope": scope,
        "effect": hold.effect,
        "from_class": CLASSES[hold.least],
        "reason": hold.reason,
        "until": _iso(hold.until),
    }


def waiting_shown(by_rank: Sequence[int]) -> dict[str, int]:
    """How many wait, by class, and in all."""
    return {**dict(zip(CLASSES, by_rank, strict=True)), "total": sum(by_rank)}


def status_entries(
    limits: Iterable[RateLimit], worst: Mapping[str, Figures], full: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """`rate_limits` of the status document: of each limit the account (or tenant) that has used the largest share."""
    return {limit.name: _status_entry(limit, worst.get(limit.name), full.get(limit.name, 0)) for limit in limits}


def _status_entry(limit: RateLimit, found: Figures | None, full: int) -> dict[str, Any]:
    used, capacity = (0, limit.units) if found is None else (found.used, found.capacity)
    return {
        "used": amount(limit, used),
        "limit": amount(limit, capacity),
        "percentage": percentage(used, capacity),
        "account": None if found is None else account_of(found.subject),
        "resets_at": None if found is None else _iso(found.resets_at),
        "full": full,
    }


def unknown_entries(limits: Iterable[RateLimit]) -> dict[str, dict[str, Any]]:
    """The same while nothing is known."""
    return {
        limit.name: {
            "used": None,
            "limit": amount(limit, limit.units),
            "percentage": None,
            "account": None,
            "resets_at": None,
            "full": None,
        }
        for limit in limits
    }


def account_of(subject: str) -> str:
    """`PLATFORM/NAME` of an account; another subject as it is called: `tenant:acme`, `all`."""
    return subject.removeprefix("account:")


def amount(limit: RateLimit, units: int) -> int | float:
    """Calls, or dollars."""
    return units / MICRO if limit.currency == "usd" else units


def percentage(used: int, capacity: int) -> float:
    """To a tenth, never rounded up: 100 is all of it."""
    return used * 1000 // capacity / 10 if capacity > 0 else 100.0


def seconds_until(moment: datetime | None, now: datetime) -> int:
    """Whole seconds, rounded up; 0 where nothing is waited for."""
    return 0 if moment is None else max(0, math.ceil((moment - now).total_seconds()))


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else clock.iso(moment)
