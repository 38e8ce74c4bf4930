"""Limits: what counters were, open and closed windows; pauses, and operations that wait."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _counters()
    _log()
    _pauses()
    _deferral()


def _counters() -> None:
    op.create_table(
        "limit_states",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("taken_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_limit_states"),
    )
    op.create_index("ix_limit_states_expires_at", "limit_states", ["expires_at"])
    op.create_table(
        "limit_windows",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("limit_name", sa.Text, nullable=False),
        sa.Column("start_at", _TIME, nullable=False),
        sa.Column("end_at", _TIME),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("peak", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("refused", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("deferred", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("share", sa.Float, server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("taken_at", _TIME, nullable=False),
        sa.Column("told_at", _TIME),
        sa.Column("told_level", sa.SmallInteger, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("subject", "limit_name", "start_at", name="pk_limit_windows"),
    )
    op.create_index("ix_limit_windows_share", "limit_windows", ["limit_name", "share", "subject"])
    op.create_index("ix_limit_windows_end_at", "limit_windows", ["end_at"])
    rolling_told = sa.text("told_level > 0 AND end_at IS NULL")
    op.create_index("ix_limit_windows_told", "limit_windows", ["subject"], postgresql_where=rolling_told)


def _log() -> None:
    op.create_table(
        "rate_limit_log",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("limit_name", sa.Text, nullable=False),
        sa.Column("start_at", _TIME, nullable=False),
        sa.Column("end_at", _TIME, nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("peak", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.Column("deferred", sa.BigInteger, nullable=False),
        sa.Column("full", sa.Boolean, nullable=False),
        sa.Column("full_in_a_row", sa.Integer, server_default="0", nullable=False),
        sa.Column("closed_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rate_limit_log"),
        postgresql_partition_by="RANGE (id)",
    )
    op.execute("CREATE TABLE rate_limit_log_default PARTITION OF rate_limit_log DEFAULT")
    op.create_index("ix_rate_limit_log_subject", "rate_limit_log", ["subject", "limit_name", "start_at"])


def _pauses() -> None:
    op.create_table(
        "pauses",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("least", sa.SmallInteger, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("until", _TIME),
        sa.Column("ended_at", _TIME),
        sa.Column("ended_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_pauses"),
    )
    is_open = sa.text("ended_at IS NULL")
    op.create_index("uq_pauses_open", "pauses", ["scope", "holder"], unique=True, postgresql_where=is_open)
    op.create_index("ix_pauses_until", "pauses", ["until"], postgresql_where=is_open)
    op.create_index("ix_pauses_since", "pauses", ["since"])


def _deferral() -> None:
    op.create_table(
        "deferral_queues",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("waiting", postgresql.ARRAY(sa.Integer), server_default="{0,0,0,0}", nullable=False),
        sa.Column("next_try_at", _TIME, nullable=False),
        sa.Column("last_release_at", _TIME),
        sa.Column("in_flight", _UUID),
        sa.Column("blocked_by", sa.Text, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_deferral_queues"),
    )
    op.create_index("ix_deferral_queues_next_try_at", "deferral_queues", ["next_try_at"])
    op.create_table(
        "deferred_operations",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("rank", sa.SmallInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("estimate", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("task", postgresql.JSONB),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("state", sa.Text, server_default="waiting", nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("ended_by", sa.Text),
        sa.Column("job_id", _UUID),
        sa.PrimaryKeyConstraint("id", name="pk_deferred_operations"),
        sa.UniqueConstraint("account", "request_id", name="uq_deferred_operations_request"),
    )
    waits = sa.text("state = 'waiting'")
    columns = ["account", "rank", "seq"]
    op.create_index("ix_deferred_operations_line", "deferred_operations", columns, postgresql_where=waits)
    columns = ["account", "operation", "rank", "seq"]
    op.create_index("ix_deferred_operations_heads", "deferred_operations", columns, postgresql_where=waits)
    op.create_index("ix_deferred_operations_expires_at", "deferred_operations", ["expires_at"], postgresql_where=waits)
    op.create_index(
        "ix_deferred_operations_ended_at",
        "deferred_operations",
        ["ended_at"],
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )


def downgrade() -> None:
    for table in (
        "deferred_operations",
        "deferral_queues",
        "pauses",
        "rate_limit_log",
        "limit_windows",
        "limit_states",
    ):
        op.drop_table(table)
