"""LLM calls over the broker."""

from __future__ import annotations

from typing import Any

from app.costs import calls, recording
from app.errors import Invalid, Problem
from tasks.base import envelope
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
