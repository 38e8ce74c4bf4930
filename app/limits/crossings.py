"""Crossings become signals: what the scripts noted when a share of a limit was reached, each once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app import clock, signals
from app.catalog import RateLimit
from app.infra import redis
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.logging import get_logger
from app.infra.text import storable
from app.limits import keys, states, store
from app.limits.core import moment
from app.limits.snapshots import limits_now
from app.limits.store import Key
from app.limits.wire import Script

BATCH = 500
SECONDS = 3.0
"""How long one pass may take; what is left then is told by the next one."""

_TURN = "crossings"
_TRIM = Script("trim")

log = get_logger(__name__)


Told = Callable[[UnitOfWork, "Sequence[Crossing]"], None]

_handed_over: dict[str, Told] = {}


def hand_over(prefix: str, told: Told) -> None:
    """Let `told` act on the crossings of limits that are named so, instead of the signals of limits (composition)."""
    _handed_over[prefix] = told


@dataclass(frozen=True, slots=True)
class Crossing:
    """A share of a limit that was reached: the `level`-th of the catalogue's `warn_at`, at the server's time `at`."""

    subject: str
    limit: str
    operation: str
    level: int
    used: int
    capacity: int
    start: datetime
    end: datetime | None
    at: datetime

    @property
    def key(self) -> Key:
        return (self.subject, self.limit, self.start)


def tell(*, wait: bool = False) -> bool:
    """Record what was crossed; True when that was all. False where another process is at it, or time is up.

    A crossing leaves the list after its signal is committed. One that is read twice is known by its window's row, which
    says what was told last. `wait`: wait for the other process. Raises Transient.
    """
    ends = clock.monotonic() + SECONDS
    with redis.transient_errors():
        if not redis.client().exists(keys.CROSSINGS):
            return True
    with store.turn(_TURN, wait=wait) as is_ours:
        while is_ours and clock.monotonic() < ends:
            with redis.transient_errors():
                read = redis.client().execute_command("LRANGE", keys.CROSSINGS, 0, BATCH - 1, NEVER_DECODE=True)
            if not read:
                return True
            with unit_of_work() as uow:
                record(uow, [found for raw in read if (found := _parsed(raw)) is not None])
            _TRIM.call([keys.CROSSINGS], [read[-1]])
    return False


def record(uow: UnitOfWork, found: Sequence[Crossing]) -> None:
    """A signal for each crossing that is later, or higher, than what was told of its window."""
    for prefix, act in _handed_over.items():
        if theirs := [crossing for crossing in found if crossing.limit.startswith(prefix)]:
            act(uow, theirs)
            found = [crossing for crossing in found if not crossing.limit.startswith(prefix)]
    told = {
        (row.subject, row.limit_name, row.start_at): (row.told_at, row.told_level)
        for row in store.lock_windows(uow, list({crossing.key for crossing in found}))
        if row.told_at is not None
    }
    news: list[Crossing] = []
    for crossing in sorted(found, key=lambda one: (one.subject, one.at, one.level)):
        if crossing.key not in told or (crossing.at, crossing.level) > told[crossing.key]:
            told[crossing.key] = (crossing.at, crossing.level)
            news.append(crossing)
    if news:
        store.write_told(uow, [_row(crossing) for crossing in {one.key: one for one in news}.values()])
    limits = limits_now()
    for crossing in news:
        _record(uow, crossing, limits.get(crossing.limit))


def _record(uow: UnitOfWork, crossing: Crossing, limit: RateLimit | None) -> None:
    level = states.level_label(limit, crossing.level, crossing.used, crossing.capacity)
    signals.record(
        uow,
        "limits.crossed",
        crossing.subject,
        labels=labels_of(crossing.limit, limit) | {"level": level},
        facts={
            "used": crossing.used,
            "capacity": crossing.capacity,
            "percent": percent(crossing.used, crossing.capacity),
            "resets_at": None if crossing.end is None else clock.iso(crossing.end),
            "operation": crossing.operation,
            "at": clock.iso(crossing.at),
        },
    )


def labels_of(name: str, limit: RateLimit | None) -> dict[str, str]:
    """What signals about a limit are known by."""
    return {"limit": name} | ({} if limit is None or limit.platform is None else {"platform": limit.platform})


def percent(used: int, capacity: int) -> float:
    """To a tenth, never rounded up."""
    return used * 1000 // capacity / 10 if capacity > 0 else 100.0


def _row(crossing: Crossing) -> Mapping[str, Any]:
    return {
        "subject": crossing.subject,
        "limit_name": crossing.limit,
        "start_at": crossing.start,
        "end_at": crossing.end,
        "capacity": crossing.capacity,
        "used": crossing.used,
        "peak": crossing.used,
        "refused": 0,
        "deferred": 0,
        "share": crossing.used / crossing.capacity if crossing.capacity else 1.0,
        "version": 0,
        "taken_at": crossing.at,
        "told_at": crossing.at,
        "told_level": crossing.level,
    }


def _parsed(raw: bytes) -> Crossing | None:
    try:
        told = json.loads(raw)
        end = told.get("to")
        if told["subject"] != storable(told["subject"]):
            raise ValueError("its subject is no text")
        return Crossing(
            subject=told["subject"],
            limit=told["limit"],
            operation=str(told.get("operation", "")),
            level=int(told["level"]),
            used=int(told["used"]),
            capacity=int(told["capacity"]),
            start=states.ROLLING_SINCE if end is None else moment(told["from"]),
            end=None if end is None else moment(end),
            at=moment(told["at"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
        log.warning("a crossing that cannot be read is not told", error=str(error))
        return None
