"""Prices as people ask for them: those in force, one model's, and its versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.costs import price_table
from app.costs.price_store import Price
from app.errors import NotFound


def listed(
    session: Session, at: datetime, *, provider: str | None = None, search: str = "", tenant: str | None = None
) -> list[Price]:
    """Prices in force at a moment, by provider and model. `tenant`: its own ones only."""
    table = price_table.read(session)
    of = None if provider is None else table.provider_of(provider)
    words = search.lower().split()
    return [
        price
        for price in table.versions
        if price.counts_at(at)
        and of in (None, price.provider)
        and tenant in (None, price.tenant)
        and all(word in price.name.lower() for word in words)
    ]


def one(session: Session, provider: str, model: str, at: datetime, *, tenant: str = "") -> dict[str, Any]:
    """What a call of this model at this moment is charged by, and the other versions. Raises NotFound."""
    table = price_table.read(session)
    versions = table.versions_of(tenant, provider, model)
    if not versions:
        raise NotFound(f"no price is known for {provider}/{model}")
    price = table.price_at(tenant, provider, model, at)
    return {
        "asked": f"{provider}/{model}",
        "price": None if price is None else price.document(),
        "versions": [version.document() for version in versions],
    }
