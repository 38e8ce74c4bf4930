"""One result at a time: the state machine of a service. Pure; the caller gives `now`.

A first failure brings confirm probes; enough failures in a row are a fall, enough successes in a row a recovery.
Results are ordered by the moment their probe started, because they may be stored in any other order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.health import flapping
from app.health.results import ProbeResult

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far two hosts' clocks may be apart."""


class State(StrEnum):
    """A service's state."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a decision is what it is."""

    OLDER_THAN_STORED = "older_than_stored"
    FIRST_FAILURE = "first_failure"
    CONFIRMING_FAILURE = "confirming_failure"
    FAILED_IN_A_ROW = "failed_in_a_row"
    STILL_DOWN = "still_down"
    CONFIRMING_RECOVERY = "confirming_recovery"
    SUCCEEDED_IN_A_ROW = "succeeded_in_a_row"
    FIRST_SUCCESS = "first_success"
    DEGRADED_READING = "degraded_reading"
    READINGS_FINE_AGAIN = "readings_fine_again"
    STEADY = "steady"


class Kind(StrEnum):
    """What a flip is recorded as."""

    DOWN = "health.down"
    UP = "health.up"
    DEGRADED = "health.degraded"
    RECOVERED = "health.recovered"
    FLAPPING_STARTED = "health.flapping_started"
    FLAPPING_STOPPED = "health.flapping_stopped"


@dataclass(frozen=True, slots=True)
class Policy:
    """How one service is watched."""

    interval: timedelta = timedelta(seconds=60)
    confirm_interval: timedelta = timedelta(seconds=5)
    failures_to_down: int = 3
    successes_to_up: int = 2
    flap_high_percent: float = flapping.HIGH_PERCENT
    flap_low_percent: float = flapping.LOW_PERCENT


@dataclass(frozen=True, slots=True)
class ServiceState:
    """All that the next decision needs of the past.

    `announced` is the state people were last told of: while a service flaps it stays behind `state`.
    """

    state: State = State.UNKNOWN
    since: datetime | None = None
    failures: int = 0
    successes: int = 0
    first_failure_at: datetime | None = None
    first_success_at: datetime | None = None
    last_started_at: datetime | None = None
    history: str = ""
    flapping: bool = False
    announced: State = State.UNKNOWN


@dataclass(frozen=True, slots=True)
class Flip:
    """A change of state. For a fall `began_at` is the first failing moment, for a recovery the first good one."""

    before: State
    after: State
    began_at: datetime
    at: datetime

    @property
    def detection(self) -> timedelta | None:
        """From the first failing moment to the decision; None unless the service fell."""
        return self.at - self.began_at if self.after is State.DOWN else None


@dataclass(frozen=True, slots=True)
class Decision:
    """What one result made of a service. `announce`: the signals to record, in this order."""

    state: ServiceState
    next_check_at: datetime | None
    flip: Flip | None
    reason: Reason
    announce: tuple[Kind, ...] = field(default=())

    @property
    def ignored(self) -> bool:
        return self.reason is Reason.OLDER_THAN_STORED


def decide(state: ServiceState, result: ProbeResult, policy: Policy, now: datetime) -> Decision:
    """Apply one result. A result no newer than the last one applied changes nothing."""
    if state.last_started_at is not None and result.started_at <= state.last_started_at:
        return Decision(state, None, None, Reason.OLDER_THAN_STORED)
    counted = _count(state, result)
    after, reason = _next_state(state.state, counted, result, policy)
    flip = None
    if after is not state.state:
        began_at = _began_at(state.state, counted, result)
        flip = Flip(state.state, after, began_at, now)
        counted = replace(counted, state=after, since=began_at)
    settled, announce = _announce(counted, policy)
    return Decision(settled, _next_check_at(settled, result, policy, now), flip, reason, announce)


def without_future(state: ServiceState, now: datetime) -> ServiceState:
    """The same state when a clock was set back: a last result from the future must not silence all that follow."""
    if state.last_started_at is not None and state.last_started_at > now + CLOCK_TOLERANCE:
        return replace(state, last_started_at=None)
    return state


