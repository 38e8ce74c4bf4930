"""What a call costs: by hand, and against the package whose prices are copied, over all it has."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.costs import price_bundle
from app.costs.price_store import Price
from app.costs.price_table import PriceTable
from app.costs.pricing import Rates, Tier, Tokens, cost_micro_usd, half_even

KIMI = Rates(input=600_000, cached=100_000, output=3_000_000)


@pytest.fixture(scope="module")
def table() -> PriceTable:
    """What the package has, as a fresh installation would hold it."""
    return PriceTable(
        Price(
            id=UUID(int=number),
            tenant="",
            provider=one.provider,
            model=one.model,
            matches=one.matches,
            effective_from=one.effective_from,
            effective_to=one.effective_to,
            rates=one.rates,
            tiers=one.tiers,
            source="the package",
            set_at=one.effective_from,
            set_by="",
        )
        for number, one in enumerate(one for versions in price_bundle.offered().values() for one in versions)
    )


def test_input_cache_and_output_each_have_their_rate() -> None:
    assert cost_micro_usd(KIMI, (), Tokens(input=1_000_000)) == 600_000
    assert cost_micro_usd(KIMI, (), Tokens(1_000_000, cached=400_000, output=10_000)) == 360_000 + 40_000 + 30_000
    written = Rates(input=5_000_000, cached=500_000, cache_write=6_250_000, output=25_000_000)
    assert cost_micro_usd(written, (), Tokens(3_000, cached=1_000, cache_write=1_000, output=1_000)) == 36_750


def test_what_a_cache_has_no_rate_for_costs_what_input_costs() -> None:
    plain = Rates(input=600_000, output=0)
    assert cost_micro_usd(plain, (), Tokens(900, cached=300, cache_write=300)) == 540


def test_without_a_rate_that_is_needed_the_cost_is_unknown() -> None:
    assert cost_micro_usd(Rates(output=1), (), Tokens(output=5)) is None
    assert cost_micro_usd(Rates(input=1_000_000), (), Tokens(7, output=1)) is None
    assert cost_micro_usd(Rates(input=1_000_000), (), Tokens(7)) == 7


def test_a_tier_is_for_the_whole_call_that_reaches_it() -> None:
    tiers = (Tier(200_001, Rates(input=10_000_000, output=37_500_000)),)
    base = Rates(input=5_000_000, output=25_000_000)
    assert cost_micro_usd(base, tiers, Tokens(200_000, output=1)) == 1_000_025
    assert cost_micro_usd(base, tiers, Tokens(200_001, output=2)) == 2_000_010 + 75


def test_a_call_is_rounded_once_and_half_to_even() -> None:
    half = Rates(input=500_000, output=500_000)
    assert [cost_micro_usd(half, (), Tokens(count)) for count in (1, 3, 5)] == [0, 2, 2]
    assert cost_micro_usd(half, (), Tokens(1, output=1)) == 1


@given(st.integers(0, 10**18), st.integers(1, 10**7))
@hypothesis_settings(max_examples=100, deadline=None)
def test_halves_are_rounded_as_the_standard_library_does(amount: int, divisor: int) -> None:
    assert half_even(amount, divisor) == round(Fraction(amount, divisor))


USAGES = (Tokens(98_765, 54_321, 0, 4_321), Tokens(312_345, 123_456, 7, 8_191))
MOMENTS = (datetime(2025, 3, 1, 12, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_every_plain_price_of_the_package_gives_its_own_figure(table: PriceTable) -> None:
    compared = 0
    for provider in providers:
        for model in provider.models:
            if _priced_by_the_hour(model):
                continue
            for at in MOMENTS:
                prices = model.get_prices(at)
                if not _plain(prices):
                    continue
                for tokens in USAGES:
                    theirs = prices.calc_price(_usage(tokens))["total_price"]
                    ours = table.cost("", provider.id, model.id, at, tokens)
                    if ours.micro is None:  # it has a price for input only, and takes output to be free
                        assert prices.output_mtok is None, (provider.id, model.id)
                        continue
                    assert ours.micro == _micro(theirs), (provider.id, model.id, at, tokens)
                    compared += 1
    assert compared > 7_000


@pytest.mark.parametrize(
    ("provider", "name", "rates"),
    [
        ("moonshot", "kimi-k2.5", (600_000, 100_000, 3_000_000)),
        ("moonshotai", "Kimi-K2.5-preview", (600_000, 100_000, 3_000_000)),
        ("anthropic", "claude-opus-4-6-20260205", (5_000_000, 500_000, 25_000_000)),
        ("openai", "gpt-5-20250807", (1_250_000, 125_000, 10_000_000)),
        ("azure", "gpt-5-2025-08-07", (1_250_000, 125_000, 10_000_000)),
        ("vertex", "claude-opus-4-6", (5_000_000, 500_000, 25_000_000)),
    ],
)
def test_a_model_is_found_by_the_names_that_are_in_use(
    table: PriceTable, provider: str, name: str, rates: tuple[int, int, int]
) -> None:
    price = table.price_at("", provider, name, MOMENTS[1])
    assert price is not None
    assert (price.rates.input, price.rates.cached, price.rates.output) == rates


def test_a_cache_that_is_overlooked_would_overstate_what_a_call_costs(table: PriceTable) -> None:
    at = MOMENTS[1]
    read = table.cost("", "moonshot", "kimi-k2.5", at, Tokens(8950, 8704, 0, 14)).micro
    overlooked = table.cost("", "moonshot", "kimi-k2.5", at, Tokens(8950, 0, 0, 14)).micro
    assert (read, overlooked) == (1060, 5412)


@pytest.mark.parametrize("name", ["gpt-99", "", "x" * 10_000, "\x00", "ft:"])
def test_nobody_knows_the_price_of_a_stranger(table: PriceTable, name: str) -> None:
    for provider in ("openai", "", "nobody", "x" * 10_000):
        assert table.cost("acme", provider, name, MOMENTS[1], Tokens(1)) == (None, "unknown", None)


def _priced_by_the_hour(model: ModelInfo) -> bool:
    return not isinstance(model.prices, ModelPrice) and any(
        isinstance(each.constraint, TimeOfDateConstraint) for each in model.prices
    )


def _plain(prices: ModelPrice) -> bool:
    given = {key: value for key, value in vars(prices).items() if value is not None}
    exact = all((rate * 10**6) % 1 == 0 for value in given.values() for rate in _rates(value))
    return "input_mtok" in given and "requests_kcount" not in given and exact


def _rates(value: Decimal | TieredPrices) -> list[Decimal]:
    return [value.base, *(tier.price for tier in value.tiers)] if isinstance(value, TieredPrices) else [value]


def _usage(tokens: Tokens) -> Usage:
    return Usage(
        input_tokens=tokens.input,
        cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        output_tokens=tokens.output,
    )


def _micro(price: Decimal) -> int:
    return int((price * 10**6).to_integral_value(ROUND_HALF_EVEN))
