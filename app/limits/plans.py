"""An operation's limits as the script reads them: written once, and again when a calendar window is over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.config import settings
from app.limits.core import Use
from app.limits.windows import Window, bucket_of, window_at

MOST = 10**14 - 1
"""The largest number that the scripts write in full."""


class Plan:
    """What one operation of one class uses, and which fields of the hash of holds concern it.

    One that is not `kept` counts for as long as its windows last and no longer: ids are not remembered, crossings not
    told, and after a loss of Redis it begins at zero. One that is `budgeted` waits behind those who wait for the same
    budget of the same subject, and not behind its operation: others in its queue may have budgets with room.

    Keep it as long as the catalogue stays: its text is made anew only when a window's end has passed.
    """

    __slots__ = ("_text", "_windows", "budgeted", "fields", "kept", "needs_token", "operation", "rank", "uses")

    def __init__(
        self,
        operation: str,
        rank: int,
        uses: Sequence[Use],
        fields: Sequence[str] = (),
        *,
        needs_token: bool = False,
        kept: bool = True,
        budgeted: bool = False,
    ) -> None:
        self.operation = operation
        self.rank = rank
        self.uses = tuple(uses)
        self.fields = tuple(fields)
        self.needs_token = needs_token
        self.kept = kept
        self.budgeted = budgeted
        self._text = (0.0, 0.0, b"")  # from when and until when it holds, in seconds since 1970
        self._windows: list[Window | None] = [None] * len(self.uses)

    def ends_at(self, place: int, at: datetime) -> datetime | None:
        """When the window of a use that `at` is in ends; None for a rolling one."""
        limit, window = self.uses[place].limit, self._windows[place]
        if limit.window != "calendar":
            return None
        if window is None or not window.start <= at < window.next_end:  # the text was written anew since
            window = window_at(limit, at)
        return window.end if at < window.end else window.next_end

    def with_ceilings(self, ceilings: Sequence[int]) -> Plan:
        """The same, with another ceiling for each use."""
        uses = [replace(use, ceiling=ceiling) for use, ceiling in zip(self.uses, ceilings, strict=True)]
        return self.with_uses(uses)

    def with_uses(self, uses: Sequence[Use]) -> Plan:
        """The same operation with other uses."""
        return Plan(
            self.operation,
            self.rank,
            uses,
            self.fields,
            needs_token=self.needs_token,
            kept=self.kept,
            budgeted=self.budgeted,
        )

    def text(self, now: float) -> bytes:
        """JSON, for `decide.lua`; `now` is in seconds since 1970."""
        since, until, text = self._text
        return text if since <= now < until else self._write(datetime.fromtimestamp(now, UTC))

    def _write(self, now: datetime) -> bytes:
        limits, starts, ends = [], [now.timestamp() - 3600], [now.timestamp() + 3600]
        for place, use in enumerate(self.uses):
            limit = use.limit
            written: list[Any] = [
                limit.name,
                use.place + 1,
                min(use.ceiling, MOST),
                limit.units,
                -1 if use.cost is None else use.cost,
                crossings(limit.units, limit.warn_at) if self.kept and use.tells else [],
            ]
            if limit.window == "calendar":
                window = self._windows[place] = window_at(limit, now)
                written += [_ms(window.start), _ms(window.end), _ms(window.next_end)]
                starts.append(window.start.timestamp())
                ends.append(window.end.timestamp())
            else:
                written += bucket_of(limit)
            limits.append(written)
        kept = round(settings().limits_remember_seconds * 1000)
        plan: dict[str, Any] = {"c": self.rank, "o": self.operation, "k": kept, "f": self.fields, "l": limits}
        if self.needs_token:
            plan["n"] = True
        if not self.kept:
            plan["z"] = True
        if self.budgeted:
            plan["b"] = True
        text = json.dumps(plan, separators=(",", ":")).encode()
        self._text = (max(starts), min(ends), text)
        return text


def crossings(units: int, shares: Sequence[float]) -> list[int]:
    """The least use at which each share is reached: "over 80 %" of 180 is told at 144."""
    return [max(1, -int(-(units * share) // 1)) for share in shares]


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
