"""What a call costs: tokens times rates, in whole numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MILLION = 1_000_000


class Tokens(NamedTuple):
    """What a call took. `input` is all that was sent: what was read from a cache and written to one is part of it."""

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """Millionths of a dollar for a million tokens. A missing rate of a cache: those tokens cost what input costs."""

    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates of a whole call that sends at least `begins` tokens."""

    begins: int
    rates: Rates


def rates_for(rates: Rates, tiers: Sequence[Tier], tokens_in: int) -> Rates:
    """The rates of a call that sends so many tokens; `tiers` rise."""
    for tier in reversed(tiers):
        if tokens_in >= tier.begins:
            return tier.rates
    return rates


def cost_micro_usd(rates: Rates, tiers: Sequence[Tier], tokens: Tokens) -> int | None:
    """Millionths of a dollar, rounded once, half to even. None where a rate is missing that the call needs."""
    chosen = rates_for(rates, tiers, tokens.input) if tiers else rates
    if chosen.input is None or (chosen.output is None and tokens.output):
        return None
    plain = max(0, tokens.input - tokens.cached - tokens.cache_write)
    total = plain * chosen.input + tokens.output * (chosen.output or 0)
    total += tokens.cached * (chosen.input if chosen.cached is None else chosen.cached)
    total += tokens.cache_write * (chosen.input if chosen.cache_write is None else chosen.cache_write)
    return half_even(total, MILLION)


def half_even(amount: int, divisor: int) -> int:
    """`amount / divisor` as a whole number; what lies in the middle goes to the even one. Neither is below zero."""
    whole, rest = divmod(amount, divisor)
    twice = 2 * rest
    return whole + (twice > divisor or (twice == divisor and whole % 2 == 1))
