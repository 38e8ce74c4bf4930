"""LLM calls over the broker; budgets that are compared with them, and end with their periods."""

from __future__ import annotations

from typing import Any

from app.costs import agreeing, budgets, calls, crossed, recording
from app.errors import Invalid, Problem
from app.infra.apart import Steps
from app.infra.db import unit_of_work
from tasks.base import JobContext, envelope, job
from tasks.intake import CALLER, from_outside

MOST_NAMED = 20
"""Bad calls of a message of which the timeline tells."""


@envelope("tasks.costs.record")
def record(message: Any, /, **body: Any) -> None:
    """Record `calls=[...]`, durably. Good ones are kept; what is wrong with the others is recorded."""
    with from_outside(str(message.request.id)):
        parsed = calls.parse_items(calls.items_of(body))
        recording.record([call for _, call in parsed.good], durable=True, source=CALLER)
        if parsed.rejected:
            raise Invalid(
                [
                    Problem(f"calls.{one['index']}.{error['field']}", error["message"])
                    for one in parsed.rejected[:MOST_NAMED]
                    for error in one["errors"]
                ],
                subject="calls",
            )


@job(crossed.KEEP)
def keep_budgets(_ctx: JobContext) -> None:
    """Let budgets' counters agree with what is written down, and end what is over."""
    steps = Steps()
    with steps.step("ends"), unit_of_work() as uow:
        budgets.keep(uow)
    with steps.step("counters"):
        agreeing.agree()
    steps.conclude()
