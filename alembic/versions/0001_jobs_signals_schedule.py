"""The ledger of jobs, the signals, the timetable's state."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_JSONB = postgresql.JSONB()
_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")


def upgrade() -> None:
    _jobs()
    _job_history()
    _around_jobs()
    _signals()


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("kwargs", _JSONB, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("ring_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
        sa.Column("not_before", _TIME, nullable=False, server_default=_NOW),
        sa.Column("expires_at", _TIME),
        sa.Column("rung_at", _TIME),
        sa.Column("started_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("worker", sa.Text),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("error", _JSONB),
        sa.Column("callback", _JSONB),
        sa.Column("caller", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    # Every row is updated two or three times and deleted: vacuum early, and leave room on the page.
    op.execute(
        "ALTER TABLE jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,"
        " autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0)"
    )
    op.create_index("ix_jobs_due", "jobs", ["queue", "priority", "not_before"], postgresql_where="state = 'scheduled'")
    # An idle relay asks each second whether anything is due, on whatever queue; only PostgreSQL 18 skips through
    # ix_jobs_due for that.
    op.create_index("ix_jobs_not_before", "jobs", ["not_before"], postgresql_where="state = 'scheduled'")
    op.create_index("ix_jobs_rung", "jobs", ["queue", "rung_at"], postgresql_where="state = 'rung'")
    op.create_index("ix_jobs_lease", "jobs", ["lease_until"], postgresql_where="state = 'running'")
    op.create_index(
        "ix_jobs_expires_at", "jobs", ["expires_at"], postgresql_where="expires_at IS NOT NULL AND state <> 'running'"
    )
    op.create_index(
        "uq_jobs_unclaimed_key",
        "jobs",
        ["task", "key"],
        unique=True,
        postgresql_where="state IN ('scheduled', 'rung') AND key IS NOT NULL",
    )


def _job_history() -> None:
    op.create_table(
        "job_history",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("kwargs", _JSONB, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("not_before", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME, nullable=False, server_default=_NOW),
        sa.Column("worker", sa.Text),
        sa.Column("error", _JSONB),
        sa.Column("result", _JSONB),
        sa.Column("callback", _JSONB),
        sa.Column("caller", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_job_history"),
        postgresql_partition_by="RANGE (id)",
    )
    op.execute("CREATE TABLE job_history_default PARTITION OF job_history DEFAULT")
    op.create_index("ix_job_history_dead", "job_history", ["id"], postgresql_where="state = 'dead'")
    op.create_index("ix_job_history_died", "job_history", ["finished_at"], postgresql_where="state = 'dead'")
    op.create_index("ix_job_history_task", "job_history", ["task", "id"])
    op.create_index("ix_job_history_caller", "job_history", ["caller", "id"])


def _around_jobs() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("body_hash", sa.Text, nullable=False),
        sa.Column("job_id", _UUID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
        sa.PrimaryKeyConstraint("caller", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_table(
        "queue_pauses",
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("paused_at", _TIME, nullable=False, server_default=_NOW),
        sa.Column("paused_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("queue", name="pk_queue_pauses"),
    )
    op.create_table(
        "schedule",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("next_due_at", _TIME),
        sa.Column("last_due_at", _TIME),
        sa.Column("last_run_at", _TIME),
        sa.Column("last_outcome", sa.Text),
        sa.Column("last_duration_ms", sa.BigInteger),
        sa.Column("last_error", sa.Text),
        sa.Column("timing", sa.Text),
        sa.Column("paused_at", _TIME),
        sa.Column("paused_by", sa.Text),
        sa.Column("pause_reason", sa.Text),
        sa.PrimaryKeyConstraint("name", name="pk_schedule"),
    )
    op.create_table(
        "notices",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("first_at", _TIME, nullable=False, server_default=_NOW),
        sa.Column("last_at", _TIME, nullable=False, server_default=_NOW),
        sa.Column("count", sa.BigInteger, nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("key", name="pk_notices"),
    )


def _signals() -> None:
    op.create_table(
        "signals",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("labels", _JSONB, nullable=False),
        sa.Column("facts", _JSONB, nullable=False),
        sa.Column("at", _TIME, nullable=False, server_default=_NOW),
        sa.PrimaryKeyConstraint("id", name="pk_signals"),
        postgresql_partition_by="RANGE (id)",
    )
    op.execute("CREATE TABLE signals_default PARTITION OF signals DEFAULT")
    op.create_index("ix_signals_subject", "signals", ["subject", "id"])
    op.create_index("ix_signals_kind", "signals", ["kind", "id"])
    op.create_table(
        "signal_subjects",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_signal_subjects"),
    )
    op.create_table(
        "signal_cursors",
        sa.Column("handler", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("handler", "subject", name="pk_signal_cursors"),
    )


def downgrade() -> None:
    for table in (
        "signal_cursors",
        "signal_subjects",
        "signals",
        "notices",
        "schedule",
        "queue_pauses",
        "idempotency_keys",
        "job_history",
        "jobs",
    ):
        op.drop_table(table)
