"""Counters follow what the platform says where it says more, and stand still until it lets us go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.catalog import RateLimit
from app.limits import keys
from app.limits.asking import Call, ask_all
from app.limits.core import Use
from app.limits.plans import MOST, Plan
from app.limits.wire import Script

_CORRECT = Script("correct")

Said = tuple[int, int, int]
"""Least use, capacity or 0, blocked until in ms or 0."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What the platform says of one limit, in whole units. `capacity_at_most` None: it did not say."""

    limit: RateLimit
    used_at_least: int = 0
    capacity_at_most: int | None = None


def correct(subject: str, corrections: Sequence[Correction]) -> tuple[str, ...]:
    """Raise what is used, never lower it; names of the limits that were raised.

    The last capacity that was said counts, where it is lower than the catalogue's. Raises Transient.
    """
    return _told(subject, [(one.limit, _said(one)) for one in corrections])


def block(subject: str, limits: Sequence[RateLimit], until: datetime) -> None:
    """Whatever needs one of these limits waits until then; a block that lasts longer stays. Raises Transient."""
    till = min(max(round(until.timestamp() * 1000), 0), MOST)
    _told(subject, [(limit, (0, 0, till)) for limit in limits])


def call_of(subject: str, said: Sequence[tuple[RateLimit, Said]], now: float) -> Call:
    """Keys and arguments of the script; `now` is in seconds since 1970, by the server's clock."""
    plan = Plan("", 0, [Use(limit, 0, 0, limit.units) for limit, _ in said])
    return [keys.STATE + subject], [plan.text(now), json.dumps([figures for _, figures in said])]


def _said(one: Correction) -> Said:
    capacity = 0 if one.capacity_at_most is None else min(max(one.capacity_at_most, 1), MOST)
    return min(max(one.used_at_least, 0), MOST), capacity, 0


def _told(subject: str, said: Sequence[tuple[RateLimit, Said]]) -> tuple[str, ...]:
    if not said:
        return ()
    answers = ask_all(_CORRECT, 1, lambda _, now: call_of(subject, said, now), lambda _: [subject])
    return tuple(answers[0]["l"] or ())
