"""What a token at its end does to admission: operations that need it wait until there is a good one.

The newest signal of an account says whether they wait. The ladder of tokens decides when that is.
"""

from __future__ import annotations

from uuid import UUID

from app import signals
from app.admission import pauses, scopes
from app.infra.db import UnitOfWork
from app.infra.text import storable
from app.signals import Signal

HOLDER, EFFECT = "tokens", "token"
PAUSED = "tokens.paused"
ENDING = {
    "tokens.resumed": "there is a good token",
    "tokens.disabled": "the account is disabled: nobody looks after its token",
    "tokens.removed": "the account was removed",
}
"""Kinds after which nothing waits any more."""
_LEFT_ALONE = {"disabled": "tokens.disabled", "removed": "tokens.removed"}
"""Reasons for which operations go on without a good token."""


def follow(uow: UnitOfWork, signal_id: UUID, *, handler: str) -> None:
    """Let operations of an account wait for a good token, or go on."""
    signal = signals.load(uow.session, signal_id)
    if not signals.is_news(uow, handler, signal) or any(scopes.problems(signal.subject)):
        return
    now = uow.execute("SELECT now()").scalar_one()
    if signal.kind == PAUSED:
        pauses.set_pause(uow, signal.subject, by=HOLDER, reason=reason_of(signal), now=now, effect=EFFECT)
    elif signal.kind in ENDING:
        pauses.lift(uow, signal.subject, by=HOLDER, now=now, why=_why(signal))


def _why(signal: Signal) -> str:
    return ENDING[_LEFT_ALONE.get(str(signal.facts.get("reason")), signal.kind)]


def reason_of(signal: Signal) -> str:
    """For whoever asks why it waits. Pure."""
    said = "; ".join(str(part) for part in (signal.facts.get("reason"), signal.facts.get("detail")) if part)
    return storable(f"waits for a good token{f' ({said})' if said else ''}", limit=pauses.LONGEST_TEXT)
