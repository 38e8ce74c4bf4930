"""What a run does next. Pure: a run and a look at the world make a decision with a named reason.

The engine keeps a run in rows and takes each step in a job; the watchdog keeps it in a file and takes them in a thread.
Both ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID


class Runner(StrEnum):
    """Who takes a run's steps: the watchdog, for what jobs could not run without, or the engine."""

    ENGINE = "engine"
    WATCHDOG = "watchdog"


class Effect(StrEnum):
    """What an action does to the world; the guards ask."""

    NONE = "none"  # it only looks
    CHANGE = "change"
    RESTART = "restart"


class StepState(StrEnum):
    """How far a step is."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    SIMULATED = "simulated"
    SKIPPED = "skipped"


OVER = frozenset({StepState.DONE, StepState.FAILED, StepState.REFUSED, StepState.SIMULATED, StepState.SKIPPED})


class Verdict(StrEnum):
    """What came of a run."""

    RECOVERED = "recovered"  # the trouble is over, and something was done about it
    BY_ITSELF = "by_itself"  # it was over before anything was done
    ESCALATED = "escalated"  # everything was tried: a person is needed
    REFUSED = "refused"  # a guard forbids it, and no person need be woken for that
    EXPLAINED = "explained"  # what it depends on is down: repairing it would be in vain
    SIMULATED = "simulated"
    ABORTED = "aborted"
    COMPLETED = "completed"  # all steps were taken; nothing tells whether they helped


class Why(StrEnum):
    """The named reason of a verdict or of a wait; `why` texts say it in words."""

    OVER = "over"
    PROBE_PASSES = "probe_passes"
    NO_STEPS_LEFT = "no_steps_left"
    STEP_FAILED = "step_failed"
    STOPPED = "stopped"
    ABORTED = "aborted"
    MAINTENANCE = "maintenance"
    FORBIDDEN = "forbidden"
    BUDGET_OF_SERVICE = "budget_of_service"
    BUDGET_IN_ALL = "budget_in_all"
    DRY_RUN = "dry_run"
    CAUSE_IS_DOWN = "cause_is_down"
    OTHER_REPAIR = "other_repair"
    COOLDOWN = "cooldown"
    NOT_BEFORE = "not_before"
    GONE = "gone"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of a run. `options`: as they were written in the catalogue, secrets as `${NAME}`. `says`: in words.

    `last`: is it one of those that are taken at the end, whatever came of the run? `began_at` is the first try's.
    """

    place: int
    action: str
    effect: Effect
    says: str
    options: Mapping[str, Any] = field(default_factory=dict)
    after_seconds: float = 0
    escalates: bool = True
    last: bool = False
    state: StepState = StepState.PLANNED
    text: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    not_before: datetime | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    tries: int = 0
    job_id: UUID | None = None

    @property
    def is_over(self) -> bool:
        return self.state in OVER


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a playbook for one service. `values`: what its texts and conditions speak of.

    `once` names the trouble: no second run starts by itself for the same. `since` is the trouble's beginning. `healthy`
    is what the last verifying step saw. `waits` says for what it waits now, `waits_since` since when.
    """

    id: UUID
    playbook: str
    service: str
    kind: str
    severity: str
    essential: bool
    runner: Runner
    started_by: str
    created_at: datetime
    steps: tuple[StepRun, ...]
    dry_run: bool = False
    once: str | None = None
    incident_id: UUID | None = None
    since: datetime | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    verdict: Verdict | None = None
    reason: Why | None = None
    why: str = ""
    healthy: bool | None = None
    waits: str | None = None
    waits_since: datetime | None = None
    due_at: datetime | None = None
    abort_by: str | None = None
    ended_at: datetime | None = None

    @property
    def is_critical(self) -> bool:
        """Does it touch what the stack cannot be without?"""
        return self.essential or self.severity == "critical"

    @property
    def acted(self) -> bool:
        """Has it changed anything?"""
        return any(step.state is StepState.DONE and step.effect is not Effect.NONE for step in self.steps)

    @property
    def has_begun(self) -> bool:
        """Is a step that changes something under way or taken, so that others must wait for this run?"""
        return any(step.effect is not Effect.NONE and step.began_at is not None for step in self.steps)

    @property
    def next_step(self) -> StepRun | None:
        """The first step that is not over; of those of the end only once there is a verdict."""
        return next((s for s in self.steps if not s.is_over and (s.last or self.verdict is None)), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """The guards' figures. Budgets count restarts of the last hour."""

    restarts_per_service: int = 3
    restarts_in_all: int = 10
    critical_at_once: int = 1
    cooldown: timedelta = timedelta(seconds=60)
    patience: timedelta = timedelta(seconds=240)


