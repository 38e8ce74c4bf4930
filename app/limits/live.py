"""One look at counters as they are in Redis now: it changes nothing, and starts nothing where Redis lost its memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.catalog import RateLimit
from app.infra import redis
from app.limits import keys
from app.limits.core import Hold, moment
from app.limits.deciding import hold_of
from app.limits.windows import bucket_of, window_at


@dataclass(frozen=True, slots=True)
class Figures:
    """How far one subject has used one limit. Amounts are whole units of its currency.

    `resets_at`: when nothing of it is counted any more; of a rolling window when all that is counted now is forgotten,
    None where nothing is. `room_at`: when the first of it is given free; of a calendar window both are its end.
    `is_stored`: as of the last snapshot, not of now. `held`: what of a budget's use is only reserved.
    """

    limit: RateLimit
    subject: str
    at: datetime
    used: int = 0
    capacity: int = 0
    resets_at: datetime | None = None
    room_at: datetime | None = None
    blocked_until: datetime | None = None
    refused: int = 0
    deferred: int = 0
    is_stored: bool = False
    held: int = 0

    @property
    def share(self) -> float:
        """Used of the capacity: 1.0 is all of it."""
        return self.used / self.capacity if self.capacity else 1.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen at one moment: the states of subjects, as the scripts keep them, and what holds by scope."""

    at: datetime
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    holds: Mapping[str, Sequence[Hold]] = field(default_factory=dict)

    def figures(self, limit: RateLimit, subject: str) -> Figures:
        """Of a limit that the subject never used: nothing is used."""
        counters: Mapping[str, Any] = self.states.get(subject, {}).get("l") or {}
        return figures_of(limit, subject, counters.get(limit.name), self.at)


def look(subjects: Sequence[str], scopes: Sequence[str] = ()) -> Sight | None:
    """The states of these subjects and the holds of these scopes.

    None while counters are being brought back and one of these is not there yet. Raises Transient.
    """
    with redis.transient_errors():
        pipe = redis.client().pipeline(transaction=False)
        pipe.time()
        pipe.mget([keys.EPOCH, *(keys.STATE + subject for subject in subjects)])
        pipe.hmget(keys.HOLDS, [*scopes, keys.EVERYBODY])
        (seconds, micros), (epoch, *found), lines = pipe.execute()
    if epoch is None or (epoch.startswith("filling:") and None in found):
        return None
    at = moment(seconds * 1000 + micros // 1000)
    states = {subject: json.loads(text) for subject, text in zip(subjects, found, strict=True) if text is not None}
    holds = {
        scope: tuple(hold for hold in map(hold_of, text.splitlines()) if hold.until is None or hold.until > at)
        for scope, text in zip([*scopes, keys.EVERYBODY], lines, strict=True)
        if text
    }
    return Sight(at, states, {scope: held for scope, held in holds.items() if held})


def is_filling() -> bool:
    """Are counters being brought back after a loss of Redis? Raises Transient."""
    with redis.transient_errors():
        epoch: str | None = redis.client().get(keys.EPOCH)
    return epoch is not None and epoch.startswith("filling:")


def figures_of(limit: RateLimit, subject: str, counter: Mapping[str, Any] | None, at: datetime) -> Figures:
    """A counter as the scripts keep it (lua/common.lua has the shape), read at a moment. Pure."""
    known = counter or {}
    blocked = known.get("x")
    until = moment(blocked) if blocked and moment(blocked) > at else None
    made = _calendar if limit.window == "calendar" else _rolling
    return made(limit, subject, known, at, until)


def _calendar(
    limit: RateLimit, subject: str, known: Mapping[str, Any], at: datetime, blocked: datetime | None
) -> Figures:
    is_open = "s" in known and moment(known["e"]) > at
    end = moment(known["e"]) if is_open else window_at(limit, at).end
    used = known.get("u", 0) if is_open else sum(_amounts(known.get("b")))  # buckets: it was a rolling one until now
    return Figures(
        limit,
        subject,
        at,
        used=used,
        capacity=min(limit.units, known.get("c", limit.units)),
        resets_at=end,
        room_at=end,
        blocked_until=blocked,
        refused=known.get("r", 0) if is_open else 0,
        deferred=known.get("d", 0) if is_open else 0,
        held=known.get("h", 0) if is_open else 0,
    )


def _rolling(
    limit: RateLimit, subject: str, known: Mapping[str, Any], at: datetime, blocked: datetime | None
) -> Figures:
    width, buckets = bucket_of(limit)
    newest = int(at.timestamp() * 1000) // width
    if not known or known.get("w") == width:
        first = known.get("f", newest)
        counted = {first + place: amount for place, amount in enumerate(_amounts(known.get("b")))}
        kept = {number: amount for number, amount in counted.items() if amount and number > newest - buckets}
    else:  # counted in another width before the catalogue changed: as if all of it were of now
        used = known.get("u", 0) + sum(_amounts(known.get("b")))
        kept = {newest: used} if used else {}
    return Figures(
        limit,
        subject,
        at,
        used=sum(kept.values()),
        capacity=min(limit.units, known.get("c", limit.units)),
        resets_at=moment((max(kept) + buckets) * width) if kept else None,
        room_at=moment((min(kept) + buckets) * width) if kept else None,
        blocked_until=blocked,
        refused=known.get("r", 0),
        deferred=known.get("d", 0),
    )


def _amounts(written: Any) -> Iterable[int]:
    """An empty table of Lua is an object in JSON."""
    return written if isinstance(written, list) else ()
