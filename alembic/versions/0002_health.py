"""Services and their states, the health log, incidents."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_JSONB = postgresql.JSONB()
_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_FALSE = sa.text("false")
_SECONDS: sa.types.TypeEngine[float] = postgresql.DOUBLE_PRECISION()


def upgrade() -> None:
    _services()
    _health_log()
    _incidents()


def _services() -> None:
    op.create_table(
        "services",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("spec_digest", sa.Text, nullable=False),
        sa.Column("present", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("watched_by", sa.Text, nullable=False),
        sa.Column("essential", sa.Boolean, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("depends_on", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("interval_seconds", _SECONDS, nullable=False),
        sa.Column("confirm_interval_seconds", _SECONDS, nullable=False),
        sa.Column("timeout_seconds", _SECONDS, nullable=False),
        sa.Column("failures_to_down", sa.Integer, nullable=False),
        sa.Column("successes_to_up", sa.Integer, nullable=False),
        sa.Column("registered_at", _TIME, nullable=False, server_default=_NOW),
        sa.Column("next_check_at", _TIME, nullable=False, server_default=_NOW),
        sa.Column("state", sa.Text, nullable=False, server_default="unknown"),
        sa.Column("since", _TIME),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("successes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("first_failure_at", _TIME),
        sa.Column("first_success_at", _TIME),
        sa.Column("last_started_at", _TIME),
        sa.Column("last_finished_at", _TIME),
        sa.Column("last_result", _JSONB),
        sa.Column("latency_ms", postgresql.REAL()),
        sa.Column("warning", sa.Boolean, nullable=False, server_default=_FALSE),
        sa.Column("history", sa.Text, nullable=False, server_default=""),
        sa.Column("flapping", sa.Boolean, nullable=False, server_default=_FALSE),
        sa.Column("announced", sa.Text, nullable=False, server_default="unknown"),
        sa.Column("open_incident_id", _UUID),
        sa.Column("last_heartbeat_at", _TIME),
        sa.PrimaryKeyConstraint("name", name="pk_services"),
    )
    # Every row is rewritten at every result: leave room on the page, and vacuum early.
    op.execute(
        "ALTER TABLE services SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05,"
        " autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0)"
    )
    op.create_index(
        "ix_services_due", "services", ["next_check_at"], postgresql_where="present AND watched_by = 'engine'"
    )
    op.create_index("ix_services_depends_on", "services", ["depends_on"], postgresql_using="gin")


def _health_log() -> None:
    op.create_table(
        "system_health_log",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ok", sa.Boolean, nullable=False),
        sa.Column("latency_ms", postgresql.REAL()),
        sa.Column("readings", _JSONB, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("in_maintenance", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_system_health_log"),
        postgresql_partition_by="RANGE (id)",
    )
    op.execute("CREATE TABLE system_health_log_default PARTITION OF system_health_log DEFAULT")
    op.create_index("ix_system_health_log_service", "system_health_log", ["service", "id"])


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("detected_at", _TIME, nullable=False),
        sa.Column("recovered_at", _TIME),
        sa.Column("outcome", sa.Text),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("in_maintenance", sa.Boolean, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("uq_incidents_open", "incidents", ["service"], unique=True, postgresql_where="recovered_at IS NULL")
    op.create_index("ix_incidents_service", "incidents", ["service", "started_at"])
    op.create_index("ix_incidents_started_at", "incidents", ["started_at"])


def downgrade() -> None:
    for table in ("incidents", "system_health_log", "services"):
        op.drop_table(table)
