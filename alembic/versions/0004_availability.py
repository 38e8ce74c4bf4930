"""Availability: what health was in each hour and day, and which error budgets burn."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _sums("service_hours", sa.Column("hour", _TIME, nullable=False), sa.Column("down_spans", postgresql.TSTZMULTIRANGE))
    op.create_index("ix_service_hours_down", "service_hours", ["hour"], postgresql_where="down_spans IS NOT NULL")
    # The present hour's rows are rewritten each minute: leave room on their pages.
    op.execute("ALTER TABLE service_hours SET (fillfactor = 70)")
    _sums("service_days", sa.Column("day", sa.Date, nullable=False))
    _rollup()
    op.create_table(
        "slo_burns",
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("speed", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("service", "speed", name="pk_slo_burns"),
    )
    op.create_index("ix_incidents_recovered_at", "incidents", ["recovered_at"])


def _sums(table: str, period: sa.Column[Any], *more: sa.Column[Any]) -> None:
    counts = ("known_ms", "down_ms", "degraded_ms", "excluded_ms", "probes", "failed", "latency_count")
    op.create_table(
        table,
        period,
        sa.Column("service", sa.Text, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in counts),
        sa.Column("latency_sum_ms", postgresql.DOUBLE_PRECISION, nullable=False),
        sa.Column("latency_min_ms", postgresql.REAL),
        sa.Column("latency_max_ms", postgresql.REAL),
        sa.Column("latency_buckets", postgresql.ARRAY(sa.Integer)),
        *more,
        sa.PrimaryKeyConstraint(period.name, "service", name=f"pk_{table}"),
    )
    op.create_index(f"ix_{table}_service", table, ["service", period.name])


def _rollup() -> None:
    op.create_table(
        "rollup_clock",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("rolled_at", _TIME),
        sa.Column("days_until", sa.Date),
        sa.PrimaryKeyConstraint("id", name="pk_rollup_clock"),
    )
    op.execute("INSERT INTO rollup_clock (id) VALUES (1)")
    op.create_table(
        "rollup_backlog",
        sa.Column("id", sa.BigInteger, autoincrement=True, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollup_backlog"),
    )


def downgrade() -> None:
    op.drop_index("ix_incidents_recovered_at", "incidents")
    for table in ("slo_burns", "rollup_backlog", "rollup_clock", "service_days", "service_hours"):
        op.drop_table(table)
