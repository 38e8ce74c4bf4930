"""What a try of a step makes of its run. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.recovery.core import Again, Done, Failed, Result, Run, StepRun, StepState


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


def ended(run: Run, place: int, result: Result, now: datetime) -> Run:
    """The run after a try of this step; it is due when the next thing is to be decided."""
    step = run.steps[place]
    match result:
        case Again():
            at = now + timedelta(seconds=result.seconds)
            waiting = replace(step, text=result.text, detail=result.detail, not_before=at, job_id=None)
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
