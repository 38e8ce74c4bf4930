"""One transaction of the drain: calls, their roll-ups, models without a price, and calls that are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.costs import asides, copying, price_table, unknown_models
from app.costs.asides import SetAside
from app.costs.pricing import Tokens
from app.infra.db import UnitOfWork

_LATER, _UNKNOWN = b"\tlater\t", b"\tunknown\t"
"""As they stand in a row. Another column may read so, too: then a query finds nothing."""

_UNPRICED = f"""
    SELECT id, tenant, provider, model, at,
           input_tokens, cached_tokens, cache_write_tokens, output_tokens
      FROM {copying.STAGED} WHERE priced = 'later'"""
_PRICE = f"""
    UPDATE {copying.STAGED} AS call SET priced = found.priced, price_id = found.price_id, cost_micro_usd = found.micro
      FROM unnest(CAST(:ids AS uuid[]), CAST(:micros AS bigint[]), CAST(:priced AS text[]), CAST(:prices AS uuid[]))
           AS found(id, micro, priced, price_id)
     WHERE call.id = found.id AND call.priced = 'later'"""
_NAMES = f"SELECT DISTINCT provider, model FROM {copying.STAGED} WHERE priced = 'unknown'"


@dataclass(slots=True)
class Kept:
    """What was written down. `set_aside` counts by reason."""

    entries: int = 0
    calls: int = 0
    duplicates: int = 0
    set_aside: dict[str, int] = field(default_factory=dict)

    def add(self, other: Kept) -> None:
        self.entries += other.entries
        self.calls += other.calls
        self.duplicates += other.duplicates
        for reason, count in other.set_aside.items():
            self.set_aside[reason] = self.set_aside.get(reason, 0) + count


def keep(uow: UnitOfWork, lines: Sequence[bytes], aside: Sequence[SetAside], *, expect_new: bool) -> Kept:
    """Write all of it in this transaction. Lines: rows for COPY, by their ids, each once."""
    kept = Kept()
    if lines:
        copying.stage(uow, lines)
        was_priced = _any(_LATER, lines) and _price(uow)
        kept.calls = copying.insert(uow, lines, expect_new=expect_new and not was_priced)
        kept.duplicates = len(lines) - kept.calls
        if was_priced or _any(_UNKNOWN, lines):
            unknown_models.note(uow, [(row.provider, row.model) for row in uow.execute(_NAMES)])
    kept.set_aside = asides.insert(uow, aside)
    return kept


def _any(text: bytes, lines: Sequence[bytes]) -> bool:
    return any(text in line for line in lines)


def _price(uow: UnitOfWork) -> bool:
    """Price staged calls that could not be priced when they came; were there any?"""
    rows = uow.execute(_UNPRICED).all()
    if not rows:
        return False
    table = price_table.current() or price_table.read(uow.session)
    found = [_cost(table, row) for row in rows]
    uow.execute(
        _PRICE,
        ids=[row.id for row in rows],
        micros=[one.micro for one in found],
        priced=[one.priced for one in found],
        prices=[one.price_id for one in found],
    )
    return True


def _cost(table: price_table.PriceTable, row: Any) -> price_table.Priced:
    tokens = Tokens(row.input_tokens, row.cached_tokens, row.cache_write_tokens, row.output_tokens)
    return table.cost(row.tenant, row.provider, row.model, row.at, tokens)
