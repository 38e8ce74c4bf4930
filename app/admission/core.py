"""Which modes are on by the services' states, and what that asks of an operation. Pure; the caller gives `now`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.catalog import Mode

HEALTH = "health"
"""The holder of a mode that is on because a service is down."""


class Effect(StrEnum):
    """What an operation shall do, from the mildest."""

    NONE = "none"
    FALL_BACK = "fall_back"
    WAIT = "wait"


class Condition(StrEnum):
    """What is known of a service. One that flaps is what people were last told of it."""

    DOWN = "down"
    NOT_DOWN = "not_down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ServiceNow:
    """A service of the catalogue. `since`: when its present state began; while it flaps, with its last flip."""

    condition: Condition
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """One holder's hold on a mode. `cause`: the services that are down; none where people or a playbook decided."""

    id: UUID
    name: str
    holder: str
    set_by: str
    reason: str
    cause: tuple[str, ...]
    fall_back: tuple[str, ...]
    wait: tuple[str, ...]
    since: datetime
    on_since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a hold on a mode is to be."""

    cause: tuple[str, ...]
    fall_back: tuple[str, ...]
    wait: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What health should hold now, by name. `look_at`: when a delay passes that has not passed yet."""

    wanted: Mapping[str, Wanted]
    look_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation shall do. Modes and reasons are those that ask for this effect, the longest first."""

    effect: Effect = Effect.NONE
    modes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    since: datetime | None = None


def plan(modes: Mapping[str, Mode], services: Mapping[str, ServiceNow], holds: Iterable[Hold], now: datetime) -> Plan:
    """Which modes health holds: those of which a service is down, and has been for the mode's delay.

    A service of which nothing is known keeps what was; one that is not in `services` left the catalogue.
    """
    held = {hold.name: hold.cause for hold in holds if hold.holder == HEALTH}
    wanted: dict[str, Wanted] = {}
    later: list[datetime] = []
    for mode in modes.values():
        before = held.get(mode.name, ())
        cause = []
        for name in mode.while_down:
            due_at = _counts_from(services.get(name), mode, held=name in before, now=now)
            if due_at is not None and due_at <= now:
                cause.append(name)
            elif due_at is not None:
                later.append(due_at)
        if cause:
            wanted[mode.name] = Wanted(tuple(cause), mode.fall_back, mode.wait, _reason(mode, cause))
    return Plan(wanted, min(later, default=None))


def _counts_from(service: ServiceNow | None, mode: Mode, *, held: bool, now: datetime) -> datetime | None:
    """When this service turns the mode on: now at the latest where it does already; None where it does not."""
    if service is None or service.condition is Condition.NOT_DOWN:
        return None
    if held:
        return now
    if service.condition is Condition.UNKNOWN:
        return None
    if not mode.delay_seconds or service.since is None:
        return now
    return service.since + timedelta(seconds=mode.delay_seconds)


def _reason(mode: Mode, cause: Sequence[str]) -> str:
    fact = f"{listed(cause)} {'is' if len(cause) == 1 else 'are'} down"
    return f"{fact}: {mode.description}" if mode.description else fact


def over_because(hold: Hold, modes: Mapping[str, Mode], services: Mapping[str, ServiceNow]) -> str:
    """Why health no longer holds this mode, in words."""
    mode = modes.get(hold.name)
    if mode is None:
        return "the mode left the catalogue"
    gone = [name for name in hold.cause if name not in services]
    dropped = [name for name in hold.cause if name not in gone and name not in mode.while_down]
    back = [name for name in hold.cause if name not in (*gone, *dropped)]
    said = (
        f"{listed(back)} {'is' if len(back) == 1 else 'are'} no longer down" if back else "",
        f"{listed(gone)} left the catalogue" if gone else "",
        f"{listed(dropped)} left the mode" if dropped else "",
    )
    return "; ".join(filter(None, said))


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def answers(holds: Iterable[Hold]) -> dict[str, Answer]:
    """What every operation that any hold names shall do; an operation that is not there goes on as ever."""
    asking: dict[str, list[tuple[Effect, Hold]]] = {}
    for hold in holds:
        for effect, operations in ((Effect.FALL_BACK, hold.fall_back), (Effect.WAIT, hold.wait)):
            for operation in operations:
                asking.setdefault(operation, []).append((effect, hold))
    return {operation: _answer(asking[operation]) for operation in sorted(asking)}


def _answer(asking: Sequence[tuple[Effect, Hold]]) -> Answer:
    """Waiting beats falling back: what must not happen now may not happen without something either."""
    effect = Effect.WAIT if any(asked is Effect.WAIT for asked, _ in asking) else Effect.FALL_BACK
    holds = sorted((hold for asked, hold in asking if asked is effect), key=lambda hold: (hold.since, hold.id))
    return Answer(
        effect,
        modes=tuple(dict.fromkeys(hold.name for hold in holds)),
        reasons=tuple(dict.fromkeys(hold.reason for hold in holds)),
        since=holds[0].since,
    )


def is_over(hold: Hold, now: datetime) -> bool:
    """Has the time passed for which it was wanted?"""
    return hold.until is not None and hold.until <= now
