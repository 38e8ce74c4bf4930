"""Tables of tokens: accounts, the token of each, what happened to it, who was told; connecting.

A name nobody gave is the empty text. Tokens are ciphertext only (`app.tokens.envelope`).
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base


class AccountRow(Base):
    """A client's account on a platform. `external_id` is the platform's id of it, and what admissions call it.

    `app` is the [apps.NAME] that it was connected through; without one, the one of the platform's name. `contacts`:
    [{"channel": "telegram", "to": "..."}]; without any, those of the tenant.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("platform", "external_id", name="uq_accounts_platform_external_id"),
        Index("ix_accounts_tenant", "tenant"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)
    platform: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text, server_default="")
    app: Mapped[str] = mapped_column(Text, server_default="")
    contacts: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    disabled_at: Mapped[datetime | None]
    disabled_by: Mapped[str] = mapped_column(Text, server_default="")
    disabled_reason: Mapped[str] = mapped_column(Text, server_default="")


class TokenRow(Base):
    """The token of an account, and where it stands on the ladder.

    `generation` counts the tokens it has had; `previous_*` are those of the one before. `grant_state`: "" (never
    connected), "good", "dead" (the platform wants a login), "lost" (a rotating token whose answer nobody has).
    `attempts` failed in a row since `failing_since`; `wait_until` is what the platform asked for; at `next_at` somebody
    looks again. `climb` counts the times that trouble began, and `told` is the highest step that the owner was told of.
    Who refreshes holds `lease_by` until `lease_until`; `started_at` stands from before the call until its answer is
    stored.
    """

    __tablename__ = "token_status"
    __table_args__ = (Index("ix_token_status_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),)

    account_id: Mapped[uuid.UUID] = mapped_column(
        UUID(as_uuid=True), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    generation: Mapped[int] = mapped_column(Integer, server_default="0")
    grant_state: Mapped[str] = mapped_column(Text, server_default="")
    reason: Mapped[str] = mapped_column(Text, server_default="")
    detail: Mapped[str] = mapped_column(Text, server_default="")
    access: Mapped[bytes | None] = mapped_column(BYTEA)
    refresh: Mapped[bytes | None] = mapped_column(BYTEA)
    previous_access: Mapped[bytes | None] = mapped_column(BYTEA)
    previous_refresh: Mapped[bytes | None] = mapped_column(BYTEA)
    key_id: Mapped[str] = mapped_column(Text, server_default="")
    previous_key_id: Mapped[str] = mapped_column(Text, server_default="")
    token_type: Mapped[str] = mapped_column(Text, server_default="")
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    issued_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    refresh_expires_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    tried_at: Mapped[datetime | None]
    refreshed_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    wait_until: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    climb: Mapped[int] = mapped_column(Integer, server_default="0")
    told: Mapped[str] = mapped_column(Text, server_default="")
    paused: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    lease_by: Mapped[str] = mapped_column(Text, server_default="")
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class _OfAnAccount:
    """What the records of an account have in common; they outlive it."""

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    account_id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True))
    tenant: Mapped[str] = mapped_column(Text)
    platform: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(Integer, server_default="0")
    by: Mapped[str] = mapped_column(Text, server_default="")


class HistoryRow(_OfAnAccount, Base):
    """Something that happened to a token, in the day's partition of its id; `by` is a person, or a part of the system.

    Kinds: added, imported, set (a token by hand), connected, login_failed, refreshed, failed, dead, lost, waiting,
    told, paused, resumed, disabled, enabled, changed, removed, rewrapped.
    """

    __tablename__ = "token_history"
    __table_args__ = (
        Index("ix_token_history_account_id_id", "account_id", "id"),
        Index("ix_token_history_removed", "platform", "external_id", "id", postgresql_where=text("kind = 'removed'")),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    kind: Mapped[str] = mapped_column(Text, server_default="")
    reason: Mapped[str] = mapped_column(Text, server_default="")
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")


class ReadRow(_OfAnAccount, Base):
    """Somebody asked for a token: `by` is the key's name, `outcome` "given" or why not."""

    __tablename__ = "token_reads"
    __table_args__ = (
        Index("ix_token_reads_account_id_id", "account_id", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    outcome: Mapped[str] = mapped_column(Text, server_default="")
    purpose: Mapped[str] = mapped_column(Text, server_default="")
    address: Mapped[str] = mapped_column(Text, server_default="")


class LookRow(Base):
    """When the tokens of a time zone's tenants are looked at next, all of them."""

    __tablename__ = "token_looks"

    zone: Mapped[str] = mapped_column(Text, primary_key=True)
    due_at: Mapped[datetime]
    looked_at: Mapped[datetime | None]


class DayRow(Base):
    """What a day's look found of a tenant's tokens."""

    __tablename__ = "token_days"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    checked: Mapped[int] = mapped_column(Integer, server_default="0")
    healthy: Mapped[int] = mapped_column(Integer, server_default="0")
    expiring_soon: Mapped[int] = mapped_column(Integer, server_default="0")
    critical: Mapped[int] = mapped_column(Integer, server_default="0")


class TryRow(Base):
    """Refreshes that were tried on a day (UTC), added up from the history: of a tenant, or of all, which is "".

    `outcome` is refreshed, failed, dead or lost; `reason` why it was not refreshed.
    """

    __tablename__ = "token_tries"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    platform: Mapped[str] = mapped_column(Text, primary_key=True)
    outcome: Mapped[str] = mapped_column(Text, primary_key=True)
    reason: Mapped[str] = mapped_column(Text, primary_key=True)
    tries: Mapped[int] = mapped_column(BigInteger)


class TalliedRow(Base):
    """Up to which id, and without it, the history is added up in `token_tries`: one row."""

    __tablename__ = "token_tallied"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    until: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True))


class LowRow(Base):
    """A platform of whose refreshes too few succeed at present: told when it began, and when it is over."""

    __tablename__ = "token_low"

    platform: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")


class AppRow(Base):
    """An app as its platform last answered: "ok", "refused" (its id or secret is wrong), "limited", "unsure".

    Until `held_until` nothing of it is refreshed. "unsure": answers got lost `failures` times in a row.
    """

    __tablename__ = "token_apps"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default="")
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    since: Mapped[datetime] = mapped_column(server_default=text("now()"))
    held_until: Mapped[datetime | None]


class MessageRow(Base):
    """A message to an account's owner, one a step, climb and address: waiting, sending, sent, failed or dropped.

    `tried_at` is when its last try began; while it is `in_doubt`, a try may have arrived that nobody heard of.
    `provider_id` is what the other side calls it.
    """

    __tablename__ = "token_messages"
    __table_args__ = (
        UniqueConstraint("account_id", "climb", "step", "channel", "recipient", name="uq_token_messages_once"),
        Index(
            "ix_token_messages_open",
            "channel",
            "recipient",
            "created_at",
            postgresql_where=text("state IN ('waiting', 'sending')"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), ForeignKey("accounts.id", ondelete="CASCADE"))
    climb: Mapped[int] = mapped_column(Integer, server_default="0")
    step: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    recipient: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    tried_at: Mapped[datetime | None]
    in_doubt: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    sent_at: Mapped[datetime | None]
    provider_id: Mapped[str] = mapped_column(Text, server_default="")
    error: Mapped[str] = mapped_column(Text, server_default="")


class ConnectRow(Base):
    """A login that was begun at a platform: its `state` and its browser's cookie as SHA-256, PKCE's verifier sealed."""

    __tablename__ = "token_connects"
    __table_args__ = (
        UniqueConstraint("state_hash", name="uq_token_connects_state_hash"),
        Index("ix_token_connects_expires_at", "expires_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), ForeignKey("accounts.id", ondelete="CASCADE"))
    state_hash: Mapped[bytes] = mapped_column(LargeBinary)
    browser_hash: Mapped[bytes] = mapped_column(LargeBinary)
    verifier: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_id: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(Text, server_default="")
