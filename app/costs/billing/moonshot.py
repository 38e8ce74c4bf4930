"""Moonshot (Kimi): paid in advance, without any report of costs. A day's bill is what the balance fell by.

https://platform.moonshot.ai/docs/api/balance: `voucher_balance` and `cash_balance`; the latter is below zero where
money is owed, and `available_balance` leaves that debt out, so the sum of the two is what is read. No currency is
told: dollars of api.moonshot.ai, yuan of api.moonshot.cn.

The balance is read every hour. A day is what lies between the readings nearest to its two midnights (UTC), and what was
captured is taken of exactly the same time. A rise is a payment; what was spent in the hour of one is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from urllib.parse import urlsplit

from app import clock
from app.catalog import MICRO, Provider
from app.costs.bill_asking import asking, mapping, number
from app.costs.bill_source import DAY, DOLLAR, Billed, Reading, Source, days, micro_usd, midnight
from app.errors import Misconfigured

BILLING = "moonshot"
SUMMARY = "the fall of the balance of an account that is paid in advance; bills as files besides"
BASE_URL = "https://api.moonshot.ai"
PROVIDERS = ("moonshotai", "moonshot")

NEAR = timedelta(hours=2)
"""How far from a midnight a reading may be that stands for it."""

_BALANCE = "/v1/users/me/balance"


def read(source: Source, first: date, last: date, now: datetime) -> list[Billed]:
    """Each day, of the readings that are kept."""
    return [_billed(source.balances, day, now) for day in days(first, last)]


def balance(provider: Provider) -> int:
    """What is left. Raises Transient, Misconfigured, Permanent."""
    with asking(provider, BASE_URL, {"Authorization": f"Bearer {provider.key.get_secret_value()}"}) as ask:
        data = mapping(ask.document(_BALANCE), "data")
    left = number(data, "voucher_balance") + number(data, "cash_balance")
    found, why = micro_usd(provider, [(left, _currency(provider))])
    if found is None:
        raise Misconfigured(f"[providers.{provider.name}] {_BALANCE}: {why}")
    return found


def _currency(provider: Provider) -> str:
    host = urlsplit(provider.base_url or BASE_URL).hostname or ""
    return provider.currency or ("CNY" if host.endswith(".cn") else DOLLAR)


def _billed(readings: Sequence[Reading], day: date, now: datetime) -> Billed:
    settled = now >= midnight(day) + DAY + NEAR
    ends = [_nearest(readings, midnight(day) + place * DAY) for place in range(2)]
    if ends[0] is None or ends[1] is None:
        missing = day if ends[0] is None else day + DAY
        return Billed(day, None, settled=settled, note=f"no reading of the balance is near 00:00 of {missing}")
    start, end = ends[0], ends[1]
    within = [reading.micro_usd for reading in readings if start.at <= reading.at <= end.at]
    changes = [later - earlier for earlier, later in pairwise(within)]
    fallen, paid = -sum(change for change in changes if change < 0), sum(change for change in changes if change > 0)
    note = f"from {clock.iso(start.at)} to {clock.iso(end.at)}"
    if paid:
        note += f"; ${paid / MICRO:,.2f} were paid in, and what was spent between those two readings is not seen"
    return Billed(day, fallen, settled=settled, note=note, period=(start.at, end.at))


def _nearest(readings: Sequence[Reading], moment: datetime) -> Reading | None:
    near = [reading for reading in readings if abs(reading.at - moment) <= NEAR]
    return min(near, key=lambda reading: abs(reading.at - moment), default=None)
