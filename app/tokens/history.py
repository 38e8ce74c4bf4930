"""What happened to an account's token, and what its owner was told; the newest first, never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.errors import NotFound
from app.infra.text import storable
from app.tokens import store

MOST = 500
MESSAGES = 50

_HISTORY = """
    SELECT id, at, kind, by, generation, reason, facts FROM token_history
     WHERE account_id = :account {before} ORDER BY id DESC LIMIT :limit"""
_REMOVED = """
    SELECT account_id, tenant, platform, external_id, at, by, facts FROM token_history
     WHERE platform = :platform AND external_id = :external_id AND kind = 'removed' ORDER BY id DESC LIMIT 1"""
_MESSAGES = """
    SELECT climb, step, channel, recipient, state, tries, created_at, sent_at, error FROM token_messages
     WHERE account_id = :account ORDER BY created_at DESC, id DESC LIMIT :limit"""


@dataclass(frozen=True, slots=True)
class Page:
    """`following` is the id to go on below; None on the last page."""

    items: tuple[dict[str, Any], ...]
    following: UUID | None


@dataclass(frozen=True, slots=True)
class Whose:
    """An account whose history is known. `removed`: when, by whom and why it was; None: it is here."""

    account_id: UUID
    tenant: str
    platform: str
    external_id: str
    removed: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """PLATFORM/EXTERNAL_ID."""
        return f"{self.platform}/{self.external_id}"


def find(session: Session, platform: str, external_id: str) -> Whose:
    """The account, else the one that was removed last under this name. Raises NotFound."""
    try:
        here = store.load(session, platform, external_id).account
    except NotFound:
        named = {"platform": storable(platform), "external_id": storable(external_id)}
        row = session.execute(text(_REMOVED), named).one_or_none()
        if row is None:
            raise
        removed = {"at": clock.iso(row.at), "by": row.by, "reason": row.facts.get("why", "")}
        return Whose(row.account_id, row.tenant, row.platform, row.external_id, removed)
    return Whose(here.id, here.tenant, here.platform, here.external_id)


def tenant_of(session: Session, platform: str, external_id: str) -> str:
    """Whose account it is or was; the empty text where nothing is known of it."""
    try:
        return find(session, platform, external_id).tenant
    except NotFound:
        return ""


def history(session: Session, account_id: UUID, *, limit: int, before: UUID | None = None) -> Page:
    """What happened, JSON-ready."""
    query = _HISTORY.format(before="" if before is None else "AND id < :before")
    rows = session.execute(text(query), {"account": account_id, "before": before, "limit": limit + 1}).all()
    items = tuple(_entry(row._asdict()) for row in rows[:limit])
    return Page(items, rows[limit - 1].id if len(rows) > limit else None)


def document(account: Whose, page: Page) -> dict[str, Any]:
    """A page with the account that it is of, JSON-ready."""
    return {
        "platform": account.platform,
        "account": account.external_id,
        "key": account.key,
        "removed": None if account.removed is None else dict(account.removed),
        "history": list(page.items),
        "next": None if page.following is None else str(page.following),
    }


def messages(session: Session, account_id: UUID) -> list[dict[str, Any]]:
    """What its owner was told by which way, and what became of it. Addresses are masked."""
    rows = session.execute(text(_MESSAGES), {"account": account_id, "limit": MESSAGES})
    return [
        {
            **row._asdict(),
            "recipient": masked(row.recipient),
            "created_at": clock.iso(row.created_at),
            "sent_at": None if row.sent_at is None else clock.iso(row.sent_at),
        }
        for row in rows
    ]


def masked(recipient: str) -> str:
    """An address that people recognise and nobody can write to: `a…@example.com`, `…4711`."""
    name, at, host = recipient.rpartition("@")
    if at and name:
        return f"{name[:1]}…@{host}"
    return f"…{recipient[-4:]}" if len(recipient) > 6 else "…"


def said(entry: Mapping[str, Any]) -> str:
    """An entry's facts in one line: `expires at 2026-11-20, attempt 1`."""
    facts = {name: value for name, value in sorted(entry["facts"].items()) if value not in ("", None, [])}
    attempt, of = facts.pop("attempt", None), facts.pop("of", None)
    tried = [] if not attempt else [f"attempt {attempt}" if of is None else f"attempt {attempt} of {of}"]
    return ", ".join([*tried, *(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in facts.items())])


def _plain(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(str, value))
        case str():
            moment = _moment(value)
            return value if moment is None else f"{moment:%Y-%m-%d %H:%M}"
        case _:
            return str(value)


def _moment(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if value[4:5] == "-" else None
    except ValueError:
        return None


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "id": str(row["id"]), "at": clock.iso(row["at"]), "facts": dict(row["facts"])}
