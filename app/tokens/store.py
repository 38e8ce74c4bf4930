"""Accounts and their tokens as rows: read, locked, written. Never commits."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.infra import ids
from app.infra.crypto import Sealed
from app.infra.db import UnitOfWork
from app.infra.text import json_safe, storable
from app.tokens.models import HistoryRow
from app.tokens.rows import (
    COLUMNS,
    Account,
    Held,
    Status,
    account_of,
    held_of,
    status_of,
    token_of,
    with_lease,
    without_lease,
)

__all__ = [
    "COLUMNS",
    "Account",
    "Held",
    "Status",
    "account_of",
    "held_of",
    "insert",
    "load",
    "load_id",
    "lock",
    "record",
    "save",
    "status_of",
    "token_of",
    "with_lease",
    "without_lease",
    "write_token",
]

LONGEST_DETAIL = 500


_HELD = f"SELECT {COLUMNS}, s.access, s.refresh FROM accounts a JOIN token_status s ON s.account_id = a.id"


def load(session: Session, platform: str, external_id: str) -> Held:
    """An account by its platform and its id there. Raises NotFound."""
    where = "WHERE a.platform = :platform AND a.external_id = :external_id"
    row = session.execute(
        text(f"{_HELD} {where}"), {"platform": storable(platform), "external_id": storable(external_id)}
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no account {storable(platform, limit=100)}/{storable(external_id, limit=200)}")
    return held_of(row)


def tenant_of(session: Session, platform: str, external_id: str) -> str:
    """Whose account it is; the empty text where there is no such account."""
    try:
        return load(session, platform, external_id).account.tenant
    except NotFound:
        return ""


def load_id(session: Session, account_id: UUID) -> Held:
    """An account by our id. Raises NotFound."""
    row = session.execute(text(f"{_HELD} WHERE a.id = :id"), {"id": account_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no account {account_id}")
    return held_of(row)


def lock(uow: UnitOfWork, account_id: UUID) -> Held | None:
    """The account with its token locked until the end of the transaction; None when it was removed."""
    row = uow.execute(f"{_HELD} WHERE a.id = :id FOR UPDATE OF s", id=account_id).one_or_none()
    return None if row is None else held_of(row)


def insert(uow: UnitOfWork, account: Account, now: datetime) -> bool:
    """Write a new account with an empty status; False when the platform's account is there already."""
    values = {
        "id": account.id,
        "tenant": account.tenant,
        "platform": account.platform,
        "external_id": account.external_id,
        "name": account.name,
        "app": account.app,
        "contacts": json.dumps([dict(contact) for contact in account.contacts]),
        "now": now,
    }
    done = uow.execute(
        "INSERT INTO accounts (id, tenant, platform, external_id, name, app, contacts, created_at, updated_at) "
        "VALUES (:id, :tenant, :platform, :external_id, :name, :app, CAST(:contacts AS jsonb), :now, :now) "
        "ON CONFLICT (platform, external_id) DO NOTHING",
        **values,
    )
    if not done.rowcount:
        return False
    uow.execute("INSERT INTO token_status (account_id, updated_at) VALUES (:id, :now)", id=account.id, now=now)
    return True


def save(uow: UnitOfWork, account_id: UUID, before: Status, after: Status, *, now: datetime) -> None:
    """Write what differs between two states of a row that the caller holds locked."""
    changed = {name: getattr(after, name) for name in _WRITTEN if getattr(after, name) != getattr(before, name)}
    if not changed:
        return
    columns = {_COLUMN.get(name, name): value for name, value in changed.items()}
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in columns.items()}
    sets = ", ".join(f"{name} = :{name}" for name in given)
    uow.execute(
        f"UPDATE token_status SET {sets}, updated_at = :changed_at WHERE account_id = :account",
        account=account_id,
        changed_at=now,
        **given,
    )


_WRITTEN = (
    "grant",
    "reason",
    "detail",
    "attempts",
    "tried_at",
    "failing_since",
    "wait_until",
    "next_at",
    "climb",
    "told",
    "paused",
    "lease_by",
    "lease_until",
    "started_at",
    "checked_at",
    "expires_at",
    "scopes",
)
_COLUMN = {"grant": "grant_state"}


def write_token(
    uow: UnitOfWork, account_id: UUID, status: Status, access: Sealed, refresh: Sealed | None, *, now: datetime
) -> None:
    """Put a new generation in the place of the one before, whose ciphertexts are kept as the previous ones."""
    uow.execute(
        "UPDATE token_status SET previous_access = access, previous_refresh = refresh, previous_key_id = key_id, "
        "access = :access, refresh = :refresh, key_id = :key_id, generation = :generation, token_type = :token_type, "
        "scopes = :scopes, issued_at = :issued_at, expires_at = :expires_at, "
        "refresh_expires_at = :refresh_expires_at, refreshed_at = :refreshed_at, updated_at = :now "
        "WHERE account_id = :account",
        account=account_id,
        access=access.data,
        refresh=None if refresh is None else refresh.data,
        key_id=access.key_id,
        generation=status.generation,
        token_type=status.token_type,
        scopes=list(status.scopes),
        issued_at=status.issued_at,
        expires_at=status.expires_at,
        refresh_expires_at=status.refresh_expires_at,
        refreshed_at=status.refreshed_at,
        now=now,
    )


def record(
    uow: UnitOfWork,
    account: Account,
    kind: str,
    *,
    by: str,
    now: datetime,
    generation: int,
    reason: str = "",
    **facts: Any,
) -> UUID:
    """Write down what happened. Facts are plain values for people; never a secret."""
    row = HistoryRow(
        id=ids.uuid7(now),
        at=now,
        account_id=account.id,
        tenant=account.tenant,
        platform=account.platform,
        external_id=account.external_id,
        generation=generation,
        by=storable(by, limit=200),
        kind=kind,
        reason=reason,
        facts=json_safe({name: _plain(value) for name, value in facts.items() if value is not None}),
    )
    uow.session.add(row)
    return row.id


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
