"""Asking a platform for tokens over HTTP: every time is bounded, nothing that may be used up is sent twice.

What was asked and answered is full of secrets, in addresses, headers and bodies: nothing of it gets into an error, a
log line or a Refused.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

import httpx
from tenacity import Future, RetryCallState, Retrying, retry_if_result, wait_random

from app import clock
from app.catalog import App
from app.infra import http
from app.infra.secret import Secret
from app.tokens.provider import Refused, Reply, Traits, Trouble

SECONDS = 25.0
"""For all questions of one Asker together: a lease is never shorter than 30."""
TRIES = 3
WAITS = (0.3, 1.0)
"""Seconds from one try to the next: something between these."""
MOST_BYTES = 262_144

_LEAST_SECONDS = 0.5
_PASSING = frozenset({502, 503, 504})
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_UNSENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, ValueError)
_HEADER = re.compile(r"[\x20-\x7e]*")
_DROPPED = frozenset({"set-cookie", "location"})

Values = Mapping[str, str | Secret]


@dataclass(frozen=True, slots=True, repr=False)
class _Question:
    method: str
    url: str
    content: bytes
    headers: Mapping[str, str]
    single_use: bool


@dataclass(frozen=True, slots=True, repr=False)
class _Arrived:
    """`body` None: it broke off, is too long, or compressed although nobody asked for that."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    broke_off: bool


@dataclass(frozen=True, slots=True)
class _Heard:
    """What came of one try, and whether another one may be made at once."""

    answer: Reply | Refused
    again: bool = False


class Asker:
    """The questions of one attempt. What is posted to a platform that rotates counts as single-use in any case."""

    def __init__(
        self, app: App, traits: Traits, *, now: datetime, seconds: float = SECONDS, waits: tuple[float, float] = WAITS
    ) -> None:
        self.now = now
        self._app, self._traits, self._seconds, self._waits = app, traits, seconds, waits
        self._ends_at: float | None = None

    def get(
        self, url: str, query: Values, *, headers: Values | None = None, single_use: bool = False
    ) -> Reply | Refused:
        """See `provider.Asking`."""
        return self._ask("GET", url, query, headers or {}, None, single_use=single_use)

    def post(
        self,
        url: str,
        form: Values,
        *,
        headers: Values | None = None,
        basic: tuple[str, Secret] | None = None,
        single_use: bool = False,
    ) -> Reply | Refused:
        """See `provider.Asking`."""
        single_use = single_use or self._traits.rotates
        return self._ask("POST", url, form, headers or {}, basic, single_use=single_use)

    def _ask(
        self, method: str, url: str, values: Values, headers: Values, basic: tuple[str, Secret] | None, *,
        single_use: bool,
    ) -> Reply | Refused:  # fmt: skip
        question = _question(method, url, values, headers, basic, single_use=single_use)
        if question is None:
            return _unsendable()
        tries = Retrying(
            retry=retry_if_result(_is_worth_another),
            wait=wait_random(*self._waits),
            stop=self._is_over,
            retry_error_callback=_last,
        )
        heard: _Heard = tries(self._try, question)
        return heard.answer

    def _try(self, question: _Question) -> _Heard:
        left = self._left()
        if left < _LEAST_SECONDS:
            return _Heard(Refused(Trouble.TRANSIENT, "out_of_time", "there was no time left to ask"))
        try:
            arrived = _send(question, min(self._app.timeout, left))
        except _UNSENT as error:
            return _Heard(Refused(Trouble.TRANSIENT, "unreachable", _why(error)), again=True)
        except _UNSENDABLE:
            return _Heard(_unsendable())
        except httpx.TransportError as error:
            return _unanswered(question, _why(error))
        return _judged(question, arrived)

    def _left(self) -> float:
        if self._ends_at is None:
            self._ends_at = clock.monotonic() + self._seconds
        return self._ends_at - clock.monotonic()

    def _is_over(self, state: RetryCallState) -> bool:
        return state.attempt_number >= TRIES or self._left() < self._waits[1] + _LEAST_SECONDS


def retry_after(reply: Reply, now: datetime) -> timedelta | None:
    """How long the platform wants to be left alone, by its Retry-After, where that is more than nothing."""
    return http.retry_after(reply.headers.get("retry-after"), now) or None


def _question(
    method: str, url: str, values: Values, headers: Values, basic: tuple[str, Secret] | None, *, single_use: bool
) -> _Question | None:
    """None where something in it cannot be sent: the client's own complaint would quote it."""
    sent = {name.lower(): _plain(value) for name, value in headers.items()}
    try:
        encoded = urlencode({name: _plain(value) for name, value in values.items()})
        if basic is not None:
            pair = f"{basic[0]}:{basic[1].reveal()}".encode()
            sent["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    except UnicodeError:
        return None
    if any(_HEADER.fullmatch(value) is None for value in sent.values()):
        return None
    if method == "GET":
        return _Question(method, f"{url}?{encoded}" if encoded else url, b"", sent, single_use)
    sent["content-type"] = "application/x-www-form-urlencoded"
    return _Question(method, url, encoded.encode(), sent, single_use)


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _send(question: _Question, seconds: float) -> _Arrived:
    with (
        http.client(timeout_seconds=seconds) as through,
        through.stream(
            question.method, question.url, content=question.content or None, headers=question.headers
        ) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        kept = {name: value for name, value in headers.items() if name not in _DROPPED}
        try:
            return _Arrived(response.status_code, kept, _bounded(response), broke_off=False)
        except httpx.TransportError:
            return _Arrived(response.status_code, kept, None, broke_off=True)


def _bounded(response: httpx.Response) -> bytes | None:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return None
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _judged(question: _Question, arrived: _Arrived) -> _Heard:
    if 300 <= arrived.status < 400:
        return _Heard(Refused(Trouble.UNKNOWN, "redirected", f"answered {arrived.status}: redirects are not followed"))
    document = _document(arrived.body)
    if 200 <= arrived.status < 300 and document is None and (question.single_use or arrived.broke_off):
        return _unanswered(question, "its answer was cut off" if arrived.broke_off else "its answer cannot be read")
    reply = Reply(arrived.status, arrived.headers, document or {}, is_json=document is not None)
    return _Heard(
        reply, again=arrived.status in _PASSING and not question.single_use and "retry-after" not in arrived.headers
    )


def _document(body: bytes | None) -> Mapping[str, Any] | None:
    """The JSON object, None where it is none."""
    try:
        found = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _unanswered(question: _Question, why: str) -> _Heard:
    """Something was sent, and may have had its effect."""
    if question.single_use:
        return _Heard(Refused(Trouble.LOST, "answer_lost", why))
    return _Heard(Refused(Trouble.TRANSIENT, "no_answer", why), again=True)


def _unsendable() -> Refused:
    return Refused(Trouble.UNKNOWN, "unsendable", "something in the question cannot be sent over HTTP")


def _why(error: httpx.TransportError) -> str:
    return "no answer in time" if isinstance(error, httpx.TimeoutException) else http.network_reason(error)


def _is_worth_another(heard: _Heard) -> bool:
    return heard.again


def _last(state: RetryCallState) -> _Heard:
    found: _Heard = cast(Future, state.outcome).result()
    return found
