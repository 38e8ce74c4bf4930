"""A caller was told by a platform that an account's token is not good: its platform is asked whether that is so."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from app import clock, signals
from app.errors import NotFound
from app.infra.db import read_only
from app.infra.logging import get_logger
from app.tokens import attending, store
from app.tokens.core import Grant
from app.tokens.provider import Acceptance, Known
from app.tokens.store import Held

BY = "platform error"
REST = timedelta(minutes=3)
"""A token that was accepted is not asked about again for so long."""
_ACCOUNT = "account:"

log = get_logger(__name__)


def follow(signal_id: UUID, now: datetime | None = None) -> Acceptance | None:
    """Ask about the token of a signal's account; None where there is nothing to ask.

    A token that is dead is declared dead, or refreshed. Raises Misconfigured without any key.
    """
    moment = now or clock.now()
    with read_only() as session:
        signal = signals.load(session, signal_id)
        platform, _, external_id = signal.subject.removeprefix(_ACCOUNT).partition("/")
        try:
            held = store.load(session, platform, external_id)
        except NotFound:
            return None
    if not is_worth_asking(held, moment):
        return None
    found = attending.check(held.account.id, by=BY, now=moment)
    said = "accepted" if isinstance(found, Known) else found.reason
    log.info("a caller met a token that was refused", account=held.account.key, platform_says=said)
    return found


def is_worth_asking(held: Held, now: datetime) -> bool:
    """Nobody has just asked, and the answer is not known. Pure."""
    status = held.status
    if held.account.disabled_at is not None or status.grant in (Grant.NONE, Grant.DEAD) or status.is_leased(now):
        return False
    return status.checked_at is None or not timedelta() <= now - status.checked_at < REST