def _count(state: ServiceState, result: ProbeResult) -> ServiceState:
    mark = "d" if not result.ok else "g" if result.degraded else "u"
    history = flapping.remember(state.history, mark)
    if result.ok:
        return replace(
            state,
            failures=0,
            successes=state.successes + 1,
            first_failure_at=None,
            first_success_at=state.first_success_at or result.started_at,
            last_started_at=result.started_at,
            history=history,
        )
    return replace(
        state,
        failures=state.failures + 1,
        successes=0,
        first_failure_at=state.first_failure_at or result.started_at,
        first_success_at=None,
        last_started_at=result.started_at,
        history=history,
    )


def _began_at(before: State, counted: ServiceState, result: ProbeResult) -> datetime:
    """The first moment of what is now a fact: of the failures of a fall, of the successes of a recovery."""
    if not result.ok:
        return counted.first_failure_at or result.started_at
    return (counted.first_success_at if before is State.DOWN else None) or result.started_at


def _next_state(before: State, counted: ServiceState, result: ProbeResult, policy: Policy) -> tuple[State, Reason]:
    if not result.ok:
        return _after_failure(before, counted.failures, policy)
    good = State.DEGRADED if result.degraded else State.UP
    if before is State.DOWN and counted.successes < policy.successes_to_up:
        return before, Reason.CONFIRMING_RECOVERY
    if before is good:
        return good, Reason.STEADY
    match before:
        case State.DOWN:
            return good, Reason.SUCCEEDED_IN_A_ROW
        case State.UNKNOWN:
            return good, Reason.FIRST_SUCCESS
        case _:
            return good, Reason.DEGRADED_READING if good is State.DEGRADED else Reason.READINGS_FINE_AGAIN


def _after_failure(before: State, failures: int, policy: Policy) -> tuple[State, Reason]:
    if before is State.DOWN:
        return before, Reason.STILL_DOWN
    if failures >= policy.failures_to_down:
        return State.DOWN, Reason.FAILED_IN_A_ROW
    return before, Reason.FIRST_FAILURE if failures == 1 else Reason.CONFIRMING_FAILURE


def _announce(state: ServiceState, policy: Policy) -> tuple[ServiceState, tuple[Kind, ...]]:
    """Which signals this moment deserves: none of the single flips while the service flaps.

    A service that went on failing for twice the failures of a fall has stopped flapping, whatever the window says: it
    is down, and waiting for the window to empty could hide that for a quarter of an hour.
    """
    fallen = state.failures >= 2 * policy.failures_to_down and state.state is State.DOWN
    flaps = not fallen and flapping.is_flapping(
        state.history, was=state.flapping, high=policy.flap_high_percent, low=policy.flap_low_percent
    )
    announce: list[Kind] = []
    if flaps and not state.flapping:
        announce.append(Kind.FLAPPING_STARTED)
    if state.flapping and not flaps:
        announce.append(Kind.FLAPPING_STOPPED)
        state = replace(state, history=state.history if not fallen else "")
    if not flaps and state.state is not state.announced:
        announce += _news(state.announced, state.state)
        state = replace(state, announced=state.state)
    return replace(state, flapping=flaps), tuple(announce)


def _news(before: State, after: State) -> list[Kind]:
    """The signals of a change; none for the first good result of a service never seen before."""
    if after is State.DOWN:
        return [Kind.DOWN]
    news = [Kind.UP] if before is State.DOWN else []
    if after is State.DEGRADED:
        return [*news, Kind.DEGRADED]
    return [*news, Kind.RECOVERED] if before is State.DEGRADED else news


def is_confirming(state: ServiceState, policy: Policy) -> bool:
    """Is a fall or a recovery half proved, so that the next probe comes sooner?"""
    if state.state is State.DOWN:
        return 0 < state.successes < policy.successes_to_up
    return state.failures > 0


def _next_check_at(state: ServiceState, result: ProbeResult, policy: Policy, now: datetime) -> datetime:
    """From the start of this probe, so that a slow probe does not stretch the rhythm; never in the past."""
    wait = min(policy.confirm_interval, policy.interval) if is_confirming(state, policy) else policy.interval
    return max(now, result.started_at + wait)
