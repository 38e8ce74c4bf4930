"""When a group of alerts is told, told again, escalated and closed. Pure: one decision a look, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.alerts import hours
from app.alerts.core import SOUNDING, State
from app.catalog import BusinessHours

LOOK_AGAIN = timedelta(seconds=15)
"""How soon a group is looked at again whose alerts are all held back by what may end without a word."""

NOBODY = "nobody is configured to be told"
BROKEN = "it cannot be told, and the log says why"
"""Why a group is held that should be told: the beginning of `held`."""


class Why(StrEnum):
    """Why a group is told something now: the first part of the notification's reason."""

    FIRST = "first"
    ADDED = "added"
    ENDED = "ended"
    AGAIN = "again"  # an acknowledgement or a silence ran out, and it still fires
    REPEATED = "repeated"
    ESCALATED = "escalated"
    REMINDED = "reminded"  # the same step of the ladder once more
    ACKNOWLEDGED = "acknowledged"
    ACTED = "acted"  # something was done about it by itself
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Timing:
    """Before the first message, between messages, until the same is told again."""

    wait: timedelta
    interval: timedelta
    repeat: timedelta


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step up: after so long without an answer, these are told too, and reminded so many times."""

    after: timedelta
    notify: tuple[str, ...]
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class LadderPlan:
    """The ladder as it was when the group opened. `hours`: only that time counts; None: all time does."""

    name: str
    steps: tuple[StepPlan, ...] = ()
    hours: BusinessHours | None = None

    def after(self, start: datetime, wait: timedelta) -> datetime:
        """The moment `wait` after `start`, by the time that counts."""
        return start + wait if self.hours is None else hours.add(self.hours, start, wait)


@dataclass(frozen=True, slots=True)
class Member:
    """One alert of the group. `muted`: held back now; `not_before`: not told for the first time before that moment.

    `acted`: something was done about it of which those who were told do not know yet.
    """

    episode_id: UUID
    state: State
    severity: str
    added_at: datetime
    told: bool = False
    end_told: bool = False
    muted: bool = False
    not_before: datetime | None = None
    acted: bool = False

    @property
    def sounds(self) -> bool:
        return self.state in SOUNDING


@dataclass(frozen=True, slots=True)
class Group:
    """What a decision needs to know of a group. `waiting_since`: an answer is awaited, at this step, since then."""

    opened_at: datetime
    timing: Timing
    ladder: LadderPlan | None = None
    told_at: datetime | None = None
    told_count: int = 0
    waiting_since: datetime | None = None
    step: int = 0
    repeats: int = 0
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """Something to tell. `notify` None: the route's receiver; empty: everybody who was told before."""

    why: Why
    reason: str
    step: int
    notify: tuple[str, ...] | None
    begun: tuple[UUID, ...] = ()
    ended: tuple[UUID, ...] = ()
    acted: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The group as it is from now on, what to tell, when to look again, and why nothing is told where that is so."""

    group: Group
    tell: tuple[Tell, ...] = ()
    due_at: datetime | None = None
    closed: bool = False
    held: str | None = None


@dataclass(frozen=True, slots=True)
class _View:
    """The members sorted by what is to be said of them."""

    sounding: tuple[Member, ...]
    audible: tuple[Member, ...]
    fresh: tuple[Member, ...]
    ended: tuple[Member, ...]
    acted: tuple[UUID, ...]
    unanswered: bool
    answered: bool

    @classmethod
    def of(cls, members: Sequence[Member]) -> _View:
        sounding = tuple(member for member in members if member.sounds)
        audible = tuple(member for member in sounding if not member.muted)
        return cls(
            sounding=sounding,
            audible=audible,
            fresh=tuple(member for member in audible if not member.told and member.state is State.FIRING),
            ended=tuple(m for m in members if m.state is State.RESOLVED and m.told and not m.end_told),
            acted=tuple(member.episode_id for member in audible if member.acted and member.told),
            unanswered=any(member.told and member.state is State.FIRING for member in audible),
            answered=bool(sounding) and all(member.state is State.ACKNOWLEDGED for member in sounding),
        )


def decide(group: Group, members: Sequence[Member], now: datetime, *, hold_until: datetime | None = None) -> Decision:
    """What is to be done about the group now. Before `hold_until` nothing but critical alerts begins to be told.

    `members`: those that last, and those whose end was not told; the others do not matter.
    """
    view = _View.of(members)
    if not view.sounding:
        return _over(group, view)
    if group.told_at is None:
        return _first(group, view, now, hold_until)
    return _later(group, view, now)


def _over(group: Group, view: _View) -> Decision:
    ended = tuple(member.episode_id for member in view.ended)
    if group.told_at is None:
        return Decision(group, closed=True, held="it was over before anybody was told")
    tell = Tell(Why.RESOLVED, Why.RESOLVED, group.step, (), ended=ended)
    return Decision(replace(group, waiting_since=None), (tell,), closed=True)


def _first(group: Group, view: _View, now: datetime, hold_until: datetime | None) -> Decision:
    if not view.fresh:
        why = "every alert of it is acknowledged" if view.answered else "every alert of it is held back"
        return Decision(group, due_at=now + LOOK_AGAIN, held=why)
    at = _begins_at(group, view, hold_until)
    if now < at:
        return Decision(group, due_at=at, held="it waits for more alerts of its group, or for its time")
    ready = _ready(view.fresh, now)
    told = replace(group, told_at=now, told_count=1, waiting_since=now, step=0, repeats=0)
    tell = Tell(Why.FIRST, Why.FIRST, 0, None, begun=tuple(member.episode_id for member in ready))
    return Decision(told, (tell,), due_at=_next(told, _after(view, ready), now))


def _begins_at(group: Group, view: _View, hold_until: datetime | None) -> datetime:
    at = max(group.opened_at + group.timing.wait, min(_not_before(member, group.opened_at) for member in view.fresh))
    if hold_until is not None and not any(member.severity == "critical" for member in view.fresh):
        at = max(at, hold_until)
    return at


def _not_before(member: Member, otherwise: datetime) -> datetime:
    return member.not_before or otherwise


def _ready(fresh: Sequence[Member], now: datetime) -> tuple[Member, ...]:
    return tuple(member for member in fresh if _not_before(member, now) <= now)


def _later(group: Group, view: _View, now: datetime) -> Decision:
    """A group that is known to people: at most one thing is told a look; the next look follows at once if needed."""
    if view.answered:
        return _answered(group, view, now)
    if not view.audible:
        quiet = replace(group, waiting_since=None, step=0, repeats=0)
        return Decision(quiet, due_at=now + LOOK_AGAIN, held="every alert of it is held back")
    if view.unanswered and group.waiting_since is None:
        return _told(group, view, now, Why.AGAIN, restart=True)
    ready = _ready(view.fresh, now)
    if (ready or view.ended) and group.told_at is not None and now >= group.told_at + group.timing.interval:
        return _told(group, view, now, Why.ADDED if ready else Why.ENDED, restart=bool(ready) and group.acknowledged)
    if view.acted:
        return _acted(group, view, now)
    step = _step(group, now) if view.unanswered else None
    if step is not None:
        return _climb(group, view, now, step)
    if view.unanswered and group.told_at is not None and now >= group.told_at + group.timing.repeat:
        return _told(group, view, now, Why.REPEATED, restart=False)
    return Decision(group, due_at=_next(group, view, now))


def _answered(group: Group, view: _View, now: datetime) -> Decision:
    if group.acknowledged and view.acted:
        return _acted(group, view, now, held="somebody is at it")
    if group.acknowledged:
        return Decision(group, due_at=_next(group, view, now), held="somebody is at it")
    count = group.told_count + 1
    calm = replace(group, acknowledged=True, waiting_since=None, step=0, repeats=0, told_count=count)
    tell = Tell(Why.ACKNOWLEDGED, f"{Why.ACKNOWLEDGED}-{count}", group.step, ())
    return Decision(calm, (tell,), due_at=now if view.acted else None, held="somebody is at it")


def _acted(group: Group, view: _View, now: datetime, *, held: str | None = None) -> Decision:
    """Tell those who know of it what was done; neither the ladder nor the times of messages change by that."""
    count = group.told_count + 1
    noted = replace(group, told_count=count)
    tell = Tell(Why.ACTED, f"{Why.ACTED}-{count}", group.step, (), acted=view.acted)
    return Decision(noted, (tell,), due_at=_next(noted, replace(view, acted=()), now), held=held)


def _told(group: Group, view: _View, now: datetime, why: Why, *, restart: bool) -> Decision:
    """Tell the route's receiver once more: what is new, what is over, what still waits for an answer."""
    ready = _ready(view.fresh, now)
    count = group.told_count + 1
    acted = view.acted if group.step == 0 else ()  # further up the ladder more people know of it than are told now
    told = replace(group, told_at=now, told_count=count, acknowledged=False)
    if restart or group.waiting_since is None:
        told = replace(told, waiting_since=now, step=0, repeats=0)
    tell = Tell(
        why,
        f"{why}-{count}",
        told.step,
        None,
        begun=tuple(member.episode_id for member in ready),
        ended=tuple(member.episode_id for member in view.ended),
        acted=acted,
    )
    left = _after(replace(view, acted=view.acted if not acted else ()), ready)
    return Decision(told, (tell,), due_at=_next(told, left, now))


