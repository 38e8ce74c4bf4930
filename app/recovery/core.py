"""What a run of a playbook is: its steps, its verdict, what guards it. Values only; `deciding` says what happens next.

The engine keeps a run in rows and takes each step in a job; the watchdog keeps it in a file and takes them in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


_BEGUN = frozenset({StepState.RUNNING, StepState.DONE, StepState.FAILED})
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
    BUSY = "busy"
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

    `since` is the trouble's beginning, `over_at` when it was seen to be over: until then no other run of the playbook
    starts by itself. `healthy` is what the last verifying step saw. `waits` says for what it waits and `waits_since`
    since when.
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
    over_at: datetime | None = None

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
        """Is a step that changes something under way or taken?"""
        return any(step.effect is not Effect.NONE and step.state in _BEGUN for step in self.steps)

    @property
    def is_at_work(self) -> bool:
        """Must others wait: is a change under way or yet to come, or a restart to be judged? Watching is no work."""
        changes = [step for step in self.steps if step.effect is not Effect.NONE]
        begun = [step for step in changes if step.state in _BEGUN]
        more = any(not step.is_over and not step.last for step in changes)
        return any(more or step.effect is Effect.RESTART or step.state is StepState.RUNNING for step in begun)

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

    `cause`: a fallen service on which it depends. `busy`: another run that is at work on the same service. `others`:
    critical services under repair by other runs. `forbidden`: why the catalogue does not allow the next step.
    `restarts`, `restarts_in_all`: of the last hour. `last_ended_at`: when the run before this one ended, of this
    playbook and service. `stopped`: who stopped all recovery, and why.
    """

    limits: Limits = field(default_factory=Limits)
    over: bool | None = False
    gone: str | None = None
    stopped: str | None = None
    maintenance: str | None = None
    cause: str | None = None
    busy: str | None = None
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
