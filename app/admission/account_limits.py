"""How much of its platform's limits an account has used, for those who show accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.admission import limit_reading
from app.admission.limit_reading import Account
from app.errors import NotFound


def of(session: Session, platform: str, external_id: str, tenant: str, now: datetime) -> list[dict[str, Any]] | None:
    """Each limit with what is used; None of a platform on which no operation is done."""
    try:
        account = limit_reading.account_of(f"{platform}/{external_id}", tenant)
    except NotFound:
        return None
    known = Account(account.platform, account.name, tenant)
    found = limit_reading.read_account(session, known, limit_reading.look_at(known), now)
    limits: list[dict[str, Any]] = found.document(now)["limits"]
    return limits
