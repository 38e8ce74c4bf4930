"""What a used-up budget does to admission: work of its scope waits, or is told to take a cheaper model.

The newest signal of a budget says all that is in effect. What is wanted is held by the budget itself, until the period
ends; it is lifted at once when the budget is raised. That throttled work is slower is the limiter's own business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app import signals
from app.admission import pauses, scopes
from app.catalog import CLASSES
from app.infra.db import UnitOfWork
from app.infra.text import storable
from app.signals import Signal

BUDGET, CHEAPER = "budget:", "cheaper:"
"""Holders of pauses and of hints: two of one budget may be on one scope."""

_EVERYTHING, _BACKGROUND = 0, CLASSES.index("background")
_NOT_PAUSED = "interaction:"
"""An interaction that has used up its budget is refused by its own counter; there may be very many of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one holder shall hold. `least` is the rank of the most urgent class that waits."""

    holder: str
    effect: str
    least: int
    reason: str
    until: datetime | None


def follow(uow: UnitOfWork, signal_id: UUID, *, handler: str) -> None:
    """Hold what the newest signal of a budget says, and nothing else of it."""
    signal = signals.load(uow.session, signal_id)
    if not signals.is_news(uow, handler, signal):
        return
    scope = signal.labels["subject"]
    if scope.startswith(_NOT_PAUSED) or any(scopes.problems(scope)):
        return
    now: datetime = uow.execute("SELECT now()").scalar_one()
    held = {one.holder: one for one in wanted(signal) if one.until is None or one.until > now}
    for holder in holders(signal.labels["budget"]):
        one = held.get(holder)
        if one is None:
            why = str(signal.facts.get("why", "the budget has room"))
            pauses.lift(uow, scope, by=holder, now=now, why=why)
        else:
            pauses.set_pause(
                uow, scope, by=holder, reason=one.reason, now=now, until=one.until, least=one.least, effect=one.effect
            )


def holders(budget: str) -> tuple[str, str]:
    """Who holds what for a budget."""
    return BUDGET + budget, CHEAPER + budget


def wanted(signal: Signal) -> list[Wanted]:
    """What shall be held, by what is in effect. Pure."""
    effects = signal.facts.get("effects") or {}
    name = signal.labels["budget"]
    used = f"budget {name} is used up: ${signal.facts.get('spent', 0):g} of ${signal.facts.get('amount', 0):g}"
    budget, cheaper = holders(name)
    found = []
    if "stop" in effects:
        found.append(Wanted(budget, "wait", _EVERYTHING, used, _moment(effects["stop"])))
    elif "pause" in effects:
        found.append(Wanted(budget, "wait", _BACKGROUND, used, _moment(effects["pause"])))
    if "cheaper" in effects:
        hint = signal.facts.get("cheaper") or "take a cheaper model"
        said = storable(f"budget {name}: {hint}", limit=pauses.LONGEST_TEXT)
        found.append(Wanted(cheaper, pauses.HINT, _EVERYTHING, said, _moment(effects["cheaper"])))
    return found


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)
