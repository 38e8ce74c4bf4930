"""The life of one alert: pending, firing, acknowledged, resolved. Pure: a decision takes `now` and names its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    """What an episode is. Pending: seen, not yet confirmed. Resolved episodes never come back: a new one begins."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


OPEN = (State.PENDING, State.FIRING, State.ACKNOWLEDGED)
SOUNDING = (State.FIRING, State.ACKNOWLEDGED)

ACTIONS_TAKEN = "actions_taken"
"""The annotation that says what was done about an alert by itself, a line for each action."""


class Reason(StrEnum):
    """Why an episode changed; also the event in its history and the label of its metric."""

    FIRED = "fired"
    RESOLVED = "resolved"  # whoever raised it says it is over
    TIMED_OUT = "timed_out"  # nobody refreshed it
    NEVER_CONFIRMED = "never_confirmed"
    CLOSED = "closed"  # a person says it is over
    FLAP_HELD = "flap_held"  # its end is not believed yet
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGEMENT_EXPIRED = "acknowledgement_expired"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the catalogue says about flapping."""

    flap_quiet: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Episode:
    """What decisions are made of. `ends_at`: the end that was told, or after which silence counts as the end."""

    state: State
    starts_at: datetime
    ends_at: datetime | None = None
    ends_explicitly: bool = False
    fires_at: datetime | None = None
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    flapping: bool = False
    held: bool = False
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_until: datetime | None = None

    @property
    def due_at(self) -> datetime | None:
        """When `advance` has something to decide without anybody saying anything; None: never."""
        if self.state is State.RESOLVED:
            return None
        moments = [self.ends_at]
        if self.state is State.PENDING:
            moments.append(self.fires_at)
        if self.state is State.ACKNOWLEDGED:
            moments.append(self.acknowledged_until)
        return min((moment for moment in moments if moment is not None), default=None)


@dataclass(frozen=True, slots=True)
class Change:
    """A decision: the episode as it is from now on, and why. `reason` is None when nothing changed."""

    episode: Episode
    reason: Reason | None = None


def advance(episode: Episode, now: datetime, policy: Policy) -> Change:
    """What time alone has changed. Called again until `reason` is None, it ends with `due_at` in the future."""
    if episode.state is State.RESOLVED:
        return Change(episode)
    if episode.ends_at is not None and episode.ends_at <= now:
        return _ended(episode, now, policy)
    if episode.state is State.PENDING and episode.fires_at is not None and episode.fires_at <= now:
        return Change(replace(episode, state=State.FIRING, fired_at=now, fires_at=None), Reason.FIRED)
    until = episode.acknowledged_until
    if episode.state is State.ACKNOWLEDGED and until is not None and until <= now:
        return Change(_unacknowledged(episode), Reason.ACKNOWLEDGEMENT_EXPIRED)
    return Change(episode)


def _ended(episode: Episode, now: datetime, policy: Policy) -> Change:
    """Its end has come. A flapping one must stay quiet for a while before that is believed."""
    if episode.state is State.PENDING:
        return Change(_over(episode, now), Reason.NEVER_CONFIRMED)
    if episode.flapping and not episode.held:
        held = replace(episode, held=True, ends_at=now + policy.flap_quiet)
        return Change(held, Reason.FLAP_HELD)
    return Change(_over(episode, now), Reason.RESOLVED if episode.ends_explicitly else Reason.TIMED_OUT)


def _over(episode: Episode, now: datetime) -> Episode:
    return replace(episode, state=State.RESOLVED, resolved_at=now, held=False, fires_at=None)


def close(episode: Episode, now: datetime) -> Change:
    """A person says it is over. What still fires comes back as a new episode when it is raised again."""
    if episode.state is State.RESOLVED:
        return Change(episode)
    return Change(replace(_over(episode, now), ends_at=now, ends_explicitly=True), Reason.CLOSED)


def acknowledge(episode: Episode, now: datetime, *, by: str, until: datetime | None) -> Change:
    """Somebody is at it, until that moment. A second acknowledgement replaces the first; a pending one cannot be."""
    if episode.state not in SOUNDING:
        return Change(episode)
    taken = replace(
        episode, state=State.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=by, acknowledged_until=until
    )
    return Change(taken, Reason.ACKNOWLEDGED)


def unacknowledge(episode: Episode) -> Change:
    """Nobody is at it after all."""
    if episode.state is not State.ACKNOWLEDGED:
        return Change(episode)
    return Change(_unacknowledged(episode), Reason.UNACKNOWLEDGED)


def _unacknowledged(episode: Episode) -> Episode:
    return replace(episode, state=State.FIRING, acknowledged_at=None, acknowledged_by=None, acknowledged_until=None)


def is_flapping(changes: int, *, limit: int) -> bool:
    """`changes`: beginnings and ends of this fingerprint within the flap window, this beginning included."""
    return changes >= limit