def _after(view: _View, ready: Sequence[Member]) -> _View:
    """What is left to say once that was told."""
    said = {member.episode_id for member in ready}
    left = tuple(member for member in view.fresh if member.episode_id not in said)
    return replace(view, fresh=left, ended=(), unanswered=view.unanswered or bool(ready))


def _step(group: Group, now: datetime) -> StepPlan | None:
    """The step of the ladder whose time has come: the next one, or the last one once more."""
    due = _step_due(group)
    return due[1] if due is not None and due[0] <= now else None


def _step_due(group: Group) -> tuple[datetime, StepPlan] | None:
    if group.ladder is None or group.waiting_since is None:
        return None
    steps = group.ladder.steps
    if 0 < group.step <= len(steps) and group.repeats < steps[group.step - 1].repeat:
        plan = steps[group.step - 1]
    elif group.step < len(steps):
        plan = steps[group.step]
    else:
        return None
    return group.ladder.after(group.waiting_since, plan.after), plan


def step_due(group: Group) -> datetime | None:
    """When the next step of the ladder is taken unless somebody answers; None: there is none."""
    due = _step_due(group)
    return None if due is None else due[0]


def _climb(group: Group, view: _View, now: datetime, plan: StepPlan) -> Decision:
    again = group.step > 0 and group.ladder is not None and plan is group.ladder.steps[group.step - 1]
    count = group.told_count + 1
    if again:
        up = replace(group, repeats=group.repeats + 1, waiting_since=now, told_count=count)
        tell = Tell(Why.REMINDED, f"{Why.REMINDED}-{count}", up.step, plan.notify)
    else:
        up = replace(group, step=group.step + 1, repeats=0, waiting_since=now, told_count=count)
        tell = Tell(Why.ESCALATED, f"{Why.ESCALATED}-{count}", up.step, plan.notify)
    return Decision(up, (tell,), due_at=_next(up, view, now))


def _next(group: Group, view: _View, now: datetime) -> datetime | None:
    """When there is something to decide without anybody saying anything: under the conditions by which `_later` does.

    A moment that has come while nothing is said would be looked at again at once, for ever, before all other groups.
    """
    moments = []
    if group.told_at is not None:
        if view.fresh:
            soonest = min(_not_before(member, now) for member in view.fresh)
            moments.append(max(group.told_at + group.timing.interval, soonest))
        if view.unanswered:
            moments.append(group.told_at + group.timing.repeat)
        if view.ended and not view.answered:
            moments.append(group.told_at + group.timing.interval)
    step = _step_due(group)
    if step is not None and view.unanswered:
        moments.append(step[0])
    if any(member.muted for member in view.sounding):
        moments.append(now + LOOK_AGAIN)
    if view.acted:
        moments.append(now)
    return min((max(moment, now) for moment in moments), default=None)
