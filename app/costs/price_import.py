"""The package's prices against those that are held: what differs, and how the table follows without a word of history.

A price that changed counts from the import on, and the old one until then. What people have set stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import ModuleType
from typing import Any

from sqlalchemy.orm import Session

from app import clock, signals
from app.costs import price_store, price_table
from app.costs.price_store import PACKAGE, Offered, Price, dollars
from app.infra import ids
from app.infra.db import UnitOfWork

SUBJECT = "costs"
BY_ITSELF = "smm-admin"


class Kind(StrEnum):
    """What an import would do about a model."""

    NEW = "new"
    CHANGED = "changed"
    ENDED = "ended"
    """The package has it no more: it has no price from now on."""
    RENAMED = "renamed"
    """Other names mean it."""
    KEPT = "kept"
    """People have set its price, and the package has another one: theirs stays."""


@dataclass(frozen=True, slots=True)
class Change:
    """One model. `closed` count no longer, `added` begin to."""

    kind: Kind
    provider: str
    model: str
    closed: tuple[Price, ...] = ()
    added: tuple[Offered, ...] = ()

    def document(self) -> dict[str, Any]:
        """JSON-ready; prices in dollars for a million tokens."""
        return {
            "change": str(self.kind),
            "provider": self.provider,
            "model": self.model,
            "before": dollars(self.closed[0].rates) if self.closed else None,
            "after": dollars(self.added[0].rates) if self.added else None,
            "versions": len(self.added),
        }


def difference(session: Session, now: datetime) -> list[Change]:
    """What an import at this moment would do."""
    return plan(price_store.read(session, tenant=""), _bundle().offered(), now)


def bring_in(uow: UnitOfWork, now: datetime, *, by: str) -> list[Change]:
    """Let the table follow the package; what was done."""
    price_store.take_turns(uow)
    changes = difference(uow.session, now)
    for change in changes:
        if change.kind is Kind.RENAMED:
            for price in change.closed:
                price_store.rename(uow, price.id, change.added[0].matches)
    acted = [change for change in changes if change.kind not in (Kind.RENAMED, Kind.KEPT)]
    price_store.close(uow, [price.id for change in acted for price in change.closed], now)
    source = _bundle().source()
    price_store.insert(uow, [_price(one, source, now, by) for change in acted for one in change.added])
    if acted:
        counts = {str(kind): sum(change.kind is kind for change in acted) for kind in Kind}
        facts = {"source": source, "by": by, **{kind: count for kind, count in counts.items() if count}}
        signals.record(uow, "costs.prices_imported", SUBJECT, facts=facts)
    uow.after_commit(price_table.outdate)
    return changes


def first(uow: UnitOfWork) -> bool:
    """Fill a table that is empty; False where it is not. Nobody has to ask for it."""
    if not price_store.is_empty(uow.session):
        return False
    price_store.take_turns(uow)
    if not price_store.is_empty(uow.session):
        return False
    bring_in(uow, clock.now(), by=BY_ITSELF)
    return True


def _bundle() -> ModuleType:
    from app.costs import price_bundle  # noqa: PLC0415 - half a second and 28 MB, for whoever imports only

    return price_bundle


def plan(held: Iterable[Price], offered: Mapping[tuple[str, str], Sequence[Offered]], now: datetime) -> list[Change]:
    """What has to be done so that from now on everybody's prices are those offered, in the order of the models."""
    versions: dict[tuple[str, str], list[Price]] = {}
    for price in held:
        versions.setdefault((price.provider, price.model), []).append(price)
    changes = [_change(key, versions.get(key, []), offered.get(key, ()), now) for key in sorted({*versions, *offered})]
    return [change for change in changes if change is not None]


def _change(key: tuple[str, str], held: Sequence[Price], offered: Sequence[Offered], now: datetime) -> Change | None:
    provider, model = key
    if not held:
        return Change(Kind.NEW, provider, model, (), tuple(offered))
    live = tuple(price for price in held if price.effective_to is None or price.effective_to > now)
    wanted = tuple(
        replace(one, effective_from=max(one.effective_from, now))
        for one in offered
        if one.effective_to is None or one.effective_to > now
    )
    same = [_terms(price, now) for price in live] == [_terms(one, now) for one in wanted]
    if any(price.by_hand for price in live):
        return None if same or not wanted else Change(Kind.KEPT, provider, model, live, wanted)
    if same:
        return _renamed(provider, model, live, wanted)
    if not wanted:
        ours = all(price.source.startswith(PACKAGE) for price in live)
        return Change(Kind.ENDED, provider, model, live) if live and ours else None
    return Change(Kind.CHANGED if live else Kind.NEW, provider, model, live, wanted)


def _renamed(provider: str, model: str, live: tuple[Price, ...], wanted: tuple[Offered, ...]) -> Change | None:
    if not wanted or all(price.matches == wanted[0].matches for price in live):
        return None
    return Change(Kind.RENAMED, provider, model, live, wanted)


def _terms(version: Price | Offered, now: datetime) -> tuple[Any, ...]:
    return max(version.effective_from, now), version.effective_to, version.rates, version.tiers


def _price(one: Offered, source: str, now: datetime, by: str) -> Price:
    return Price(
        id=ids.uuid7(),
        tenant="",
        provider=one.provider,
        model=one.model,
        matches=one.matches,
        effective_from=one.effective_from,
        effective_to=one.effective_to,
        rates=one.rates,
        tiers=one.tiers,
        source=source,
        set_at=now,
        set_by=by,
        note=one.note,
    )
