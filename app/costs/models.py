"""Tables of costs: calls, roll-ups and prices; budgets and what became of them; forecasts, reports and bills.

Money is integer millionths of a dollar. A name nobody gave is the empty text.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Date, Float, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base


class CallRow(Base):
    """One LLM call, in the day's partition of its id; `at` is the id's time.

    `input_tokens` are all that were sent, those read from a cache or written to one included. `priced` says where the
    cost comes from: "given" by the producer, "table" (`price_id`), "unknown" (no price), "no_usage" (no tokens known).
    """

    __tablename__ = "cost_tracking"
    __table_args__ = ({"postgresql_partition_by": "RANGE (id)"},)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    at: Mapped[datetime]
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    skill: Mapped[str] = mapped_column(Text, server_default="")
    agent: Mapped[str] = mapped_column(Text, server_default="")
    user_id: Mapped[str] = mapped_column(Text, server_default="")
    department: Mapped[str] = mapped_column(Text, server_default="")
    interaction: Mapped[str] = mapped_column(Text, server_default="")
    provider: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    input_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cached_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cache_write_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    output_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    priced: Mapped[str] = mapped_column(Text)
    price_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    latency_ms: Mapped[int | None] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(Text, server_default="ok")
    request_id: Mapped[str] = mapped_column(Text, server_default="")
    prompt_hash: Mapped[str] = mapped_column(Text, server_default="")
    tags: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class SetAsideRow(Base):
    """A call that could not be kept where it belongs, whole, until somebody replays or drops it.

    `replayed_at` and `replayed_by` are also those of a drop; `outcome`: "replayed", or "dropped: REASON".
    """

    __tablename__ = "cost_set_aside"
    __table_args__ = (
        Index("ix_cost_set_aside_at", "at"),
        Index("ix_cost_set_aside_open", "id", postgresql_where=text("replayed_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    reason: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text, server_default="")
    event_id: Mapped[str] = mapped_column(Text, server_default="")
    call: Mapped[Any] = mapped_column(JSONB)
    source: Mapped[str] = mapped_column(Text, server_default="")
    replayed_at: Mapped[datetime | None]
    replayed_by: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str | None] = mapped_column(Text)


class _Sums:
    """What a roll-up adds up. `latency_ms` is the sum over calls that told one."""

    calls: Mapped[int] = mapped_column(BigInteger, server_default="0")
    unpriced: Mapped[int] = mapped_column(BigInteger, server_default="0")
    failed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    input_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cached_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cache_write_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    output_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost_micro_usd: Mapped[int] = mapped_column(BigInteger, server_default="0")
    latency_ms: Mapped[int] = mapped_column(BigInteger, server_default="0")


class CostHourRow(_Sums, Base):
    """One hour (UTC) of one dimension: "model" (`name` PROVIDER/MODEL, with the skill), "agent", "user", "department".

    Every call is in one row of each dimension, also where the name is empty: each dimension's rows add up to all.
    """

    __tablename__ = "cost_hours"

    dimension: Mapped[str] = mapped_column(Text, primary_key=True)
    start_at: Mapped[datetime] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    skill: Mapped[str] = mapped_column(Text, primary_key=True)


class CostDayRow(_Sums, Base):
    """One day (UTC) of one dimension, as `CostHourRow`: the sum of its hours."""

    __tablename__ = "cost_days"

    dimension: Mapped[str] = mapped_column(Text, primary_key=True)
    start_at: Mapped[datetime] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    skill: Mapped[str] = mapped_column(Text, primary_key=True)


class TouchedDayRow(Base):
    """A day (UTC) that calls came for since its roll-ups were last compared with its calls.

    `looking`: the mark of a comparison that was begun; calls that come meanwhile leave another one.
    """

    __tablename__ = "cost_touched_days"

    start_at: Mapped[datetime] = mapped_column(primary_key=True)
    looking: Mapped[bool] = mapped_column(primary_key=True, server_default=text("false"))


class RepairRow(Base):
    """A roll-up that the nightly recomputation found to differ, before and after its repair."""

    __tablename__ = "cost_repairs"
    __table_args__ = (Index("ix_cost_repairs_at", "at"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    level: Mapped[str] = mapped_column(Text)
    dimension: Mapped[str] = mapped_column(Text)
    start_at: Mapped[datetime]
    tenant: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    skill: Mapped[str] = mapped_column(Text)
    before: Mapped[dict[str, Any]] = mapped_column(JSONB)
    after: Mapped[dict[str, Any]] = mapped_column(JSONB)


class PriceRow(Base):
    """One version of a model's price: millionths of a dollar for a million tokens, from `effective_from` on.

    `tenant` "" is everybody's; a tenant's own goes first. `matches` says which names mean the model beside its own;
    `tiers` are rates from so many input tokens on. A rate of None: such tokens cost what plain input costs.
    """

    __tablename__ = "cost_prices"
    __table_args__ = (UniqueConstraint("tenant", "provider", "model", "effective_from", name="uq_cost_prices_version"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    provider: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    matches: Mapped[Any | None] = mapped_column(JSONB)
    effective_from: Mapped[datetime]
    effective_to: Mapped[datetime | None]
    input_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    cached_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    cache_write_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    output_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    tiers: Mapped[Any | None] = mapped_column(JSONB)
    source: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    set_by: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text, server_default="")


class ModelRow(Base):
    """A model without a price that was used; `told_at`: when people were told, once."""

    __tablename__ = "cost_models"

    provider: Mapped[str] = mapped_column(Text, primary_key=True)
    model: Mapped[str] = mapped_column(Text, primary_key=True)
    first_seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    told_at: Mapped[datetime | None]


class BudgetRow(Base):
    """What people changed: a budget's amount for all (`subject` "") or for one, or a budget the file has not.

    `until`: from then on the catalogue's own amount counts again. `definition`: the keys of [budgets.NAME].
    """

    __tablename__ = "budgets"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True, server_default="")
    definition: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    amount_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    until: Mapped[datetime | None]
    set_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    set_by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default="")


class BudgetChangeRow(Base):
    """The audit of budgets: who changed what, from what to what, and why."""

    __tablename__ = "budget_changes"
    __table_args__ = (Index("ix_budget_changes_name", "name", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    name: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text, server_default="")
    what: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default="")
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class CrossingRow(Base):
    """A threshold of a budget that was reached in a period, at an amount: once, so that it is acted on once.

    `waits_until`: the end of the time of grace; empty where there is none, or it is over.
    """

    __tablename__ = "budget_crossings"
    __table_args__ = (Index("ix_budget_crossings_open", "end_at", postgresql_where=text("ended_at IS NULL")),)

    budget: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    start_at: Mapped[datetime] = mapped_column(primary_key=True)
    per_mille: Mapped[int] = mapped_column(Integer, primary_key=True)
    amount_micro_usd: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    end_at: Mapped[datetime | None]
    spent_micro_usd: Mapped[int] = mapped_column(BigInteger)
    actions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    at: Mapped[datetime]
    waits_until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class WatchRow(Base):
    """Something about a subject that is so at present, such as "burn_rate": told when it began and when it is over."""

    __tablename__ = "cost_watch"

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)


class AnomalyRow(Base):
    """An hour in which a tenant's skill spent far more on a model than that hour of the week usually costs."""

    __tablename__ = "cost_anomalies"
    __table_args__ = (UniqueConstraint("hour", "tenant", "model", "skill", name="uq_cost_anomalies_place"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    hour: Mapped[datetime]
    tenant: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    skill: Mapped[str] = mapped_column(Text)
    expected_micro_usd: Mapped[int] = mapped_column(BigInteger)
    actual_micro_usd: Mapped[int] = mapped_column(BigInteger)
    score: Mapped[float] = mapped_column(Float)
    cause: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)


class ReportRow(Base):
    """The end-of-day summary of a tenant's day, as it was made; "" is the whole house. Its keys keep their order."""

    __tablename__ = "cost_reports"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    made_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    document: Mapped[dict[str, Any]] = mapped_column(JSON)


class BillRow(Base):
    """A day (UTC) as we counted it and as the provider bills it. `state`: settling, agrees, differs, unknown.

    `moved_at`: when the provider last told another amount than the time before.
    """

    __tablename__ = "cost_bills"

    provider: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    captured_micro_usd: Mapped[int] = mapped_column(BigInteger)
    billed_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    captured_tokens: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    billed_tokens: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    source: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, server_default="")
    moved_at: Mapped[datetime | None]
    checked_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class BalanceRow(Base):
    """What was left of an account that is paid in advance."""

    __tablename__ = "cost_balances"

    provider: Mapped[str] = mapped_column(Text, primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    balance_micro_usd: Mapped[int] = mapped_column(BigInteger)
