"""Admissions over the broker; modes and pauses: they follow signals and the clock, and are compared each minute."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app import admission, signals
from app.admission import admitting, budget_effects, holds, pauses, releasing, requests, token_effects
from app.admission.answers import Outcome
from app.infra.db import unit_of_work
from tasks.base import JobContext, envelope, job, tick
from tasks.intake import CALLER, from_outside

ON_SIGNAL = "tasks.admission.on_signal"
ON_BUDGET = "tasks.admission.on_budget"
ON_TOKEN = "tasks.admission.on_token"  # noqa: S105 - the name of a task


@job(ON_SIGNAL, max_attempts=12)
def on_signal(ctx: JobContext, *, signal_id: UUID) -> None:
    """Let modes come on and go off with a service that fell, rose or left."""
    with ctx.complete() as uow:
        admission.follow_health(uow, signal_id, handler=ON_SIGNAL)


@job(ON_BUDGET, max_attempts=12)
def on_budget(ctx: JobContext, *, signal_id: UUID) -> None:
    """Let work wait whose budget is used up, and go on when it is renewed or raised."""
    with ctx.complete() as uow:
        budget_effects.follow(uow, signal_id, handler=ON_BUDGET)


@job(ON_TOKEN, max_attempts=12)
def on_token(ctx: JobContext, *, signal_id: UUID) -> None:
    """Let an account's operations wait whose token is at its end, and go on when there is a good one."""
    with ctx.complete() as uow:
        token_effects.follow(uow, signal_id, handler=ON_TOKEN)


@job(admission.RECONCILE)
def reconcile(ctx: JobContext) -> None:
    """Bring modes in step with services, catalogue and clock, and Redis with the modes."""
    with ctx.complete() as uow:
        admission.reconcile(uow)


@job(pauses.KEEP)
def keep_pauses(ctx: JobContext) -> None:
    """End pauses whose time is up, and write to Redis all that holds operations."""
    with ctx.complete() as uow:
        pauses.expire(uow)
        uow.after_commit(holds.catch_up)


@tick("tasks.admission.release")
def release() -> None:
    """Let go on what waits and may, in order, one account after another."""
    releasing.release_due()


@envelope("tasks.admission.submit")
def submit(message: Any, /, **body: Any) -> None:
    """Run the caller's task when its operation may go on: now, or after it has waited. A denial is recorded."""
    message_id = str(message.request.id)
    with from_outside(message_id):
        request = requests.parse({"id": message_id, **body}, caller=CALLER)
        answer = admitting.admit([request])[0]
        if answer.outcome is Outcome.DENY:
            with unit_of_work() as uow:
                signals.record(uow, "admission.denied", f"account:{request.line}", facts=answer.document())
