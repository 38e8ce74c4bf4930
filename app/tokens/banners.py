"""What a dashboard shows to a client now: accounts whose owner has to do something, by the tokens' rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.access.scopes import EVERYTHING, Reach
from app.infra.text import storable
from app.tokens import letters, store, wording
from app.tokens.core import Grant, Step
from app.tokens.rows import Account, Status

MOST = 500

_QUERY = f"""
    SELECT {store.COLUMNS} FROM accounts a JOIN token_status s ON s.account_id = a.id
     WHERE s.told <> '' AND a.disabled_at IS NULL AND {{conditions}}
     ORDER BY array_position(CAST(:steps AS text[]), s.told) DESC, s.expires_at, a.id LIMIT :most"""
_STEPS = [step.value for step in Step]


@dataclass(frozen=True, slots=True)
class Banner:
    """One account in trouble, in words for its owner. `until`: when it stops, or did."""

    account: Account
    step: Step
    title: str
    text: str
    button: str
    since: datetime | None
    until: datetime | None
    link: str

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "platform": self.account.platform,
            "account": self.account.external_id,
            "name": self.account.name,
            "tenant": self.account.tenant,
            "step": self.step.value,
            "title": self.title,
            "text": self.text,
            "button": self.button,
            "since": clock.iso(self.since) if self.since else None,
            "until": clock.iso(self.until) if self.until else None,
            "link": self.link,
        }


def shown(session: Session, now: datetime, *, tenant: str | None = None, reach: Reach = EVERYTHING) -> list[Banner]:
    """The worst first, at most MOST. Trouble that is nobody's business but the staff's is not among them."""
    condition, values = reach.condition()
    conditions = [condition, *(["a.tenant = :tenant"] if tenant is not None else [])]
    asked = {**values, "tenant": storable(tenant or ""), "steps": _STEPS, "most": MOST}
    rows = session.execute(text(_QUERY.format(conditions=" AND ".join(conditions))), asked)
    found = [_banner(store.account_of(row), store.status_of(row), now) for row in rows]
    return [banner for banner in found if banner is not None]


def _banner(account: Account, status: Status, now: datetime) -> Banner | None:
    place, until = letters.standing(account, status, now)
    if not place.client:
        return None
    said = wording.banner(letters.case_of(account, status, status.told, now=now))
    link = letters.link_of(account, status, now=now)
    return Banner(account, status.told, said.title, said.text, said.button, _since(status), until, link)


def _since(status: Status) -> datetime | None:
    """When its trouble began; None for a token that nobody can refresh, which only gets older."""
    return status.failing_since or (status.tried_at if status.grant in (Grant.DEAD, Grant.LOST) else None)
