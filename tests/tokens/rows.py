"""Accounts, tokens and their history as rows, for what only reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app.infra import ids
from app.infra.db import unit_of_work
from app.tokens.models import AccountRow, HistoryRow, TokenRow

KEYS = {"generation": 1, "grant_state": "good", "access": b"x", "key_id": "k1"}


@dataclass(frozen=True, slots=True)
class Kept:
    """An account with a token: columns of token_status as `token`."""

    external_id: str
    tenant: str = "acme"
    platform: str = "instagram"
    name: str = ""
    app: str = ""
    disabled_at: datetime | None = None
    token: dict[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=ids.uuid7)


def keep(*accounts: Kept) -> None:
    """Write them down."""
    with unit_of_work() as uow:
        for one in accounts:
            given = {name: getattr(one, name) for name in ("id", "tenant", "platform", "external_id", "name", "app")}
            uow.session.add(AccountRow(**given, contacts=[], disabled_at=one.disabled_at))
        uow.session.flush()
        for one in accounts:
            uow.session.add(TokenRow(account_id=one.id, **(KEYS | one.token)))


def happened(
    account: Kept, kind: str, at: datetime, reason: str = "", *, by: str = "schedule", **facts: Any
) -> HistoryRow:
    """A row of the history, not written yet."""
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in facts.items()}
    return HistoryRow(
        id=ids.uuid7(at), at=at, account_id=account.id, tenant=account.tenant, platform=account.platform,
        external_id=account.external_id, generation=1, by=by, kind=kind, reason=reason, facts=plain,
    )  # fmt: skip


def remember(rows: Iterable[HistoryRow]) -> None:
    """Write history down."""
    with unit_of_work() as uow:
        uow.session.add_all(rows)
