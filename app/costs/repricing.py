"""Calls whose model had no price when they came: priced by the table of now, with the roll-ups they are part of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from app import clock
from app.costs import price_import, price_table, turns, unknown_models
from app.costs.price_table import PriceTable
from app.costs.pricing import Tokens
from app.infra import ids
from app.infra.db import UnitOfWork, read_only, unit_of_work

BATCH = 2000
"""Calls a transaction."""

PAST = timedelta(days=31)
"""How far back calls are priced by themselves: older ones are not accepted, either."""

_HOURS = """
    SELECT DISTINCT start_at FROM cost_hours
     WHERE dimension = 'model' AND name = :name AND unpriced > 0 AND start_at > :since - interval '1 hour'
     ORDER BY start_at"""

_TAKE = f"""
    SELECT id, at, tenant, input_tokens, cached_tokens, cache_write_tokens, output_tokens FROM cost_tracking
     WHERE id > :after AND id < :before AND provider = :provider AND model = :model
       AND cost_micro_usd IS NULL AND priced IN ('unknown', 'later')
     ORDER BY id LIMIT {BATCH} FOR UPDATE"""

# The bounds keep it to the partitions of these calls: all others would be locked, too.
_CORRECT = """
    UPDATE cost_tracking AS call SET cost_micro_usd = given.cost, priced = 'table', price_id = given.price_id
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id uuid, cost bigint, price_id uuid)
     WHERE call.id = given.id AND call.id >= :low AND call.id <= :high AND call.cost_micro_usd IS NULL"""

# The rows are there since the calls were recorded; in the order of their keys, as everybody writes roll-ups.
_ROLL_UP = """
    INSERT INTO {table} AS kept (dimension, start_at, tenant, name, skill, unpriced, cost_micro_usd)
    SELECT d.dimension, date_trunc('{step}', call.at, 'UTC'), call.tenant, d.name, d.skill,
           -count(*), sum(call.cost_micro_usd)
      FROM cost_tracking AS call
           CROSS JOIN LATERAL (VALUES ('model', call.provider || '/' || call.model, call.skill),
                                      ('agent', call.agent, ''), ('user', call.user_id, ''),
                                      ('department', call.department, '')) AS d(dimension, name, skill)
     WHERE call.id = ANY(CAST(:ids AS uuid[]))
     GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (dimension, start_at, tenant, name, skill) DO UPDATE
       SET unpriced = kept.unpriced + excluded.unpriced,
           cost_micro_usd = kept.cost_micro_usd + excluded.cost_micro_usd"""

_TOUCH = """
    INSERT INTO cost_touched_days (start_at)
    SELECT DISTINCT date_trunc('day', at, 'UTC') FROM cost_tracking WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY 1
        ON CONFLICT DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Repriced:
    """How many calls have a cost now, and what they cost together."""

    calls: int
    micro: int


def reprice(provider: str, model: str, since: datetime) -> Repriced:
    """Price a model's calls of unknown cost from then on, in transactions of at most 2,000. Twice is once."""
    with read_only() as session:
        table = price_table.read(session)
        hours = session.execute(text(_HOURS), {"name": f"{provider}/{model}", "since": since}).scalars().all()
    done = [part for hour in hours for part in _hour(table, provider, model, max(hour, since), hour)]
    return Repriced(sum(part.calls for part in done), sum(part.micro for part in done))


def _hour(table: PriceTable, provider: str, model: str, begins: datetime, hour: datetime) -> Iterator[Repriced]:
    key = {"provider": provider, "model": model, "before": ids.floor(hour + timedelta(hours=1))}
    after = ids.floor(begins)
    while True:
        with unit_of_work() as uow:
            turns.beside(uow)
            rows = uow.execute(_TAKE, **key, after=after).all()
            if not rows:
                return
            yield _correct(uow, [found for row in rows if (found := _priced(table, provider, model, row))])
        after = rows[-1].id


def _priced(table: PriceTable, provider: str, model: str, row: Any) -> dict[str, Any] | None:
    tokens = Tokens(row.input_tokens, row.cached_tokens, row.cache_write_tokens, row.output_tokens)
    found = table.cost(row.tenant, provider, model, row.at, tokens)
    return None if found.micro is None else {"id": str(row.id), "cost": found.micro, "price_id": str(found.price_id)}


def _correct(uow: UnitOfWork, priced: list[dict[str, Any]]) -> Repriced:
    if priced:
        given = [row["id"] for row in priced]
        uow.execute(_CORRECT, rows=json.dumps(priced), low=given[0], high=given[-1])
        for table, step in (("cost_hours", "hour"), ("cost_days", "day")):
            uow.execute(_ROLL_UP.format(table=table, step=step), ids=given)
        uow.execute(_TOUCH, ids=given)
    return Repriced(len(priced), sum(row["cost"] for row in priced))


def keep() -> None:
    """Fill a price table that is empty, and price the calls of models that have got a price since they came."""
    with unit_of_work() as uow:
        price_import.first(uow)
    now = clock.now()
    with read_only() as session:
        table = price_table.read(session)
        unknown = session.execute(text("SELECT provider, model FROM cost_models")).all()
    priced = [
        (row.provider, row.model) for row in unknown if unknown_models.has_price(table, row.provider, row.model, now)
    ]
    _reprice_all(priced, now)
    if priced:
        # Whoever writes such a call after this notes its model anew; those written meanwhile are priced here.
        with turns.alone() as uow:
            forgotten = unknown_models.forget_priced(uow, table, now)
        _reprice_all(forgotten, now)
    with unit_of_work() as uow:
        unknown_models.tell(uow)


def _reprice_all(models: Iterable[tuple[str, str]], now: datetime) -> None:
    for provider, model in models:
        reprice(provider, model, now - PAST)