@dataclass(frozen=True, slots=True)
class Look:
    """The world as a run finds it. `over`: is its trouble over (None: nothing tells)? `gone`: it left the catalogue.

    `cause`: a fallen service on which it depends. `others`: critical services under repair by other runs. `forbidden`:
    why the catalogue does not allow the next step. `restarts`, `restarts_in_all`: of the last hour. `last_ended_at`:
    when the run before this one ended, of this playbook and service. `stopped`: who stopped all recovery, and why.
    """

    limits: Limits = field(default_factory=Limits)
    over: bool | None = False
    gone: str | None = None
    stopped: str | None = None
    maintenance: str | None = None
    cause: str | None = None
    others: tuple[str, ...] = ()
    forbidden: str | None = None
    restarts: int = 0
    restarts_in_all: int = 0
    last_ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The run as it is from now on. `act`: the place of the step to take now; None: ask again at `run.due_at`, which
    may be now, with a fresh look; or it has ended.
    """

    run: Run
    act: int | None = None


WAIT_AGAIN = timedelta(seconds=5)
"""How soon a postponed step is looked at again."""


def decide(run: Run, look: Look, now: datetime) -> Decision:
    """What to do now. A run that has ended stays as it is."""
    if run.ended_at is not None:
        return Decision(run)
    if run.verdict is None:
        judged = _judged(run, look)
        if judged.verdict is not None:
            return Decision(replace(judged, due_at=now))
    step = run.next_step
    if step is None:
        return Decision(_ended(run, now))
    if step.not_before is not None and now < step.not_before and not run.dry_run:
        return Decision(replace(run, waits=None, waits_since=None, due_at=step.not_before))
    if step.effect is Effect.NONE:
        return _simulated(run, step, now) if run.dry_run else _act(run, step)
    return _guarded(run, step, look, now)


def _judged(run: Run, look: Look) -> Run:
    """The run with a verdict, where there is one already."""
    failed = next((step for step in run.steps if step.state is StepState.FAILED and step.escalates), None)
    match run:
        case _ if run.abort_by is not None:
            return _concluded(run, Verdict.ABORTED, Why.ABORTED, f"aborted by {run.abort_by}")
        case _ if look.gone is not None:
            return _concluded(run, Verdict.ABORTED, Why.GONE, look.gone)
        case _ if run.healthy is True:
            return _concluded(run, _good(run), Why.PROBE_PASSES, "its probe passes")
        case _ if look.over is True:
            return _concluded(run, _good(run), Why.OVER, "the trouble is over")
        case _ if failed is not None:
            return _concluded(run, Verdict.ESCALATED, Why.STEP_FAILED, f"{failed.says}: {failed.text}")
        case _ if all(step.is_over or step.last for step in run.steps):
            return _exhausted(run, look)
    return run


def _good(run: Run) -> Verdict:
    return Verdict.RECOVERED if run.acted or run.has_begun else Verdict.BY_ITSELF


def _exhausted(run: Run, look: Look) -> Run:
    if run.dry_run:
        return _concluded(run, Verdict.SIMULATED, Why.DRY_RUN, "this was a dry run")
    if look.over is None and run.healthy is None:
        return _concluded(run, Verdict.COMPLETED, Why.NO_STEPS_LEFT, "every step was taken")
    return _concluded(run, Verdict.ESCALATED, Why.NO_STEPS_LEFT, "every step was taken, and it did not help")


def _concluded(run: Run, verdict: Verdict, reason: Why, why: str) -> Run:
    """Steps that are left are skipped, but for those of the end; one that was begun is done as far as anybody knows."""
    steps = tuple(step if step.is_over or step.last else _left(step, why) for step in run.steps)
    return replace(run, verdict=verdict, reason=reason, why=why, steps=steps, waits=None, waits_since=None)


def _left(step: StepRun, why: str) -> StepRun:
    if step.state is StepState.RUNNING:
        return replace(step, state=StepState.DONE, text=step.text or "begun; its end was not waited for")
    return replace(step, state=StepState.SKIPPED, text=why)


def _ended(run: Run, now: datetime) -> Run:
    return replace(run, ended_at=now, due_at=None, waits=None, waits_since=None)


def _act(run: Run, step: StepRun) -> Decision:
    return Decision(replace(run, waits=None, waits_since=None), step.place)


def _guarded(run: Run, step: StepRun, look: Look, now: datetime) -> Decision:
    """A step that changes something: refused, postponed, only said, or taken."""
    refused = _refusal(run, step, look)
    if refused is not None:
        verdict, reason, why = refused
        run = with_step(run, replace(step, state=StepState.REFUSED, text=why, began_at=now, ended_at=now))
        if run.verdict is None:
            run = _concluded(run, verdict, reason, why)
        return Decision(replace(run, due_at=now))
    if run.dry_run:
        return _simulated(run, step, now)
    postponed = None if step.began_at is not None or step.last else _postponement(run, look, now)
    if postponed is not None:
        return _wait(run, look, now, *postponed)
    return _act(run, step)


def _refusal(run: Run, step: StepRun, look: Look) -> tuple[Verdict, Why, str] | None:
    """Why this step is not taken at all. What was begun is brought to its end."""
    if look.forbidden is not None:
        return Verdict.ESCALATED, Why.FORBIDDEN, look.forbidden
    if look.stopped is not None and not step.last:
        return Verdict.REFUSED, Why.STOPPED, f"recovery is stopped: {look.stopped}"
    if look.maintenance is not None and not step.last:
        return Verdict.REFUSED, Why.MAINTENANCE, f"in maintenance: {look.maintenance}"
    if step.effect is not Effect.RESTART or step.began_at is not None:
        return None
    limits = look.limits
    if look.restarts >= limits.restarts_per_service:
        why = f"the {limits.restarts_per_service} restarts an hour of {run.service} are used up"
        return Verdict.ESCALATED, Why.BUDGET_OF_SERVICE, why
    if look.restarts_in_all >= limits.restarts_in_all:
        why = f"the {limits.restarts_in_all} restarts an hour of all services are used up"
        return Verdict.ESCALATED, Why.BUDGET_IN_ALL, why
    return None


def _postponement(run: Run, look: Look, now: datetime) -> tuple[Why, str, datetime, Verdict] | None:
    """What the step waits for: (reason, in words, when to look again, what it means if that lasts)."""
    if look.cause is not None:
        why = f"{look.cause}, on which it depends, is down"
        return Why.CAUSE_IS_DOWN, why, now + WAIT_AGAIN, Verdict.EXPLAINED
    if look.last_ended_at is not None and now < look.last_ended_at + look.limits.cooldown:
        at = look.last_ended_at + look.limits.cooldown
        return Why.COOLDOWN, "the run before it ended a moment ago", at, Verdict.ESCALATED
    if run.is_critical and len(look.others) >= look.limits.critical_at_once:
        why = f"{', '.join(look.others)} is under repair, and so few critical services may be at once"
        return Why.OTHER_REPAIR, why, now + WAIT_AGAIN, Verdict.ESCALATED
    return None


def _wait(run: Run, look: Look, now: datetime, reason: Why, why: str, until: datetime, lasting: Verdict) -> Decision:
    since = run.waits_since or now
    if reason is not Why.COOLDOWN and now >= since + look.limits.patience:
        return Decision(replace(_concluded(run, lasting, reason, f"waited in vain: {why}"), due_at=now))
    return Decision(replace(run, waits=why, waits_since=since, reason=reason, due_at=until))


def _simulated(run: Run, step: StepRun, now: datetime) -> Decision:
    done = replace(step, state=StepState.SIMULATED, text=f"would do: {step.says}", began_at=now, ended_at=now)
    return Decision(replace(with_step(run, done), due_at=now))


def with_step(run: Run, step: StepRun) -> Run:
    """The run with this step in its place."""
    return replace(run, steps=tuple(step if other.place == step.place else other for other in run.steps))


def begun(run: Run, place: int, now: datetime, *, job_id: UUID | None = None) -> Run:
    """The run while a try of this step is under way."""
    step = run.steps[place]
    running = replace(
        step, state=StepState.RUNNING, began_at=step.began_at or now, tries=step.tries + 1, job_id=job_id, text=""
    )
    return replace(with_step(run, running), due_at=None)


@dataclass(frozen=True, slots=True)
class Done:
    """The step is done. `healthy`: what it saw of the service, where that was its business."""

    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The step could not be done."""

    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Again:
    """The step goes on: call it again after so many seconds."""

    seconds: float
    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)


Result = Done | Failed | Again


def ended(run: Run, place: int, result: Result, now: datetime) -> Run:
    """The run after a try of this step; it is due when the next thing is to be decided."""
    step = run.steps[place]
    match result:
        case Again():
            at = now + timedelta(seconds=result.seconds)
            waiting = replace(step, text=result.text, detail=result.detail, not_before=at)
            return replace(with_step(run, waiting), due_at=at)
        case Done():
            run = replace(run, healthy=result.healthy if result.healthy is not None else run.healthy)
            over = replace(step, state=StepState.DONE, text=result.text, detail=result.detail, ended_at=now)
        case Failed():
            over = replace(step, state=StepState.FAILED, text=result.text, detail=result.detail, ended_at=now)
    return _with_next(with_step(run, over), now)


def _with_next(run: Run, now: datetime) -> Run:
    """The step after this one waits from now on."""
    following = next((step for step in run.steps if not step.is_over), None)
    if following is not None and following.after_seconds:
        at = now + timedelta(seconds=following.after_seconds)
        run = with_step(run, replace(following, not_before=at))
    return replace(run, due_at=now)
