"""The SQL of prices. Nothing here commits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import clock
from app.costs.pricing import MILLION, Rates, Tier
from app.infra.db import UnitOfWork

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""From when on a price counts whose beginning nobody knows."""

BY_HAND = "set by hand"
PACKAGE = "genai-prices"
"""Where prices come from: people, or this package."""

_KINDS = ("input", "cached", "cache_write", "output")


@dataclass(frozen=True, slots=True)
class Price:
    """One version of a model's price: it counts from `effective_from` until just before `effective_to`.

    `matches`: which names mean the model ("model") and its provider ("provider"), and whose models its provider offers
    as well ("fallbacks").
    """

    id: UUID
    tenant: str
    provider: str
    model: str
    matches: Mapping[str, Any] = field(hash=False)
    effective_from: datetime
    effective_to: datetime | None
    rates: Rates
    tiers: tuple[Tier, ...]
    source: str
    set_at: datetime
    set_by: str
    note: str = ""

    @property
    def name(self) -> str:
        """PROVIDER/MODEL."""
        return f"{self.provider}/{self.model}"

    @property
    def by_hand(self) -> bool:
        """Did people set it?"""
        return self.source == BY_HAND

    def counts_at(self, at: datetime) -> bool:
        """Is it in force at a moment?"""
        return self.effective_from <= at and (self.effective_to is None or at < self.effective_to)

    def document(self) -> dict[str, Any]:
        """JSON-ready; rates in dollars for a million tokens."""
        return {
            "id": str(self.id),
            "tenant": self.tenant,
            "provider": self.provider,
            "model": self.model,
            "effective_from": None if self.effective_from == ALWAYS else clock.iso(self.effective_from),
            "effective_to": None if self.effective_to is None else clock.iso(self.effective_to),
            **dollars(self.rates),
            "tiers": [{"from_tokens": tier.begins, **dollars(tier.rates)} for tier in self.tiers],
            "source": self.source,
            "set_at": clock.iso(self.set_at),
            "set_by": self.set_by,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Offered:
    """One version of a model's price as the package offers it."""

    provider: str
    model: str
    effective_from: datetime
    effective_to: datetime | None
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    matches: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def dollars(rates: Rates) -> dict[str, float | None]:
    """The rates as people write them."""
    given = {kind: getattr(rates, kind) for kind in _KINDS}
    return {kind: None if rate is None else rate / MILLION for kind, rate in given.items()}


_COLUMNS = (
    "id, tenant, provider, model, matches, effective_from, effective_to, input_micro_usd, cached_micro_usd,"
    " cache_write_micro_usd, output_micro_usd, tiers, source, set_at, set_by, note"
)

_INSERT = f"""
    INSERT INTO cost_prices ({_COLUMNS})
    SELECT {_COLUMNS} FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(
        id uuid, tenant text, provider text, model text, matches jsonb, effective_from timestamptz,
        effective_to timestamptz, input_micro_usd bigint, cached_micro_usd bigint, cache_write_micro_usd bigint,
        output_micro_usd bigint, tiers jsonb, source text, set_at timestamptz, set_by text, note text)"""

_MARK = """
    SELECT count(*), max(set_at), count(effective_to), coalesce(sum(extract(epoch FROM effective_to)), 0)
      FROM cost_prices"""

_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('cost prices', 0))"


def take_turns(uow: UnitOfWork) -> None:
    """Nobody else changes prices until this transaction ends."""
    uow.execute(_TAKE_TURNS)


def is_empty(session: Session) -> bool:
    """Has the table no price at all?"""
    return session.execute(text("SELECT 1 FROM cost_prices LIMIT 1")).first() is None


def mark(session: Session) -> tuple[Any, ...]:
    """Something that differs whenever the table does."""
    return tuple(session.execute(text(_MARK)).one())


def read(session: Session, *, tenant: str | None = None) -> list[Price]:
    """All versions, or those of a tenant, each model's oldest first."""
    where = "" if tenant is None else " WHERE tenant = :tenant"
    query = f'SELECT {_COLUMNS} FROM cost_prices{where} ORDER BY tenant, provider COLLATE "C", model COLLATE "C",'
    rows = session.execute(text(f"{query} effective_from"), {} if tenant is None else {"tenant": tenant})
    return [_price(row) for row in rows]


def insert(uow: UnitOfWork, prices: Iterable[Price]) -> None:
    """New versions."""
    rows = [_row(price) for price in prices]
    if rows:
        uow.execute(_INSERT, rows=json.dumps(rows))


def close(uow: UnitOfWork, ids: Sequence[UUID], at: datetime) -> None:
    """These versions count until `at`; one that would have begun later never was in force, and goes."""
    wanted = {"ids": list(ids), "at": at}
    uow.execute("DELETE FROM cost_prices WHERE id = ANY(:ids) AND effective_from >= :at", **wanted)
    uow.execute("UPDATE cost_prices SET effective_to = :at WHERE id = ANY(:ids)", **wanted)


def rename(uow: UnitOfWork, price_id: UUID, matches: Mapping[str, Any]) -> None:
    """Other names mean the same model from now on; no price changes by it."""
    uow.execute(
        "UPDATE cost_prices SET matches = CAST(:matches AS jsonb), set_at = now() WHERE id = :id",
        id=price_id,
        matches=json.dumps(dict(matches)) if matches else None,
    )


def _row(price: Price) -> dict[str, Any]:
    return {
        "id": str(price.id),
        "tenant": price.tenant,
        "provider": price.provider,
        "model": price.model,
        "matches": dict(price.matches) or None,
        "effective_from": price.effective_from.isoformat(),
        "effective_to": None if price.effective_to is None else price.effective_to.isoformat(),
        **{f"{kind}_micro_usd": getattr(price.rates, kind) for kind in _KINDS},
        "tiers": [{"from": tier.begins, **_kinds(tier.rates)} for tier in price.tiers] or None,
        "source": price.source,
        "set_at": price.set_at.isoformat(),
        "set_by": price.set_by,
        "note": price.note,
    }


def _kinds(rates: Rates) -> dict[str, int | None]:
    return {kind: getattr(rates, kind) for kind in _KINDS}


def _price(row: Row[Any]) -> Price:
    tiers = tuple(Tier(tier["from"], Rates(**{kind: tier[kind] for kind in _KINDS})) for tier in row.tiers or ())
    return Price(
        id=row.id,
        tenant=row.tenant,
        provider=row.provider,
        model=row.model,
        matches=row.matches or {},
        effective_from=row.effective_from,
        effective_to=row.effective_to,
        rates=Rates(row.input_micro_usd, row.cached_micro_usd, row.cache_write_micro_usd, row.output_micro_usd),
        tiers=tiers,
        source=row.source,
        set_at=row.set_at,
        set_by=row.set_by,
        note=row.note,
    )
