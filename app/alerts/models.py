"""Tables of alerts: episodes, the groups they are told in, what was told to whom, silences, and all that happened."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL, TIMESTAMP, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base

_OPEN = text("state <> 'resolved'")


class EpisodeRow(Base):
    """One alert from its beginning to its end. At most one is open of a fingerprint.

    `due_at`: when the tick must look at it by itself (its end, its confirmation, an acknowledgement running out), or
    earlier. `held`: it ended while flapping, and that is not believed yet. `quiet_until`: its cooldown.
    `routed`: has it been put into its groups? `rule` and `subject` tell signals which episode is theirs.
    """

    __tablename__ = "alert_episodes"
    __table_args__ = (
        Index("uq_alert_episodes_open", "fingerprint", unique=True, postgresql_where=_OPEN),
        Index("ix_alert_episodes_due", "due_at", postgresql_where=_OPEN),
        Index("ix_alert_episodes_unrouted", "id", postgresql_where=text("NOT routed AND state <> 'resolved'")),
        Index("ix_alert_episodes_state", "state", "id", postgresql_where=_OPEN),
        Index("ix_alert_episodes_rule", "rule", "subject", postgresql_where=_OPEN),
        Index("ix_alert_episodes_past", "fingerprint", "resolved_at"),
        Index("ix_alert_episodes_resolved_at", "resolved_at"),
        Index("ix_alert_episodes_name", "name", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    team: Mapped[str | None] = mapped_column(Text)
    service: Mapped[str | None] = mapped_column(Text)
    labels: Mapped[dict[str, str]] = mapped_column(JSONB)
    annotations: Mapped[dict[str, str]] = mapped_column(JSONB)
    generator_url: Mapped[str] = mapped_column(Text, server_default="")
    source: Mapped[str] = mapped_column(Text)
    rule: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    ends_explicitly: Mapped[bool] = mapped_column(server_default=text("false"))
    opened_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    due_at: Mapped[datetime | None]
    fires_at: Mapped[datetime | None]
    fired_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None] = mapped_column(Text)
    occurrences: Mapped[int] = mapped_column(server_default="1")
    recent: Mapped[list[datetime]] = mapped_column(ARRAY(TIMESTAMP(timezone=True)), server_default="{}")
    flapping: Mapped[bool] = mapped_column(server_default=text("false"))
    held: Mapped[bool] = mapped_column(server_default=text("false"))
    quiet_until: Mapped[datetime | None]
    routed: Mapped[bool] = mapped_column(server_default=text("false"))
    muted: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    told_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(Text)
    acknowledged_until: Mapped[datetime | None]
    verdict: Mapped[str | None] = mapped_column(Text)
    verdict_by: Mapped[str | None] = mapped_column(Text)


class GroupRow(Base):
    """Episodes that are told together, from the first to the last: one generation. `held` says why nobody was told yet.

    `timing` and `ladder` are what the catalogue said when the group opened. `waiting_since`: since when it is told and
    nobody has answered; `step` counts the ladder's steps that were taken, `repeats` those of the present one.
    """

    __tablename__ = "alert_groups"
    __table_args__ = (
        Index("uq_alert_groups_open", "thread", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("ix_alert_groups_due", "due_at", postgresql_where=text("closed_at IS NULL")),
        Index("ix_alert_groups_closed_at", "closed_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    thread: Mapped[str] = mapped_column(Text)
    route: Mapped[str] = mapped_column(Text)
    receiver: Mapped[str | None] = mapped_column(Text)
    labels: Mapped[dict[str, str]] = mapped_column(JSONB)
    severity: Mapped[str] = mapped_column(Text)
    team: Mapped[str | None] = mapped_column(Text)
    timing: Mapped[dict[str, Any]] = mapped_column(JSONB)
    ladder: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    opened_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    closed_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    told_count: Mapped[int] = mapped_column(server_default="0")
    waiting_since: Mapped[datetime | None]
    step: Mapped[int] = mapped_column(server_default="0")
    repeats: Mapped[int] = mapped_column(server_default="0")
    acknowledged: Mapped[bool] = mapped_column(server_default=text("false"))
    held: Mapped[str | None] = mapped_column(Text)


class MemberRow(Base):
    """An episode in a group; when its beginning and its end were first told there.

    `acted_at`: since when something was done about it of which those who were told do not know yet.
    """

    __tablename__ = "alert_group_members"
    __table_args__ = (Index("ix_alert_group_members_episode", "episode_id"),)

    group_id: Mapped[uuid.UUID] = mapped_column(
        UUID(as_uuid=True), ForeignKey("alert_groups.id", ondelete="CASCADE"), primary_key=True
    )
    episode_id: Mapped[uuid.UUID] = mapped_column(
        UUID(as_uuid=True), ForeignKey("alert_episodes.id", ondelete="CASCADE"), primary_key=True
    )
    added_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    told_at: Mapped[datetime | None]
    end_told_at: Mapped[datetime | None]
    acted_at: Mapped[datetime | None]


class NotificationRow(Base):
    """What was or will be told to one address: once for each step and reason of a group.

    `state`: waiting, sending, delivered, failed (given up), skipped. `sent_at` is when the last try began: set without
    an outcome, that try may have arrived. `fact_at` is the moment of what it tells; `reason` is unique within a step
    ("first", "added-3", "repeated-2", "escalated", "acknowledged-1", "acted-4", "resolved").
    """

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("group_id", "step", "channel", "destination", "reason", name="uq_notifications_once"),
        Index("ix_notifications_thread", "thread", "channel", "destination", "id"),
        Index("ix_notifications_open", "created_at", postgresql_where=text("state IN ('waiting', 'sending')")),
        Index("ix_notifications_created_at", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    group_id: Mapped[uuid.UUID | None] = mapped_column(
        UUID(as_uuid=True), ForeignKey("alert_groups.id", ondelete="CASCADE")
    )
    thread: Mapped[str] = mapped_column(Text)
    step: Mapped[int]
    recipient: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    destination: Mapped[str] = mapped_column(Text, server_default="")
    reason: Mapped[str] = mapped_column(Text)
    event: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="waiting")
    message: Mapped[dict[str, Any]] = mapped_column(JSONB)
    fact_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    attempts: Mapped[int] = mapped_column(server_default="0")
    sent_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    http_status: Mapped[int | None]
    provider_id: Mapped[str | None] = mapped_column(Text)
    latency_ms: Mapped[float | None] = mapped_column(REAL)
    error: Mapped[str | None] = mapped_column(Text)
    fallback_of: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    source: Mapped[str] = mapped_column(Text, server_default="engine")


class SilenceRow(Base):
    """What shall not be told, from when until when, and who said so why. An expired one never comes back."""

    __tablename__ = "alert_silences"
    __table_args__ = (Index("ix_alert_silences_ends_at", "ends_at"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    matchers: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(Text)
    comment: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class OverrideRow(Base):
    """Somebody takes over a rotation for a while."""

    __tablename__ = "on_call_overrides"
    __table_args__ = (Index("ix_on_call_overrides_ends_at", "ends_at"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    rotation: Mapped[str] = mapped_column(Text)
    person: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class UsedLinkRow(Base):
    """A signed link of a message that was acted on: it acts once."""

    __tablename__ = "alert_links_used"

    token_id: Mapped[str] = mapped_column(Text, primary_key=True)
    used_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class InboxRow(Base):
    """Alerts as they were posted, checked, not yet merged into episodes: accepting must be quick and durable.

    `alerts` counts them; `body` is their JSON, compressed, as app.alerts.inbox packs it.
    """

    __tablename__ = "alert_inbox"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    source: Mapped[str] = mapped_column(Text)
    alerts: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)


class ClockRow(Base):
    """One row of what the pipeline remembers of itself: its last pass, until when it holds back after it was away."""

    __tablename__ = "alert_clock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    passed_at: Mapped[datetime | None]
    hold_until: Mapped[datetime | None]
    routing_digest: Mapped[str | None] = mapped_column(Text)
    routing: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    synthetic_at: Mapped[datetime | None]
    synthetic_outcome: Mapped[str | None] = mapped_column(Text)


class HistoryRow(Base):
    """Everything that happened to an episode or a group: opened, fired, muted, told, delivered, acknowledged, ended."""

    __tablename__ = "alert_history"
    __table_args__ = (
        Index("ix_alert_history_episode", "episode_id", "id"),
        Index("ix_alert_history_group", "group_id", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    episode_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    group_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    event: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(Text, server_default="")
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
