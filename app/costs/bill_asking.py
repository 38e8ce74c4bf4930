"""Asking a provider over HTTP: time, pages and bytes are bounded, and no error repeats what was sent or answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

import httpx

from app import clock
from app.catalog import Provider
from app.errors import Misconfigured, Permanent, Transient
from app.infra import http

MOST_BYTES = http.MAX_BODY_BYTES
MOST_PAGES = 12
SECONDS = 150.0
"""For all questions of one reading: a task has four minutes."""

MOST_TOKENS = 10**15
MOST_CURSOR = 1000

Parameters = Sequence[tuple[str, str]]
Result = Mapping[str, Any]

_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,2})?")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_FARTHEST_EXPONENT = 30


@contextmanager
def asking(provider: Provider, base_url: str, headers: Mapping[str, str]) -> Iterator[Asking]:
    """Questions to one provider, where the catalogue says it answers or else at `base_url`."""
    with http.client(timeout_seconds=provider.timeout) as through:
        yield Asking(provider, provider.base_url or base_url, headers, through)


class Asking:
    """Its errors say which table of the catalogue and which path they are about."""

    def __init__(self, provider: Provider, base_url: str, headers: Mapping[str, str], through: httpx.Client) -> None:
        self._provider, self._base_url, self._headers, self._through = provider, base_url, headers, through
        self._ends_at = clock.monotonic() + SECONDS

    def document(self, path: str, parameters: Parameters = ()) -> Result:
        """The JSON object that is answered."""
        where = f"[providers.{self._provider.name}] {path}"
        if clock.monotonic() > self._ends_at:
            raise Transient(f"{where}: took longer than {SECONDS:g} s in all")
        url = f"{self._base_url}{path}{'?' if parameters else ''}{urlencode(parameters)}"
        answer = http.attempt(
            self._through, "GET", url, content=b"", headers=self._headers, max_body_bytes=MOST_BYTES + 1
        )
        _judge(answer, where)
        return _parsed(answer.body, where)

    def buckets(
        self, path: str, parameters: Parameters, day_of: Callable[[Result], date]
    ) -> dict[date, Sequence[Result]]:
        """The results of each day of a paged answer: `data` of buckets with `results`, `has_more` and `next_page`."""
        found: dict[date, Sequence[Result]] = {}
        for page in self._pages(path, parameters):
            for bucket in listed(page, "data"):
                day = day_of(bucket)
                if day in found:
                    raise Permanent(f"[providers.{self._provider.name}] {path}: tells {day} twice")
                found[day] = listed(bucket, "results")
        return found

    def _pages(self, path: str, parameters: Parameters) -> Iterator[Result]:
        cursor, seen = "", set[str]()
        for _ in range(MOST_PAGES):
            page = self.document(path, [*parameters, *([("page", cursor)] if cursor else [])])
            yield page
            if page.get("has_more") is not True:
                return
            following = page.get("next_page")
            if not isinstance(following, str) or not 0 < len(following) <= MOST_CURSOR:
                raise Permanent(f"[providers.{self._provider.name}] {path}: says there is more, but not where")
            cursor = following
            if cursor in seen:
                raise Permanent(f"[providers.{self._provider.name}] {path}: its pages go in a circle")
            seen.add(cursor)
        raise Permanent(f"[providers.{self._provider.name}] {path}: has more than {MOST_PAGES} pages")


def _judge(answer: http.Answer, where: str) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    if status in (401, 403):
        raise Misconfigured(f"{where}: the key is refused ({status}); bills take a key of their own")
    if status in http.BUSY or status >= 500:
        wait = http.retry_after(answer.headers.get("retry-after"), clock.now())
        raise Transient(f"{where}: answered {status}", retry_after=wait)
    raise Permanent(f"{where}: answered {status}")


def _parsed(body: bytes, where: str) -> Result:
    if len(body) > MOST_BYTES:
        raise Permanent(f"{where}: answers with more than {MOST_BYTES} bytes")
    try:
        found = json.loads(body, parse_float=_decimal, parse_constant=_decimal)
    except (ValueError, RecursionError):  # cut off, or the page of something in between
        raise Transient(f"{where}: answered something that is no JSON") from None
    if not isinstance(found, dict):
        raise odd("the answer")
    return found


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError from None


def listed(holder: Result, key: str) -> Sequence[Result]:
    """A list of objects. Raises Permanent."""
    found = holder.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise odd(key)
    return found


def mapping(holder: Result, key: str) -> Result:
    """An object. Raises Permanent."""
    found = holder.get(key)
    if not isinstance(found, dict):
        raise odd(key)
    return found


def number(holder: Result, key: str) -> Decimal:
    """A number, or a text that is one: OpenAI's amounts have come as both. Raises Permanent."""
    found = holder.get(key)
    if isinstance(found, str) and _NUMBER.fullmatch(found):
        found = Decimal(found)
    if type(found) is int and abs(found) < 10**_FARTHEST_EXPONENT:
        found = Decimal(found)
    if not isinstance(found, Decimal) or not found.is_finite() or abs(found.adjusted()) > 2 * _FARTHEST_EXPONENT:
        raise odd(key)
    return found


def count(holder: Result, key: str) -> int:
    """Tokens; 0 where there is nothing. Raises Permanent."""
    found = holder.get(key)
    if found is None:
        return 0
    if type(found) is not int or not 0 <= found <= MOST_TOKENS:
        raise odd(key)
    return found


def currency(holder: Result, key: str = "currency") -> str:
    """Three letters. Raises Permanent."""
    found = holder.get(key)
    if not isinstance(found, str) or _CURRENCY.fullmatch(found) is None:
        raise odd(key)
    return found.upper()


def odd(what: str) -> Permanent:
    """To be raised where a part of an answer is something else than it ought to be."""
    return Permanent(f"the provider's answer is not as it is described: {what}")
