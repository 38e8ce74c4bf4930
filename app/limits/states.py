"""A subject's state read outside of Redis: its windows, how long it is kept, and how it comes back after a loss. Pure.

lua/common.lua has the shape of a state.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.catalog import COUNTER, RateLimit
from app.limits.core import moment
from app.limits.plans import crossings
from app.limits.windows import BUCKETS

KEPT = timedelta(minutes=10)
"""How long a state outlives its windows."""

LANES_KEPT = timedelta(hours=1)
"""How long a state lives at least in which somebody waits."""

ROLLING_SINCE = moment(0)
"""Where a rolling window is said to start: it has neither start nor end."""

MARGIN_SHARE, MARGIN_MOST = 50, 1000
"""What is added after a loss: one of so many units that were used, and so many at most."""

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """What one window counted. `end` None: a rolling one. `told_capacity` is the platform's own, where it is known."""

    limit: str
    start: datetime
    end: datetime | None
    used: int
    peak: int
    refused: int
    deferred: int
    told_capacity: int | None = None

    def capacity(self, limit: RateLimit) -> int:
        """Of this window: the platform's figure where it is lower than ours."""
        return limit.units if self.told_capacity is None else min(limit.units, self.told_capacity)


def parse(raw: bytes | str) -> State:
    """The state. Raises ValueError for what is none; other functions here raise what comes of odd counters."""
    state = json.loads(raw)
    if not isinstance(state, dict) or not isinstance(state.get("l"), dict):
        raise ValueError("no state")
    return state


def expires_at(state: State, at: datetime) -> datetime:
    """When Redis forgets a state that is not used again after `at`."""
    last = max(at, moment(state.get("t", 0)))
    return max(last, at + LANES_KEPT if state.get("q") else last) + KEPT


def windows(state: State, at: datetime) -> Iterator[Window]:
    """Every window that the state knows, also those that are over: each calendar one, and the one before it."""
    for name, counter in state["l"].items():
        if "w" in counter:
            yield _window(name, counter, ROLLING_SINCE, None, _rolling_used(counter, at))
        else:
            yield _calendar(name, counter)
            if counter.get("o"):
                yield _calendar(name, {"c": counter.get("c"), **counter["o"]})


def _calendar(name: str, counter: State) -> Window:
    return _window(name, counter, moment(counter["s"]), moment(counter["e"]), int(counter["u"]))


def _window(name: str, counter: State, start: datetime, end: datetime | None, used: int) -> Window:
    told = counter.get("c")
    return Window(
        limit=name,
        start=start,
        end=end,
        used=used,
        peak=max(used, int(counter.get("m", 0))),
        refused=int(counter.get("r", 0)),
        deferred=int(counter.get("d", 0)),
        told_capacity=None if told is None else int(told),
    )


def _rolling_used(counter: State, at: datetime) -> int:
    oldest = _ms(at) // counter["w"] - (BUCKETS + 2)
    return sum(int(used) for place, used in enumerate(_buckets(counter), counter.get("f", 0)) if place > oldest)


def _buckets(counter: State) -> Sequence[int]:
    """An empty table of Lua is an object in JSON."""
    kept = counter.get("b")
    return kept if isinstance(kept, list) else ()


def margin(used: int) -> int:
    """What an account may have consumed after its last snapshot: one in fifty of what was used, at least 1 unit."""
    return min(max(1, -(-used // MARGIN_SHARE)), MARGIN_MOST) if used > 0 else 0


def brought_back(state: State, *, taken_at: datetime, now: datetime, money: Container[str]) -> dict[str, Any]:
    """The state as it returns after a loss: open windows of calls with a margin, without the lanes and the pass.

    Lanes are written again from the rows of those who wait. `money` names the limits that have no margin; counters of
    budgets with an end do not come back: what was spent is known better (`rebuild.money_from`).
    """
    counters = {
        name: counter if name in money or name.startswith(COUNTER) else _with_margin(counter, taken_at, now)
        for name, counter in state["l"].items()
        if not (name.startswith(COUNTER) and "e" in counter)
    }
    return {"v": state["v"], "t": state.get("t", _ms(now)), "l": counters}


def nothing(now: datetime) -> dict[str, Any]:
    """The state of a subject of which nothing is known."""
    return {"v": _ms(now), "t": _ms(now), "l": {}}


def _with_margin(counter: State, taken_at: datetime, now: datetime) -> State:
    if "w" not in counter:
        used = counter["u"]
        return {**counter, "u": used + margin(used)} if counter["e"] > _ms(now) else counter
    used, kept, width = _rolling_used(counter, now), list(_buckets(counter)), counter["w"]
    if not used:
        return counter
    newest = min(_ms(taken_at) // width - counter["f"], len(kept) + BUCKETS)
    kept += [0] * (newest + 1 - len(kept))
    kept[-1] += margin(used)
    return {**counter, "b": kept}


def is_full(window: Window, capacity: int, largest_cost: int | None) -> bool:
    """Was all of it used? Also when too little was left for the costliest operation, and something had to stay.

    `largest_cost` None: what operations cost is only estimated, so whoever was turned away met the limit.
    """
    if window.peak >= capacity:
        return True
    turned_away = window.refused + window.deferred > 0
    return turned_away and (largest_cost is None or capacity - window.peak < largest_cost)


def level_of(window: Window, limit: RateLimit) -> int:
    """How many of the limit's crossings the window reached."""
    return sum(window.peak >= least for least in crossings(limit.units, limit.warn_at))


STOPS_BACKGROUND = 0.95
"""From this share on a window is worth telling of when it is over."""


def recovers(window: Window, limit: RateLimit | None, told_level: int) -> bool:
    """Does the end of this window change anything for those who had to stay, or were told of it?"""
    if window.refused or window.deferred:
        return True
    if limit is None:
        return told_level > 0
    level = max(told_level, level_of(window, limit))
    return level >= len(limit.warn_at) or (level > 0 and limit.warn_at[level - 1] >= STOPS_BACKGROUND)


def has_eased(used: int, limit: RateLimit) -> bool:
    """Is so little used of a rolling window that its crossings are told anew? As the scripts see it."""
    return used * 10 < crossings(limit.units, limit.warn_at)[0] * 9


def level_label(limit: RateLimit | None, level: int, used: int, capacity: int) -> str:
    """The percent of the catalogue's `warn_at` at that place ("80"); of a limit that is gone, what is used of it."""
    if limit is not None and 1 <= level <= len(limit.warn_at):
        return f"{limit.warn_at[level - 1] * 100:g}"
    return str(used * 100 // capacity) if capacity > 0 else "100"


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
