"""Accounts and their tokens as rows: read, locked, written. Never commits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from app.tokens import core
from app.tokens.core import Grant, Step
from app.tokens.envelope import Place
from app.tokens.models import HistoryRow

LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Account:
    """A client's account on a platform."""

    id: UUID
    tenant: str
    platform: str
    external_id: str
    name: str = ""
    app: str = ""
    contacts: tuple[Mapping[str, Any], ...] = ()
    disabled_at: datetime | None = None
    disabled_by: str = ""
    disabled_reason: str = ""
    created_at: datetime | None = None

    @property
    def key(self) -> str:
        """How people and paths name it: PLATFORM/EXTERNAL_ID."""
        return f"{self.platform}/{self.external_id}"

    @property
    def subject(self) -> str:
        """Whose signals, and whose pauses, they are."""
        return f"account:{self.key}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its signals."""
        found = {"tenant": self.tenant, "platform": self.platform, "account": self.external_id}
        return found | ({"name": self.name} if self.name else {})

    @property
    def place(self) -> Place:
        """Where its tokens are sealed."""
        return Place(self.tenant, self.platform, self.external_id)


@dataclass(frozen=True, slots=True)
class Status:
    """A row of token_status without its ciphertexts."""

    generation: int = 0
    grant: Grant = Grant.NONE
    reason: str = ""
    detail: str = ""
    has_access: bool = False
    has_refresh: bool = False
    key_id: str = ""
    previous_key_id: str = ""
    token_type: str = ""
    scopes: tuple[str, ...] = ()
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    attempts: int = 0
    tried_at: datetime | None = None
    refreshed_at: datetime | None = None
    failing_since: datetime | None = None
    wait_until: datetime | None = None
    next_at: datetime | None = None
    climb: int = 0
    told: Step = Step.NONE
    paused: bool = False
    lease_by: str = ""
    lease_until: datetime | None = None
    started_at: datetime | None = None
    checked_at: datetime | None = None
    updated_at: datetime | None = None

    def is_leased(self, now: datetime) -> bool:
        """Is somebody refreshing it?"""
        return self.lease_until is not None and self.lease_until > now


@dataclass(frozen=True, slots=True)
class Held:
    """An account, its token's status, and the ciphertexts."""

    account: Account
    status: Status
    access: Sealed | None = field(default=None, repr=False)
    refresh: Sealed | None = field(default=None, repr=False)

    def token(self, *, blocked: bool = False, held_until: datetime | None = None) -> core.Token:
        """What the ladder has to know. `held_until`: nothing of its app is tried before."""
        return token_of(self.account, self.status, blocked=blocked, held_until=held_until)


def token_of(
    account: Account, status: Status, *, blocked: bool = False, held_until: datetime | None = None
) -> core.Token:
    """What the ladder has to know of a row."""
    waits = [moment for moment in (status.wait_until, held_until) if moment is not None]
    return core.Token(
        generation=status.generation,
        grant=status.grant,
        has_refresh=status.has_refresh,
        disabled=account.disabled_at is not None,
        blocked=blocked,
        issued_at=status.issued_at,
        expires_at=status.expires_at,
        refresh_expires_at=status.refresh_expires_at,
        attempts=status.attempts,
        tried_at=status.tried_at,
        wait_until=max(waits, default=None),
    )


_ACCOUNT = "a.id, a.tenant, a.platform, a.external_id, a.name, a.app, a.contacts, a.disabled_at, a.disabled_by, \
a.disabled_reason, a.created_at"
_STATUS = "s.generation, s.grant_state, s.reason, s.detail, s.access IS NOT NULL AS has_access, \
s.refresh IS NOT NULL AS has_refresh, s.key_id, s.previous_key_id, s.token_type, s.scopes, s.issued_at, s.expires_at, \
s.refresh_expires_at, s.attempts, s.tried_at, s.refreshed_at, s.failing_since, s.wait_until, s.next_at, s.climb, \
s.told, s.paused, s.lease_by, s.lease_until, s.started_at, s.checked_at, s.updated_at"
COLUMNS = f"{_ACCOUNT}, {_STATUS}"
"""Of `accounts a JOIN token_status s`, as `account_of` and `status_of` read them."""

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


def account_of(row: Any) -> Account:
    """The account of a row with COLUMNS."""
    return Account(
        row.id,
        row.tenant,
        row.platform,
        row.external_id,
        row.name,
        row.app,
        tuple(row.contacts),
        row.disabled_at,
        row.disabled_by,
        row.disabled_reason,
        row.created_at,
    )


def status_of(row: Any) -> Status:
    """The status of a row with COLUMNS."""
    return Status(
        row.generation,
        Grant(row.grant_state),
        row.reason,
        row.detail,
        row.has_access,
        row.has_refresh,
        row.key_id,
        row.previous_key_id,
        row.token_type,
        tuple(row.scopes),
        row.issued_at,
        row.expires_at,
        row.refresh_expires_at,
        row.attempts,
        row.tried_at,
        row.refreshed_at,
        row.failing_since,
        row.wait_until,
        row.next_at,
        row.climb,
        Step(row.told),
        row.paused,
        row.lease_by,
        row.lease_until,
        row.started_at,
        row.checked_at,
        row.updated_at,
    )


def held_of(row: Any) -> Held:
    """Everything of a row with COLUMNS, access and refresh."""
    return Held(account_of(row), status_of(row), _sealed(row.key_id, row.access), _sealed(row.key_id, row.refresh))


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


def with_lease(status: Status, *, by: str, now: datetime, until: datetime) -> Status:
    """The same row while somebody refreshes it; the look at its end is what notices a crash."""
    return replace(status, lease_by=by, lease_until=until, started_at=now, next_at=until)


def without_lease(status: Status) -> Status:
    """The same row when the answer is stored."""
    return replace(status, lease_by="", lease_until=None, started_at=None)


def _sealed(key_id: str, data: Any) -> Sealed | None:
    return None if data is None else Sealed(key_id, bytes(data))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
