"""Alerts: episodes, their groups, what was told to whom, silences, and the history of it all."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_JSONB = postgresql.JSONB()
_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_FALSE = sa.text("false")


def upgrade() -> None:
    # From now on this says that a warning was recorded: what warns already is recorded once more.
    op.execute("UPDATE services SET warning = false")
    _alert_episodes()
    _alert_groups()
    _alert_group_members()
    _notifications()
    _alert_history()
    _around()


def _alert_episodes() -> None:
    op.create_table(
        "alert_episodes",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("team", sa.Text),
        sa.Column("service", sa.Text),
        sa.Column("labels", _JSONB, nullable=False),
        sa.Column("annotations", _JSONB, nullable=False),
        sa.Column("generator_url", sa.Text, server_default="", nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("rule", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME),
        sa.Column("ends_explicitly", sa.Boolean, server_default=_FALSE, nullable=False),
        sa.Column("opened_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("due_at", _TIME),
        sa.Column("fires_at", _TIME),
        sa.Column("fired_at", _TIME),
        sa.Column("resolved_at", _TIME),
        sa.Column("resolved_by", sa.Text),
        sa.Column("occurrences", sa.Integer, server_default="1", nullable=False),
        sa.Column("recent", postgresql.ARRAY(_TIME), server_default="{}", nullable=False),
        sa.Column("flapping", sa.Boolean, server_default=_FALSE, nullable=False),
        sa.Column("held", sa.Boolean, server_default=_FALSE, nullable=False),
        sa.Column("quiet_until", _TIME),
        sa.Column("routed", sa.Boolean, server_default=_FALSE, nullable=False),
        sa.Column("muted", _JSONB),
        sa.Column("told_at", _TIME),
        sa.Column("acknowledged_at", _TIME),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("acknowledged_until", _TIME),
        sa.Column("verdict", sa.Text),
        sa.Column("verdict_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_alert_episodes"),
    )
    op.create_index(
        "ix_alert_episodes_due",
        "alert_episodes",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_index("ix_alert_episodes_name", "alert_episodes", ["name", "id"], unique=False)
    op.create_index("ix_alert_episodes_past", "alert_episodes", ["fingerprint", "resolved_at"], unique=False)
    op.create_index("ix_alert_episodes_resolved_at", "alert_episodes", ["resolved_at"], unique=False)
    op.create_index(
        "ix_alert_episodes_rule",
        "alert_episodes",
        ["rule", "subject"],
        unique=False,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_index(
        "ix_alert_episodes_state",
        "alert_episodes",
        ["state", "id"],
        unique=False,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_index(
        "ix_alert_episodes_unrouted",
        "alert_episodes",
        ["id"],
        unique=False,
        postgresql_where=sa.text("NOT routed AND state <> 'resolved'"),
    )
    op.create_index(
        "uq_alert_episodes_open",
        "alert_episodes",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.execute("ALTER TABLE alert_episodes SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")


def _alert_groups() -> None:
    op.create_table(
        "alert_groups",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("thread", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("receiver", sa.Text),
        sa.Column("labels", _JSONB, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("team", sa.Text),
        sa.Column("timing", _JSONB, nullable=False),
        sa.Column("ladder", _JSONB),
        sa.Column("opened_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("closed_at", _TIME),
        sa.Column("due_at", _TIME),
        sa.Column("told_at", _TIME),
        sa.Column("told_count", sa.Integer, server_default="0", nullable=False),
        sa.Column("waiting_since", _TIME),
        sa.Column("step", sa.Integer, server_default="0", nullable=False),
        sa.Column("repeats", sa.Integer, server_default="0", nullable=False),
        sa.Column("acknowledged", sa.Boolean, server_default=_FALSE, nullable=False),
        sa.Column("held", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_alert_groups"),
    )
    op.create_index("ix_alert_groups_closed_at", "alert_groups", ["closed_at"], unique=False)
    op.create_index(
        "ix_alert_groups_due", "alert_groups", ["due_at"], unique=False, postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_index(
        "uq_alert_groups_open", "alert_groups", ["thread"], unique=True, postgresql_where=sa.text("closed_at IS NULL")
    )
    op.execute("ALTER TABLE alert_groups SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")


def _alert_group_members() -> None:
    op.create_table(
        "alert_group_members",
        sa.Column("group_id", _UUID, nullable=False),
        sa.Column("episode_id", _UUID, nullable=False),
        sa.Column("added_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("told_at", _TIME),
        sa.Column("end_told_at", _TIME),
        sa.ForeignKeyConstraint(
            ["episode_id"],
            ["alert_episodes.id"],
            name="fk_alert_group_members_episode_id_alert_episodes",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["alert_groups.id"], name="fk_alert_group_members_group_id_alert_groups", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "episode_id", name="pk_alert_group_members"),
    )
    op.create_index("ix_alert_group_members_episode", "alert_group_members", ["episode_id"], unique=False)


def _notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("group_id", _UUID),
        sa.Column("thread", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, server_default="", nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("state", sa.Text, server_default="waiting", nullable=False),
        sa.Column("message", _JSONB, nullable=False),
        sa.Column("fact_at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("sent_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("http_status", sa.Integer),
        sa.Column("provider_id", sa.Text),
        sa.Column("latency_ms", sa.REAL()),
        sa.Column("error", sa.Text),
        sa.Column("fallback_of", _UUID),
        sa.Column("source", sa.Text, server_default="engine", nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["alert_groups.id"], name="fk_notifications_group_id_alert_groups", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
        sa.UniqueConstraint("group_id", "step", "channel", "destination", "reason", name="uq_notifications_once"),
    )
    op.create_index("ix_notifications_created_at", "notifications", ["created_at"], unique=False)
    op.create_index(
        "ix_notifications_open",
        "notifications",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'sending')"),
    )
    op.create_index(
        "ix_notifications_thread", "notifications", ["thread", "channel", "destination", "id"], unique=False
    )
    op.execute("ALTER TABLE notifications SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")


def _alert_history() -> None:
    op.create_table(
        "alert_history",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("episode_id", _UUID),
        sa.Column("group_id", _UUID),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("by", sa.Text, server_default="", nullable=False),
        sa.Column("facts", _JSONB, server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_history"),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("ix_alert_history_episode", "alert_history", ["episode_id", "id"], unique=False)
    op.create_index("ix_alert_history_group", "alert_history", ["group_id", "id"], unique=False)
    op.execute("CREATE TABLE alert_history_default PARTITION OF alert_history DEFAULT")


def _around() -> None:
    op.create_table(
        "alert_clock",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("passed_at", _TIME),
        sa.Column("hold_until", _TIME),
        sa.Column("routing_digest", sa.Text),
        sa.Column("routing", _JSONB),
        sa.Column("synthetic_at", _TIME),
        sa.Column("synthetic_outcome", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_alert_clock"),
    )
    op.execute("INSERT INTO alert_clock (id) VALUES (1)")
    op.create_table(
        "alert_inbox",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("received_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("alerts", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_inbox"),
    )
    # Bodies are compressed before they come: trying again would only cost the sender time.
    op.execute("ALTER TABLE alert_inbox ALTER COLUMN body SET STORAGE EXTERNAL")
    op.create_table(
        "alert_links_used",
        sa.Column("token_id", sa.Text, nullable=False),
        sa.Column("used_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("token_id", name="pk_alert_links_used"),
    )
    op.create_table(
        "alert_silences",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("matchers", _JSONB, nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_silences"),
    )
    op.create_index("ix_alert_silences_ends_at", "alert_silences", ["ends_at"], unique=False)
    op.create_table(
        "on_call_overrides",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("rotation", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_on_call_overrides"),
    )
    op.create_index("ix_on_call_overrides_ends_at", "on_call_overrides", ["ends_at"], unique=False)
