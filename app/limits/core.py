"""What a decision is asked and answered with. Amounts are whole units: calls, or millionths of a dollar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.catalog import COUNTER, RateLimit

if TYPE_CHECKING:
    from app.limits.plans import Plan


class Verdict(StrEnum):
    """What the limiter says."""

    ALLOW = "allow"
    WAIT = "wait"
    AGAIN = "again"
    """This id was decided before: what was consumed then is still consumed, and nothing more."""


class Counting(StrEnum):
    """How a refusal is counted: as refused, as deferred, or not at all; a peek consumes nothing either."""

    NOW = "now"
    DEFER = "defer"
    RELEASE = "release"
    PEEK = "peek"


@dataclass(frozen=True, slots=True)
class Use:
    """One limit as one operation uses it. `place`: whose counter, in the ask's subjects; `cost` None: the estimate.

    `tells` False: a decision notes no crossing, because what is reserved is not spent yet.
    """

    limit: RateLimit
    place: int
    cost: int | None
    ceiling: int
    tells: bool = True


@dataclass(frozen=True, slots=True)
class Hold:
    """A line of the hash of holds: something that stops (or, as a hint, accompanies) operations from a class on."""

    least: int
    until: datetime | None
    effect: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One decision to be made.

    `key` is the id under which a retry is recognised. `subjects` are whose counters the plan speaks of; the first is
    the one whose queue the operation would join. `scope` is one more field of the hash of holds: the tenant's.
    `pass_` names a pass of a release: within one, nothing overtakes what had to stay.
    """

    plan: Plan
    key: str
    subjects: tuple[str, ...]
    scope: str = "all"
    counting: Counting = Counting.NOW
    estimate: int = 0
    lease_seconds: float = 0
    pass_: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One limit after a decision. `room_at`: when there may be room for what was asked; None where there is."""

    limit: RateLimit
    subject: str
    used: int
    capacity: int
    ceiling: int
    cost: int
    ends_at: datetime | None
    room_at: datetime | None = None

    @property
    def share(self) -> float:
        """Used of the capacity: 1.0 is all of it."""
        return self.used / self.capacity if self.capacity else 1.0

    @property
    def lane(self) -> str:
        """What others of the queue wait behind: the limit; the budget of this subject, as another's may have room."""
        return f"{self.limit.name} {self.subject}" if self.limit.name.startswith(COUNTER) else self.limit.name


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, by the server's clock. `behind` is the limit or operation for which others wait already.

    `told` is what the script said of each limit of the plan: the use alone, or [use, room at (ms) or 0, capacity].
    """

    verdict: Verdict
    at: datetime
    ask: Ask
    told: Sequence[Any] = ()
    holds: tuple[Hold, ...] = ()
    hints: tuple[Hold, ...] = ()
    behind: str | None = None
    before: Record | None = None

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Every limit of the plan after the decision."""
        return tuple(self._reading(place, told) for place, told in enumerate(self.told))

    @property
    def room_at(self) -> datetime | None:
        """When it may be worth to ask again; None where only an event can tell (a hold without an end, a queue)."""
        moments = [reading.room_at for reading in self.readings if reading.room_at is not None]
        moments += [hold.until for hold in self.holds if hold.until is not None]
        endless = any(hold.until is None for hold in self.holds)
        return None if endless or not moments else max(moments)

    def _reading(self, place: int, told: Any) -> Reading:
        use = self.ask.plan.uses[place]
        used, room, capacity = told if isinstance(told, list) else (told, 0, use.limit.units)
        return Reading(
            limit=use.limit,
            subject=self.ask.subjects[use.place],
            used=used,
            capacity=capacity,
            ceiling=-(-use.ceiling * capacity // use.limit.units),
            cost=self.ask.estimate if use.cost is None else use.cost,
            ends_at=self.ask.plan.ends_at(place, self.at),
            room_at=moment(room) if room else None,
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """What one id consumed of one limit; `window` is a calendar window's start (ms) or a rolling one's bucket."""

    limit: str
    subject_place: int
    window: int
    cost: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of an id: the operation and what it took, or that it waits (`waits`)."""

    operation: str
    at: datetime | None = None
    taken: Sequence[Taken] = field(default_factory=tuple)
    waits: bool = False
    ended: str | None = None


def moment(ms: float) -> datetime:
    """Milliseconds since 1970 as an aware time."""
    return datetime.fromtimestamp(ms / 1000, UTC)
