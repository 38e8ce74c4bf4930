"""Costs: LLM calls, their roll-ups, prices, what was set aside; budgets, forecasts, reports and providers' bills."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_JSON = postgresql.JSONB
_TIME = sa.DateTime(timezone=True)
_SUMS = (
    "calls",
    "unpriced",
    "failed",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_micro_usd",
    "latency_ms",
)


def upgrade() -> None:
    _calls()
    _rollups()
    _prices()
    _budgets()
    _watching()
    _bills()
    # For whom an operation waits, beside its tenant: whose budgets it reserves in.
    op.add_column("deferred_operations", sa.Column("who", _JSON))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, server_default="", nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, server_default="0", nullable=False)


def _calls() -> None:
    op.create_table(
        "cost_tracking",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        *(_text(name) for name in ("tenant", "skill", "agent", "user_id", "department", "interaction")),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        *(_count(name) for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")),
        sa.Column("cost_micro_usd", sa.BigInteger),
        sa.Column("priced", sa.Text, nullable=False),
        sa.Column("price_id", _UUID),
        sa.Column("latency_ms", sa.Integer),
        sa.Column("outcome", sa.Text, server_default="ok", nullable=False),
        _text("request_id"),
        _text("prompt_hash"),
        sa.Column("tags", _JSON),
        sa.PrimaryKeyConstraint("id", name="pk_cost_tracking"),
        postgresql_partition_by="RANGE (id)",
    )
    op.execute("CREATE TABLE cost_tracking_default PARTITION OF cost_tracking DEFAULT")
    op.create_table(
        "cost_set_aside",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _text("detail"),
        _text("event_id"),
        sa.Column("call", _JSON, nullable=False),
        _text("source"),
        sa.Column("replayed_at", _TIME),
        sa.Column("replayed_by", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_cost_set_aside"),
    )
    op.create_index("ix_cost_set_aside_at", "cost_set_aside", ["at"])
    waits = sa.text("replayed_at IS NULL")
    op.create_index("ix_cost_set_aside_open", "cost_set_aside", ["id"], postgresql_where=waits)


def _rollups() -> None:
    for level in ("hours", "days"):
        op.create_table(
            f"cost_{level}",
            sa.Column("dimension", sa.Text, nullable=False),
            sa.Column("start_at", _TIME, nullable=False),
            sa.Column("tenant", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("skill", sa.Text, nullable=False),
            *(_count(name) for name in _SUMS),
            sa.PrimaryKeyConstraint("dimension", "start_at", "tenant", "name", "skill", name=f"pk_cost_{level}"),
            postgresql_with={"fillfactor": 70},  # rows of the present hour are updated every second
        )
    op.create_table(
        "cost_touched_days",
        sa.Column("start_at", _TIME, nullable=False),
        sa.Column("looking", sa.Boolean, server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("start_at", "looking", name="pk_cost_touched_days"),
    )
    op.create_table(
        "cost_repairs",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("dimension", sa.Text, nullable=False),
        sa.Column("start_at", _TIME, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("tenant", "name", "skill")),
        sa.Column("before", _JSON, nullable=False),
        sa.Column("after", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cost_repairs"),
    )
    op.create_index("ix_cost_repairs_at", "cost_repairs", ["at"])


def _prices() -> None:
    rates = ("input", "cached", "cache_write", "output")
    op.create_table(
        "cost_prices",
        sa.Column("id", _UUID, nullable=False),
        _text("tenant"),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("matches", _JSON),
        sa.Column("effective_from", _TIME, nullable=False),
        sa.Column("effective_to", _TIME),
        *(sa.Column(f"{rate}_micro_usd", sa.BigInteger) for rate in rates),
        sa.Column("tiers", _JSON),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("set_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        _text("note"),
        sa.PrimaryKeyConstraint("id", name="pk_cost_prices"),
        sa.UniqueConstraint("tenant", "provider", "model", "effective_from", name="uq_cost_prices_version"),
    )
    op.create_table(
        "cost_models",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("first_seen_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("told_at", _TIME),
        sa.PrimaryKeyConstraint("provider", "model", name="pk_cost_models"),
    )


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("name", sa.Text, nullable=False),
        _text("subject"),
        sa.Column("definition", _JSON),
        sa.Column("amount_micro_usd", sa.BigInteger),
        sa.Column("until", _TIME),
        sa.Column("set_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        _text("reason"),
        sa.PrimaryKeyConstraint("name", "subject", name="pk_budgets"),
    )
    op.create_table(
        "budget_changes",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        _text("subject"),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        _text("reason"),
        sa.Column("before", _JSON),
        sa.Column("after", _JSON),
        sa.PrimaryKeyConstraint("id", name="pk_budget_changes"),
    )
    op.create_index("ix_budget_changes_name", "budget_changes", ["name", "id"])
    op.create_table(
        "budget_crossings",
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("start_at", _TIME, nullable=False),
        sa.Column("per_mille", sa.Integer, nullable=False),
        sa.Column("amount_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("end_at", _TIME),
        sa.Column("spent_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("actions", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("waits_until", _TIME),
        sa.Column("ended_at", _TIME),
        sa.PrimaryKeyConstraint(
            "budget", "subject", "start_at", "per_mille", "amount_micro_usd", name="pk_budget_crossings"
        ),
    )
    is_open = sa.text("ended_at IS NULL")
    op.create_index("ix_budget_crossings_open", "budget_crossings", ["end_at"], postgresql_where=is_open)


def _watching() -> None:
    op.create_table(
        "cost_watch",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_cost_watch"),
    )
    op.create_table(
        "cost_anomalies",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("hour", _TIME, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("tenant", "model", "skill")),
        sa.Column("expected_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("actual_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cost_anomalies"),
        sa.UniqueConstraint("hour", "tenant", "model", "skill", name="uq_cost_anomalies_place"),
    )
    op.create_table(
        "cost_reports",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("made_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("document", postgresql.JSON, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", name="pk_cost_reports"),
    )


def _bills() -> None:
    op.create_table(
        "cost_bills",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("captured_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("billed_micro_usd", sa.BigInteger),
        sa.Column("captured_tokens", _JSON),
        sa.Column("billed_tokens", _JSON),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        _text("why"),
        sa.Column("moved_at", _TIME),
        sa.Column("checked_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("provider", "day", name="pk_cost_bills"),
    )
    op.create_table(
        "cost_balances",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("balance_micro_usd", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("provider", "at", name="pk_cost_balances"),
    )


def downgrade() -> None:
    op.drop_column("deferred_operations", "who")
    for table in (
        "cost_balances",
        "cost_bills",
        "cost_reports",
        "cost_anomalies",
        "cost_watch",
        "budget_crossings",
        "budget_changes",
        "budgets",
        "cost_models",
        "cost_prices",
        "cost_repairs",
        "cost_touched_days",
        "cost_days",
        "cost_hours",
        "cost_set_aside",
        "cost_tracking",
    ):
        op.drop_table(table)
