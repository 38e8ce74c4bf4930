"""What the files of `billing/` have in common: their contract, days, and money of any currency as micro-dollars.

A provider that cannot be asked now raises Transient; one that refuses the key, Misconfigured; one whose answer is not
as it describes it, Permanent. A day of which no amount can be told is a value with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Protocol

from app.catalog import MICRO, Provider

DAY = timedelta(days=1)
DOLLAR = "USD"
MOST = 1_000_000_000
"""Dollars of one day; more is a mistake."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens: all that were sent, what of them a cache held, and what was answered."""

    input: int = 0
    cached: int = 0
    output: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.input + other.input, self.cached + other.cached, self.output + other.output)

    def document(self) -> dict[str, int]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was left of an account at a moment; below zero where it is owed."""

    at: datetime
    micro_usd: int


@dataclass(frozen=True, slots=True)
class Source:
    """An account. `balances` are its readings around the days that are asked for, the first one first."""

    provider: Provider
    balances: Sequence[Reading] = ()


@dataclass(frozen=True, slots=True)
class Billed:
    """A day (UTC) as it is billed. `micro_usd` is None where nothing can be told; `note` says why, or what is special.

    `settled`: the figure is not expected to change. `period`: what it is of, where that is not exactly the day.
    """

    day: date
    micro_usd: int | None
    tokens: Counted | None = None
    settled: bool = False
    note: str = ""
    period: tuple[datetime, datetime] | None = None


class BillingModule(Protocol):
    """A file of `billing/`."""

    BILLING: str
    SUMMARY: str
    BASE_URL: str
    PROVIDERS: tuple[str, ...]
    """How calls name the provider, unless the catalogue says otherwise."""

    def read(self, source: Source, first: date, last: date, now: datetime) -> list[Billed]:
        """Each day from `first` to `last`. Raises Transient, Misconfigured, Permanent."""


class PrepaidModule(BillingModule, Protocol):
    """One of providers that are paid in advance: a balance is all they tell."""

    def balance(self, provider: Provider) -> int:
        """What is left, in micro-dollars. Raises as `read` does."""


def midnight(day: date) -> datetime:
    """When the day begins."""
    return datetime.combine(day, time(), UTC)


def days(first: date, last: date) -> list[date]:
    """From the first to the last, both included."""
    return [first + place * DAY for place in range((last - first).days + 1)]


def is_settled(provider: Provider, day: date, now: datetime) -> bool:
    """Is the day so long ago that its bill counts as final?"""
    return now >= midnight(day) + (1 + provider.settle_days) * DAY


def micro_usd(provider: Provider, amounts: Iterable[tuple[Decimal, str]]) -> tuple[int | None, str]:
    """Amounts of currencies ("USD") added up, in micro-dollars rounded half to even; or None, and why not."""
    total = Decimal(0)
    for amount, currency in amounts:
        rate = _rate(provider, currency)
        if rate is None:
            return None, f"is billed in {currency}: rates of [providers.{provider.name}] has none for it"
        if not amount.is_finite() or abs(amount) > MOST:
            return None, f"the provider tells an amount beyond {MOST:,}"
        total += amount * rate
    if abs(total) > MOST:
        return None, f"the provider tells more than ${MOST:,}"
    return int((total * MICRO).to_integral_value(ROUND_HALF_EVEN)), ""


def bill(provider: Provider, amounts: Iterable[tuple[Decimal, str]]) -> tuple[int | None, str]:
    """The same of what was billed, which cannot be below zero in all."""
    found, why = micro_usd(provider, amounts)
    if found is not None and found < 0:
        return None, "the provider tells a bill below zero: credits are more than what was used"
    return found, why


def _rate(provider: Provider, currency: str) -> Decimal | None:
    if currency == DOLLAR:
        return Decimal(1)
    rate = provider.rates.get(currency)
    return None if rate is None else Decimal(repr(rate))
