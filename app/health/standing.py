"""What the stored states amount to: staleness of one service, the state of the whole stack. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from app.clock import iso
from app.health.core import State

STALE_AT_LEAST = timedelta(seconds=60)


class StackState(StrEnum):
    """The state of everything together."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class Counted(Protocol):
    """What the stack's state needs to know of a service."""

    @property
    def state(self) -> State: ...
    @property
    def essential(self) -> bool: ...
    @property
    def in_maintenance(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A service's state as it may be shown now: an old result no longer vouches for it."""

    state: State
    since: datetime | None
    stale: str | None


def stale_after(interval: timedelta) -> timedelta:
    """How long a result speaks for its service."""
    return max(3 * interval, STALE_AT_LEAST)


def standing(
    state: State, since: datetime | None, last_finished_at: datetime | None, interval: timedelta, now: datetime
) -> Standing:
    """The stored state, or unknown when nothing was heard for three intervals and at least a minute."""
    if last_finished_at is None:
        return Standing(State.UNKNOWN, None, "no result yet")
    if now - last_finished_at > stale_after(interval):
        return Standing(State.UNKNOWN, last_finished_at, f"no result since {iso(last_finished_at)}")
    return Standing(state, since, None)


def stack_state(services: Iterable[Counted]) -> StackState:
    """Unhealthy beats unknown beats degraded beats healthy; services in maintenance do not count."""
    counted = [service for service in services if not service.in_maintenance]
    if any(service.essential and service.state is State.DOWN for service in counted):
        return StackState.UNHEALTHY
    if not counted or any(service.essential and service.state is State.UNKNOWN for service in counted):
        return StackState.UNKNOWN
    if any(service.state in (State.DOWN, State.DEGRADED) for service in counted):
        return StackState.DEGRADED
    if all(service.state is State.UNKNOWN for service in counted):
        return StackState.UNKNOWN
    return StackState.HEALTHY
