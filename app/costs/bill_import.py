"""Bills as files: `date,amount` or `date,amount,currency`, a day a line, all of it or nothing. Pure."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, datetime
from decimal import Decimal

from app.catalog import Provider
from app.catalog.billing import CURRENCY
from app.costs.bill_source import DOLLAR, MOST, bill
from app.errors import Invalid, Problem

MOST_BYTES = 1_048_576
HEADINGS = (["date", "amount"], ["date", "amount", "currency"])

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def read(raw: bytes, provider: Provider, now: datetime) -> dict[date, int]:
    """Micro-dollars by day. Raises Invalid that names every line that is wrong."""
    if len(raw) > MOST_BYTES:
        raise _invalid([Problem("", f"is larger than {MOST_BYTES} bytes")])
    try:
        lines = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise _invalid([Problem("", "is no CSV in UTF-8")]) from None
    if not lines or lines[0] not in HEADINGS:
        raise _invalid([Problem("", "must begin with a line `date,amount` or `date,amount,currency`", 1)])
    reading = _Reading(lines[0], provider, now.date())
    for place, line in enumerate(lines[1:], start=2):
        if line:
            reading.take(place, line)
    if not reading.found and not reading.problems:
        reading.problems.append(Problem("", "holds no day"))
    if reading.problems:
        raise _invalid(reading.problems)
    return reading.found


class _Reading:
    """Collects days and what is wrong."""

    def __init__(self, headings: list[str], provider: Provider, today: date) -> None:
        self.found: dict[date, int] = {}
        self.problems: list[Problem] = []
        self._headings, self._provider, self._today = headings, provider, today

    def take(self, place: int, line: list[str]) -> None:
        if len(line) != len(self._headings):
            self.problems.append(Problem("", f"must have {len(self._headings)} values", place))
            return
        given = dict(zip(self._headings, line, strict=True))
        day, micro_usd = self._day(given["date"], place), self._micro_usd(given, place)
        if day is not None and micro_usd is not None:
            self.found[day] = micro_usd

    def _day(self, written: str, place: int) -> date | None:
        day = _day(written)
        if day is None or day >= self._today:
            self.problems.append(Problem("date", "must be a day that is over, such as 2026-11-20", place))
            return None
        if day in self.found:
            self.problems.append(Problem("date", f"{day} is given twice", place))
        return day

    def _micro_usd(self, given: dict[str, str], place: int) -> int | None:
        amount = Decimal(given["amount"]) if _AMOUNT.fullmatch(given["amount"]) else None
        if amount is None or amount > MOST:
            self.problems.append(Problem("amount", f"must be a plain number from 0 to {MOST}, such as 12.50", place))
            amount = None
        currency = given.get("currency") or self._provider.currency or DOLLAR
        if re.fullmatch(CURRENCY, currency) is None:
            self.problems.append(Problem("currency", "must be three capital letters, such as USD", place))
            return None
        micro_usd, why = bill(self._provider, [(amount or Decimal(0), currency)])
        if micro_usd is None:
            self.problems.append(Problem("currency", why, place))
        return None if amount is None else micro_usd


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def _invalid(problems: list[Problem]) -> Invalid:
    return Invalid(problems, subject="bill")
