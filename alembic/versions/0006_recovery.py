"""Recovery: runs of playbooks, their steps, what they used of their budgets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_JSONB = postgresql.JSONB()
_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")


def upgrade() -> None:
    _runs()
    _steps()
    op.create_table(
        "recovery_restarts",
        sa.Column("run_id", _UUID, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "place", name="pk_recovery_restarts"),
    )
    op.create_index("ix_recovery_restarts_at", "recovery_restarts", ["at"], unique=False)
    op.create_table(
        "recovery_stop",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("stopped_at", _TIME),
        sa.Column("stopped_by", sa.Text),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("changed_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_stop"),
    )


def _runs() -> None:
    op.create_table(
        "recovery_runs",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("playbook", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("essential", sa.Boolean, nullable=False),
        sa.Column("runner", sa.Text, nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("incident_id", _UUID),
        sa.Column("since", _TIME),
        sa.Column("values", _JSONB, nullable=False),
        sa.Column("advice", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("healthy", sa.Boolean),
        sa.Column("waits", sa.Text),
        sa.Column("waits_since", _TIME),
        sa.Column("due_at", _TIME),
        sa.Column("abort_by", sa.Text),
        sa.Column("ended_at", _TIME),
        sa.Column("over_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_runs"),
    )
    open_only, standing = sa.text("ended_at IS NULL"), sa.text("over_at IS NULL")
    op.create_index(
        "uq_recovery_runs_open", "recovery_runs", ["playbook", "service"], unique=True, postgresql_where=open_only
    )
    op.create_index(
        "ix_recovery_runs_standing", "recovery_runs", ["service", "playbook"], unique=False, postgresql_where=standing
    )
    op.create_index("ix_recovery_runs_service", "recovery_runs", ["service", "created_at"], unique=False)
    op.create_index(
        "ix_recovery_runs_incident",
        "recovery_runs",
        ["incident_id"],
        unique=False,
        postgresql_where=sa.text("incident_id IS NOT NULL"),
    )
    op.create_index("ix_recovery_runs_ended_at", "recovery_runs", ["ended_at"], unique=False)


def _steps() -> None:
    op.create_table(
        "recovery_steps",
        sa.Column("run_id", _UUID, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("says", sa.Text, nullable=False),
        sa.Column("options", _JSONB, nullable=False),
        sa.Column("after_seconds", postgresql.DOUBLE_PRECISION, nullable=False),
        sa.Column("escalates", sa.Boolean, nullable=False),
        sa.Column("last", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("detail", _JSONB, nullable=False),
        sa.Column("not_before", _TIME),
        sa.Column("began_at", _TIME),
        sa.Column("ended_at", _TIME),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("job_id", _UUID),
        sa.ForeignKeyConstraint(
            ["run_id"], ["recovery_runs.id"], name="fk_recovery_steps_run_id_recovery_runs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "place", name="pk_recovery_steps"),
    )
