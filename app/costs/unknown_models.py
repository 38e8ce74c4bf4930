"""Models without a price: each is told once, and forgotten when it gets one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from app import signals
from app.costs.price_table import PriceTable
from app.infra.db import UnitOfWork

UNKNOWN, KNOWN = "costs.model_unknown", "costs.model_priced"

MOST_TOLD = 50
"""At a time; the others are told by the next ones who look."""

_NOTE = """
    INSERT INTO cost_models (provider, model)
    SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:models AS text[])) AS given(provider, model)
     ORDER BY 1, 2 ON CONFLICT DO NOTHING"""

_TAKE = f"""
    UPDATE cost_models SET told_at = now()
     WHERE (provider, model) IN (
           SELECT provider, model FROM cost_models WHERE told_at IS NULL AND EXISTS (SELECT FROM cost_prices)
            ORDER BY first_seen_at, provider, model LIMIT {MOST_TOLD} FOR UPDATE SKIP LOCKED)
    RETURNING provider, model, first_seen_at"""


def note(uow: UnitOfWork, pairs: Iterable[tuple[str, str]]) -> int:
    """Calls of these providers' models have no price; how many of the models were told just now."""
    found = sorted(set(pairs))
    if found:
        uow.execute(_NOTE, providers=[provider for provider, _ in found], models=[model for _, model in found])
    return tell(uow) if found else 0


def tell(uow: UnitOfWork) -> int:
    """Tell people of models that nobody was told of yet; how many. While there are no prices at all, of none."""
    rows = sorted(uow.execute(_TAKE))
    for row in rows:
        labels = {"provider": row.provider, "model": row.model}
        signals.record(uow, UNKNOWN, f"{row.provider}/{row.model}", labels=labels)
    return len(rows)


def forget_priced(uow: UnitOfWork, table: PriceTable, now: datetime, *, tenant: str = "") -> list[tuple[str, str]]:
    """Forget those that this tenant, or everybody, has a price for now; which they were."""
    rows = uow.execute("SELECT provider, model, told_at FROM cost_models ORDER BY provider, model FOR UPDATE").all()
    priced = [row for row in rows if has_price(table, row.provider, row.model, now, tenant=tenant)]
    for row in priced:
        key = {"provider": row.provider, "model": row.model}
        uow.execute("DELETE FROM cost_models WHERE provider = :provider AND model = :model", **key)
        if row.told_at is not None:
            signals.record(uow, KNOWN, f"{row.provider}/{row.model}", labels=key)
    return [(row.provider, row.model) for row in priced]


def has_price(table: PriceTable, provider: str, model: str, now: datetime, *, tenant: str = "") -> bool:
    """Can a call of it be priced now, whatever it takes?"""
    price = table.price_at(tenant, provider, model, now)
    return price is not None and None not in (price.rates.input, price.rates.output)
