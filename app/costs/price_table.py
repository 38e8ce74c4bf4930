"""All prices in memory: which one counts for a tenant, a provider's model and a moment, and what a call costs by it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from app import clock
from app.config import Settings, settings
from app.costs import price_names, price_store
from app.costs.price_store import Price
from app.costs.pricing import Tokens, cost_micro_usd
from app.infra.db import read_only
from app.infra.logging import get_logger

log = get_logger(__name__)

MOST_NAMES = 20_000
"""Names that are remembered with their prices; whoever sends more of them only makes it slower."""

OLDEST_SECONDS = 30.0
_REFRESH_SECONDS = 20.0
_AGAIN_SECONDS = 3.0
PATIENCE_SECONDS = 0.5
"""How long a recording waits for prices at most."""


class Priced(NamedTuple):
    """What a call costs in millionths of a dollar, by which price; `priced` is "table" or "unknown"."""

    micro: int | None
    priced: str
    price_id: UUID | None


UNKNOWN = Priced(None, "unknown", None)


class PriceTable:
    """Never changes; what was looked up is remembered."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._models: dict[tuple[str, str], dict[str, list[Price]]] = {}
        self._providers: dict[str, dict[str, Any]] = {}
        self._found: dict[tuple[str, str, str], tuple[Price, ...]] = {}
        self.versions = tuple(prices)
        for price in self.versions:
            models = self._models.setdefault((price.tenant, price.provider), {})
            models.setdefault(price.model.lower(), []).append(price)
            if price.matches.get("provider") or price.matches.get("fallbacks"):
                self._providers[price.provider] = dict(price.matches)

    def cost(self, tenant: str, provider: str, model: str, at: datetime, tokens: Tokens) -> Priced:
        """What a call at this moment costs: the tenant's own price first, then everybody's."""
        price = self.price_at(tenant, provider, model, at)
        if price is None:
            return UNKNOWN
        micro = cost_micro_usd(price.rates, price.tiers, tokens)
        return UNKNOWN if micro is None else Priced(micro, "table", price.id)

    def price_at(self, tenant: str, provider: str, model: str, at: datetime) -> Price | None:
        """The version that counts at a moment; None where none does."""
        for price in self.versions_of(tenant, provider, model):
            if price.counts_at(at):
                return price
        return None

    def versions_of(self, tenant: str, provider: str, model: str) -> tuple[Price, ...]:
        """Every version that may count for a name, the one that goes first before the others."""
        key = (tenant, provider, model)
        found = self._found.get(key)
        if found is None:
            found = tuple(dict.fromkeys(self._look_up(tenant, provider, model)))
            if len(self._found) >= MOST_NAMES:
                self._found.clear()
            self._found[key] = found
        return found

    def provider_of(self, name: str) -> str:
        """The provider that goes by a name; the name itself where nobody does."""
        itself = self._itself(name.strip().lower())
        return itself[-1]

    def _look_up(self, tenant: str, provider: str, model: str) -> Iterator[Price]:
        names = self._providers_for(provider)
        for owner in dict.fromkeys((tenant, "")):
            for name in names:
                models = self._models.get((owner, name), {})
                for spelling in price_names.spellings(model):
                    yield from reversed(models.get(spelling, ()))
                    yield from reversed(_matching(models, spelling))

    def _providers_for(self, name: str) -> list[str]:
        itself = self._itself(name.strip().lower())
        return [*itself, *self._providers.get(itself[-1], {}).get("fallbacks", ())]

    def _itself(self, name: str) -> list[str]:
        """The provider of this name, and the one that goes by it."""
        if name in self._providers or ("", name) in self._models:
            return [name]
        known = next((one for one, said in self._providers.items() if _knows(said.get("provider"), name)), None)
        return [name] if known is None else [name, known]


def _matching(models: dict[str, list[Price]], name: str) -> list[Price]:
    """The versions of the first model, in the order of their names, whose rule knows this one."""
    return next((found for found in models.values() if _knows(found[-1].matches.get("model"), name)), [])


def _knows(rule: Any, name: str) -> bool:
    return bool(rule) and price_names.matches(rule, name)


def read(session: Session) -> PriceTable:
    """The table as it is stored now."""
    return PriceTable(price_store.read(session))


class _Keeper:
    """Keeps the table for one process: read in a thread of its own, and kept while Postgres is away."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self._table: PriceTable | None = None
        self._mark: tuple[Any, ...] | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading: threading.Event | None = None
        self._lock = threading.Lock()

    def current(self) -> PriceTable | None:
        now = clock.monotonic()
        if now - self._read_at < _REFRESH_SECONDS:
            return self._table
        begun, reading = self._begin(now)
        if reading is not None and ((begun and now - self._read_at >= OLDEST_SECONDS) or self._table is None):
            reading.wait(PATIENCE_SECONDS)
        return self._table

    def outdate(self) -> None:
        """The next call reads anew."""
        self._read_at = self._tried_at = float("-inf")

    def _begin(self, now: float) -> tuple[bool, threading.Event | None]:
        with self._lock:
            if self._reading is not None or now - self._tried_at < _AGAIN_SECONDS:
                return False, self._reading
            self._tried_at = now
            self._reading = threading.Event()
            threading.Thread(target=self._read, args=(self._reading, now), name="prices", daemon=True).start()
            return True, self._reading

    def _read(self, done: threading.Event, began: float) -> None:
        try:
            with read_only() as session:
                mark = price_store.mark(session)
                if mark != self._mark:
                    table = read(session)
                    self._table, self._mark = (table, mark) if table.versions else (None, None)
            if self._table is not None and self._tried_at == began:
                self._read_at = began
        except Exception as error:
            log.warning("prices could not be read; those that are known go on counting", error=str(error))
        finally:
            self._reading = None
            done.set()


_keeper: _Keeper | None = None


def current() -> PriceTable | None:
    """The prices, at most 30 seconds old, or as old as Postgres is away. None: none were ever read, or there are none.

    Waits half a second at most, and only where there is nothing yet or what there is has become too old.
    """
    global _keeper
    config = settings()
    if _keeper is None or _keeper.config is not config:
        _keeper = _Keeper(config)
    return _keeper.current()


def outdate() -> None:
    """Prices have changed: this process reads them before it uses them again."""
    if _keeper is not None:
        _keeper.outdate()


def _forget() -> None:
    global _keeper
    _keeper = None


os.register_at_fork(after_in_child=_forget)
