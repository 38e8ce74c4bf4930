"""What is answered: go on, wait, or no; why, until when, and the figures it was decided by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.admission.requests import Request
from app.catalog import CLASSES, COUNTER, MICRO, RateLimit
from app.catalog.limiting import LARGEST
from app.clock import iso
from app.limits import budgets
from app.limits.core import Decision, Hold, Reading, Use, Verdict


class Outcome(StrEnum):
    """What the caller shall do."""

    ALLOW = "allow"
    WAIT = "wait"
    DENY = "deny"


class Reason(StrEnum):
    """Why; also a metric's label."""

    ROOM = "room"
    KNOWN = "known"
    LIMIT = "limit"
    BUDGET = "budget"
    QUEUE = "queue"
    PAUSE = "pause"
    MODE = "mode"
    SERVICE = "service"
    TOKEN = "token"  # noqa: S105 - the word, not one
    ORDER = "order"
    TOO_LARGE = "too_large"
    FULL = "full"
    UNREACHABLE = "unreachable"
    ENDED = "ended"


UNBOUNDED = LARGEST + 1
"""Of a class that a budget does not stop: more than any capacity."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `until`: when it may be worth to ask again, or when what is deferred may go on at the earliest."""

    request: Request
    outcome: Outcome
    reason: Reason
    detail: str
    until: datetime | None = None
    position: int | None = None
    deferred_id: UUID | None = None
    job_id: UUID | None = None
    replayed: bool = False
    fall_back: str | None = None
    readings: Sequence[Reading] = field(default_factory=tuple)

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "decision": self.outcome,
            "id": self.request.id,
            "operation": self.request.known.operation.name,
            "account": self.request.account,
            "reason": self.reason,
            "detail": self.detail,
            "until": None if self.until is None else iso(self.until),
            "position": self.position,
            "deferred_id": None if self.deferred_id is None else str(self.deferred_id),
            "job_id": None if self.job_id is None else str(self.job_id),
            "replayed": self.replayed,
            "fall_back": self.fall_back,
            "limits": [reading_shown(reading) for reading in self.readings],
        }


def reading_shown(reading: Reading) -> dict[str, Any]:
    """JSON-ready. Amounts are calls, or millionths of a dollar where the limit's currency is usd."""
    return {
        "name": reading.limit.name,
        "subject": reading.subject,
        "currency": "calls" if reading.limit.currency == "calls" else "micro_usd",
        "used": reading.used,
        "capacity": reading.capacity,
        "ceiling": reading.ceiling if reading.ceiling < UNBOUNDED else None,
        "percentage": round(100 * reading.share, 1),
        "cost": reading.cost,
        "resets_at": None if reading.ends_at is None else iso(reading.ends_at),
        "room_at": None if reading.room_at is None else iso(reading.room_at),
    }


def allowed(request: Request, decision: Decision) -> Answer:
    """Go on. A mode may say without what."""
    hints = "; ".join(hold.reason for hold in decision.hints)
    detail = f"go on, and fall back: {hints}" if hints else "go on"
    return Answer(request, Outcome.ALLOW, Reason.ROOM, detail, fall_back=hints or None, readings=decision.readings)


def stopped(request: Request, decision: Decision) -> Answer:
    """Not now, and why; `wait` unless somebody said that it shall be denied."""
    reason, detail = _why(request, decision)
    denied = any(hold.effect == "deny" for hold in decision.holds)
    return Answer(
        request,
        Outcome.DENY if denied or not request.defers else Outcome.WAIT,
        reason,
        detail,
        until=decision.room_at,
        fall_back=request.known.operation.fall_back or None,
        readings=decision.readings,
    )


def unreachable(request: Request) -> Answer:
    """The counters cannot be reached: the operation says what that means."""
    if request.known.operation.unreachable == "allow":
        return Answer(request, Outcome.ALLOW, Reason.UNREACHABLE, "go on: the counters cannot be reached, uncounted")
    outcome = Outcome.WAIT if request.defers else Outcome.DENY
    return Answer(request, outcome, Reason.UNREACHABLE, "the counters cannot be reached")


def too_large(request: Request, uses: Sequence[Use]) -> Answer | None:
    """No, for ever: it needs more than a limit will ever have for its class."""
    for use in uses:
        cost = request.estimate if use.cost is None else use.cost
        if cost > use.ceiling:
            most = _figure(use.ceiling, use.limit)
            what = f"needs {_of(cost, use.limit)}, of which its class may have {most} at most"
            return Answer(request, Outcome.DENY, Reason.TOO_LARGE, f"{request.known.operation.name} {what}")
    return None


def _of(units: int, limit: RateLimit) -> str:
    if not limit.name.startswith(COUNTER):
        return f"{_figure(units, limit)} of {limit.name}"
    hour = " in an hour" if limit.period == "hour" else ""
    return f"{_figure(units, limit)} of the budget {budgets.name_of(limit.name)}{hour}"


def _figure(units: int, limit: RateLimit) -> str:
    return f"{units}" if limit.currency == "calls" else f"${units / MICRO:.2f}"


def with_fall_back(answer: Answer) -> Answer:
    """With what the operation says to do instead."""
    return replace(answer, fall_back=answer.request.known.operation.fall_back or None)


_KINDS = {"pause": Reason.PAUSE, "mode": Reason.MODE, "service": Reason.SERVICE}


def _why(request: Request, decision: Decision) -> tuple[Reason, str]:
    if decision.holds:
        return _held(decision.holds)
    short = next((reading for reading in decision.readings if reading.room_at is not None), None)
    if short is not None:
        operations = f"{CLASSES[request.known.plan.rank]} operations"
        if short.limit.name.startswith(COUNTER):
            most = min(short.ceiling, short.capacity)  # where one call may take more than the hour has
            of = f"${short.used / MICRO:.2f} of ${most / MICRO:.2f} for {operations} are spent or reserved"
            whose = f"{budgets.name_of(short.limit.name)} of {short.subject}"
            return Reason.BUDGET, f"the budget {whose}{' in this hour' if short.limit.period == 'hour' else ''}: {of}"
        what = f"{short.limit.name} is used up to {short.used} of {short.ceiling}"
        return Reason.LIMIT, f"{what} for {operations} ({short.subject})"
    return Reason.QUEUE, f"others of {request.line} wait for {decision.behind} already"


def _held(holds: Sequence[Hold]) -> tuple[Reason, str]:
    first = next((hold for hold in holds if hold.effect == "deny"), holds[0])
    if first.effect == "token":
        return Reason.TOKEN, first.reason
    kind, _, _ = first.reason.partition(" ")
    return _KINDS.get(kind.rstrip(":"), Reason.PAUSE), first.reason


__all__ = ["Answer", "Outcome", "Reason", "Verdict", "allowed", "reading_shown", "stopped", "too_large", "unreachable"]
