"""What would be answered now, consuming nothing, with everything that speaks for and against it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.admission import admitting, answers, limit_document, limit_reading
from app.admission.limit_reading import Account
from app.admission.requests import Request
from app.limits import deciding
from app.limits.core import Decision, Hold, Verdict


def peek(request: Request) -> Decision:
    """The limiter's answer, with nothing consumed, counted or remembered. Raises Transient."""
    return deciding.peek(admitting.ask(request))


def document(request: Request, decision: Decision, session: Session | None, now: datetime) -> dict[str, Any]:
    """JSON-ready: the answer as it would be, what holds it, behind whom it would wait, and who waits already."""
    operation = request.known.operation
    account = Account(operation.platform, request.account, request.tenant or None)
    around = limit_reading.read_account(session, account, limit_reading.look_at(account), now).document(now)
    return {
        "answer": _answer(request, decision).document(),
        "class": operation.urgency,
        "one_at_a_time": operation.one_at_a_time,
        "holds": [_shown(hold) for hold in decision.holds],
        "hints": [_shown(hold) for hold in decision.hints],
        "behind": decision.behind,
        **{key: around[key] for key in ("waiting", "queued_operations", "next_try_at", "blocked_by")},
    }


def _answer(request: Request, decision: Decision) -> answers.Answer:
    refused = answers.too_large(request, decision.ask.plan.uses)
    if refused is not None:
        return refused
    made = answers.allowed if decision.verdict is Verdict.ALLOW else answers.stopped
    return made(request, decision)


def _shown(hold: Hold) -> dict[str, Any]:
    found = limit_document.hold_shown("", hold)
    del found["scope"]
    return found
