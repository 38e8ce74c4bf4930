"""The prices that come with the package genai-prices, as versions of our own. Its live updater is never run.

Imported only where prices are imported or compared: it takes half a second and 30 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.metadata import version
from typing import Any

from genai_prices import types
from genai_prices.data import providers

from app.costs.price_store import ALWAYS, PACKAGE, Offered
from app.costs.pricing import MILLION, Rates, Tier

_RATES = {
    "input": "input_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}
_SAID = {
    "requests_kcount": "a fee for each request",
    "web_searches_kcount": "web searches",
    "storage_searches_kcount": "searches in files",
    "cache_write_1h_mtok": "writing to a cache for an hour",
}
_HOURS = "the standard price; at some hours of the day it is another one"
_FREE = ":free"
"""OpenRouter's ending of models that cost nothing."""


def source() -> str:
    """What its versions name as their source."""
    return f"{PACKAGE} {version(PACKAGE)}"


def offered() -> dict[tuple[str, str], tuple[Offered, ...]]:
    """Every model's versions, oldest first. Models that are not paid for by tokens are left out."""
    found = {}
    for provider in providers:
        for model in provider.models:
            versions = tuple(_versions(provider, model))
            if versions:
                found[provider.id, model.id] = versions
    return found


def _versions(provider: types.Provider, model: types.ModelInfo) -> Iterator[Offered]:
    """Each dated price counts until the next one begins."""
    dated, note = _dated(model)
    matches = _matches(provider, model)
    for place, (begins, prices) in enumerate(dated):
        ends = dated[place + 1][0] if place + 1 < len(dated) else None
        read = _read(prices, free=model.id.endswith(_FREE))
        if read is not None:
            rates, tiers, left_out = read
            said = "; ".join(part for part in (note, left_out) if part)
            yield Offered(provider.id, model.id, begins, ends, rates, tiers, matches, said)


def _dated(model: types.ModelInfo) -> tuple[list[tuple[datetime, types.ModelPrice]], str]:
    """Prices by the day from which they count, in order; those of some hours of the day are left out."""
    if isinstance(model.prices, types.ModelPrice):
        return [(ALWAYS, model.prices)], ""
    found: dict[datetime, types.ModelPrice] = {}
    note = ""
    for place, each in enumerate(model.prices):
        match each.constraint:
            case types.StartDateConstraint(start_date=day):
                found[datetime.combine(day, time(), UTC)] = each.prices
            case None:
                # What stands first counts where nothing else does.
                found[ALWAYS] = found.get(ALWAYS, each.prices) if place else each.prices
            case _:
                note = _HOURS
    return sorted(found.items(), key=lambda dated: dated[0]), note


def _read(prices: types.ModelPrice, *, free: bool) -> tuple[Rates, tuple[Tier, ...], str] | None:
    given = {key: value for key, value in vars(prices).items() if value is not None}
    if not given and free:
        return Rates(0, 0, 0, 0), (), ""
    if "input_mtok" not in given:
        return None
    begins = sorted(
        {tier.start for value in given.values() if isinstance(value, types.TieredPrices) for tier in value.tiers}
    )
    # The package's tiers begin beyond their figure, ours at it.
    tiers = tuple(Tier(start + 1, _rates_at(given, start + 1)) for start in begins)
    left_out = sorted(
        _SAID.get(key, key.rpartition("_")[0].replace("_", " ")) for key in given if key not in _RATES.values()
    )
    return _rates_at(given, 0), tiers, f"not counted: {', '.join(left_out)}" if left_out else ""


def _rates_at(given: Mapping[str, Decimal | types.TieredPrices], tokens_in: int) -> Rates:
    return Rates(**{ours: _micro(given.get(theirs), tokens_in) for ours, theirs in _RATES.items()})


def _micro(price: Decimal | types.TieredPrices | None, tokens_in: int) -> int | None:
    if isinstance(price, types.TieredPrices):
        price = next((tier.price for tier in reversed(price.tiers) if tokens_in > tier.start), price.base)
    return None if price is None else int((price * MILLION).to_integral_value(ROUND_HALF_EVEN))


def _matches(provider: types.Provider, model: types.ModelInfo) -> dict[str, Any]:
    """Which names mean the model; what only says its own name is left out."""
    found: dict[str, Any] = {}
    rule = _rule(model.match)
    if rule != {"equals": model.id}:
        found["model"] = rule
    if provider.provider_match is not None:
        found["provider"] = _rule(provider.provider_match)
    if provider.fallback_model_providers:
        found["fallbacks"] = list(provider.fallback_model_providers)
    return found


def _rule(clause: Any) -> dict[str, Any]:
    [(kind, wanted)] = vars(clause).items()
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return {kind.rstrip("_"): [_rule(part) for part in wanted]}
    return {kind: wanted}
