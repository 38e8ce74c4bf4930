"""What a run does next. Pure: a run and a look at the world make a decision with a named reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.recovery.core import Decision, Effect, Look, Run, StepRun, StepState, Verdict, Why
from app.recovery.taking import with_step

_STAND = frozenset({Verdict.ESCALATED, Verdict.ABORTED, Verdict.SIMULATED})
"""After these the playbook does not start by itself again before the trouble was seen to be over."""

MOST_MOVES = 100
"""More than the steps that a playbook may have."""
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


def given_up(run: Run, reason: Why, why: str, now: datetime) -> Run:
    """The run, ended as it is by whoever finds that nobody takes it further: not even its last steps are taken."""
    steps = tuple(step if step.is_over else _left(step, why) for step in run.steps)
    concluded = replace(run, verdict=run.verdict or Verdict.ABORTED, reason=reason, why=why, steps=steps)
    return _ended(concluded, now)


def decide_all(run: Run, look: Callable[[Run], Look], now: datetime) -> Decision:
    """The run after every decision that can be made now, each with a fresh look: to act, to wait, or ended."""
    for _ in range(MOST_MOVES):
        decision = decide(run, look(run), now)
        run = decision.run
        if decision.act is not None or run.ended_at is not None or (run.due_at is not None and run.due_at > now):
            return decision
    raise AssertionError("a run has fewer steps than this")


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
    over = run.verdict not in _STAND
    return replace(run, ended_at=now, over_at=now if over else None, due_at=None, waits=None, waits_since=None)


def _act(run: Run, step: StepRun) -> Decision:
    return Decision(replace(run, waits=None, waits_since=None), step.place)


def _guarded(run: Run, step: StepRun, look: Look, now: datetime) -> Decision:
    """A step that changes something: refused, postponed, only said, or taken."""
    refused = _refusal(run, step, look)
    if refused is not None:
        verdict, reason, why = refused
        began_at = step.began_at or now
        run = with_step(run, replace(step, state=StepState.REFUSED, text=why, began_at=began_at, ended_at=now))
        if run.verdict is None:
            run = _concluded(run, verdict, reason, why)
        return Decision(replace(run, due_at=now))
    if run.dry_run:
        return _simulated(run, step, now)
    wait = None if step.began_at is not None or step.last else _postponement(run, look, now)
    return _act(run, step) if wait is None else _postponed(run, wait, look, now)


def _refusal(run: Run, step: StepRun, look: Look) -> tuple[Verdict, Why, str] | None:
    """Why this step is not taken at all. What was begun is brought to its end; the stop does not keep the steps of the
    end from undoing what the run has done.
    """
    failure = Verdict.SIMULATED if run.dry_run else Verdict.ESCALATED
    undoes = step.last and step.effect is not Effect.RESTART
    if look.forbidden is not None:
        return failure, Why.FORBIDDEN, look.forbidden
    if look.stopped is not None and not undoes:
        return Verdict.REFUSED, Why.STOPPED, f"recovery is stopped: {look.stopped}"
    if look.maintenance is not None and not undoes:
        return Verdict.REFUSED, Why.MAINTENANCE, f"in maintenance: {look.maintenance}"
    if step.effect is not Effect.RESTART or step.began_at is not None:
        return None
    limits = look.limits
    if look.restarts >= limits.restarts_per_service:
        why = f"the {limits.restarts_per_service} restarts an hour of {run.service} are used up"
        return failure, Why.BUDGET_OF_SERVICE, why
    if look.restarts_in_all >= limits.restarts_in_all:
        why = f"the {limits.restarts_in_all} restarts an hour of all services are used up"
        return failure, Why.BUDGET_IN_ALL, why
    return None


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a step waits for, until when it does at least, and what it means if that lasts (None: it cannot)."""

    reason: Why
    why: str
    until: datetime
    lasting: Verdict | None


def _postponement(run: Run, look: Look, now: datetime) -> _Wait | None:
    if look.cause is not None:
        why = f"{look.cause}, on which it depends, is down"
        return _Wait(Why.CAUSE_IS_DOWN, why, now + WAIT_AGAIN, Verdict.EXPLAINED)
    if look.busy is not None:
        return _Wait(Why.BUSY, f"{look.busy} is at work on it", now + WAIT_AGAIN, Verdict.ESCALATED)
    if look.last_ended_at is not None and now < look.last_ended_at + look.limits.cooldown:
        at = look.last_ended_at + look.limits.cooldown
        return _Wait(Why.COOLDOWN, "the run before it ended a moment ago", at, None)
    if run.is_critical and len(look.others) >= look.limits.critical_at_once:
        why = f"{', '.join(look.others)} is under repair, and so few critical services may be at once"
        return _Wait(Why.OTHER_REPAIR, why, now + WAIT_AGAIN, Verdict.ESCALATED)
    return None


def _postponed(run: Run, wait: _Wait, look: Look, now: datetime) -> Decision:
    cooled = run.reason is Why.COOLDOWN and wait.reason is not Why.COOLDOWN
    since = now if run.waits_since is None or cooled else run.waits_since
    if wait.lasting is not None and now >= since + look.limits.patience:
        return Decision(replace(_concluded(run, wait.lasting, wait.reason, f"waited in vain: {wait.why}"), due_at=now))
    return Decision(replace(run, waits=wait.why, waits_since=since, reason=wait.reason, due_at=wait.until))


def _simulated(run: Run, step: StepRun, now: datetime) -> Decision:
    done = replace(step, state=StepState.SIMULATED, text=f"would do: {step.says}", began_at=now, ended_at=now)
    return Decision(replace(with_step(run, done), due_at=now))
