"""Accounts and their tokens as values, and how they are read from rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.infra.crypto import Sealed
from app.tokens import core
from app.tokens.core import Grant, Step
from app.tokens.envelope import Place

LONGEST_LEASE = timedelta(hours=1)
"""More than [tokens] lease_seconds may be, and clocks may differ."""


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
        """Is somebody refreshing it? A lease without an end in sight is of a clock that was wrong."""
        return self.lease_until is not None and now < self.lease_until <= now + LONGEST_LEASE


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


def with_lease(status: Status, *, by: str, now: datetime, until: datetime) -> Status:
    """The same row while somebody refreshes it; the look at its end is what notices a crash."""
    return replace(status, lease_by=by, lease_until=until, started_at=now, next_at=until)


def without_lease(status: Status) -> Status:
    """The same row when the answer is stored."""
    return replace(status, lease_by="", lease_until=None, started_at=None)


def _sealed(key_id: str, data: Any) -> Sealed | None:
    return None if data is None else Sealed(key_id, bytes(data))
