"""Roll-ups as rows of FOCUS, the FinOps Open Cost and Usage Specification (https://focus.finops.org), version 1.0.

What was counted is what is billed, effective and listed: discounts and commitments are the provider's own affair, and
a tenant's own prices are in all three. A call whose cost is not known is in `x_UnpricedCalls`, and costs nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.orm import Session

from app import clock
from app.costs.reading import Question
from app.costs.sums import FIGURES, dollars

_LASTS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
NAMES = (
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "BillingCurrency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ConsumedQuantity",
    "ConsumedUnit",
    "SkuId",
    "ServiceName",
    "ServiceCategory",
    "ProviderName",
    "SubAccountId",
    "Tags",
    "x_Model",
    "x_Skill",
    "x_Calls",
    "x_FailedCalls",
    "x_UnpricedCalls",
    "x_InputTokens",
    "x_CachedTokens",
    "x_CacheWriteTokens",
    "x_OutputTokens",
)


def page(session: Session, asked: Question, after: Sequence[Any], size: int) -> Sequence[Row[Any]]:
    """The roll-ups of the period that follow `after`: start, tenant, model, skill."""
    given = {name: getattr(asked, name) for name in ("tenant", "skill", "model") if getattr(asked, name) is not None}
    place = dict(zip(("start", "of_tenant", "of_name", "of_skill"), after, strict=True))
    values = {**given, **place, "since": max(asked.since, after[0]), "until": asked.until, "size": size}
    return session.execute(_statement(asked.step or "day", tuple(given)), values).all()


@lru_cache(maxsize=16)
def _statement(step: str, given: tuple[str, ...]) -> TextClause:
    columns = {"tenant": "tenant", "skill": "skill", "model": "name"}
    filters = "".join(f" AND {columns[name]} = :{name}" for name in given)
    return text(
        f"SELECT start_at, tenant, name, skill, {', '.join(FIGURES)} FROM cost_{step}s WHERE dimension = 'model'"
        " AND start_at >= :since AND start_at < :until"
        f" AND (start_at, tenant, name, skill) > (:start, :of_tenant, :of_name, :of_skill){filters}"
        " ORDER BY start_at, tenant, name, skill LIMIT :size"
    )


def shown(row: Row[Any], step: str) -> dict[str, Any]:
    """One row, in the order of `NAMES`. `ConsumedQuantity` is all tokens, sent and received."""
    provider, _, model = row.name.partition("/")
    cost = dollars(row.cost_micro_usd)
    return {
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "BillingCurrency": "USD",
        "ChargePeriodStart": clock.iso(row.start_at),
        "ChargePeriodEnd": clock.iso(row.start_at + _LASTS[step]),
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": f"{row.calls:,} calls of {model}",
        "ConsumedQuantity": row.input_tokens + row.output_tokens,
        "ConsumedUnit": "Tokens",
        "SkuId": row.name,
        "ServiceName": f"{provider} API",
        "ServiceCategory": "AI and Machine Learning",
        "ProviderName": provider,
        "SubAccountId": row.tenant or None,
        "Tags": {"skill": row.skill} if row.skill else {},
        "x_Model": model,
        "x_Skill": row.skill or None,
        "x_Calls": row.calls,
        "x_FailedCalls": row.failed,
        "x_UnpricedCalls": row.unpriced,
        "x_InputTokens": row.input_tokens,
        "x_CachedTokens": row.cached_tokens,
        "x_CacheWriteTokens": row.cache_write_tokens,
        "x_OutputTokens": row.output_tokens,
    }
