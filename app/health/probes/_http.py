"""What the probes that speak HTTP share: options of an address, bounded questions, failures in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, field_validator

from app import __version__, clock
from app.health.probes import _client, _network
from app.health.probing import Deadline, Options, Outcome, Target, TimedOut, failed, milliseconds_since
from app.health.results import ProbeError

TROUBLES = (httpx.HTTPError, httpx.InvalidURL, OSError, TimedOut)
"""Whatever a question may raise; `failure` and `describe` have words for all of it."""

HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"smm-admin/{__version__}"}
_MAX_BYTES = 4_194_304
_STATUS = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")


def _statuses(value: str) -> str:
    if not all(_STATUS.fullmatch(part.strip()) for part in value.split(",")):
        raise ValueError('must be statuses or ranges such as "200-299,401"')
    return value


def _sendable(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("must be printable ASCII characters, at least one")
    return value


Statuses = Annotated[str, AfterValidator(_statuses)]
"""Accepted statuses, as in "200-299,401"."""

HeaderSecret = Annotated[SecretStr, AfterValidator(_sendable)]
"""What can be sent in a header."""


class Address(Options):
    """Where an HTTP service is, and how far its certificate is trusted."""

    url: AnyHttpUrl = Field(description="address of the service, without a path of its own")
    verify_tls: bool = Field(default=True, description="refuse certificates that cannot be verified")
    ca_file: Path | None = Field(default=None, description="PEM file of a private certificate authority")

    @field_validator("ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("is no file")
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whatever its status; of a body that was longer, the beginning."""

    status: int
    body: bytes
    latency_ms: float

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Is it our login that is not good enough?"""
        return self.status in (401, 403)

    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Asking:
    """Questions to one service, all within one deadline. Raises what is in TROUBLES."""

    def __init__(self, client: httpx.Client, base: str, headers: Mapping[str, str], deadline: Deadline) -> None:
        self._client = client
        self._base = base
        self._headers = {**HEADERS, **headers}
        self._deadline = deadline

    def get(self, path: str = "", query: Mapping[str, str] | None = None, *, max_bytes: int = _MAX_BYTES) -> Answer:
        """GET a path below the address; `query` is added to what the address has."""
        started = clock.monotonic()
        url = httpx.URL(self._base.rstrip("/") + path if path else self._base).copy_merge_params(query or {})
        request = self._client.build_request("GET", url, headers=self._headers)
        response = self._client.send(request, stream=True, follow_redirects=False)
        try:
            body = b"".join(read(response, max_bytes, self._deadline))
        finally:
            response.close()
        return Answer(response.status_code, body, milliseconds_since(started))


@contextmanager
def asking(target: Target, options: Address, headers: Mapping[str, str] | None = None) -> Iterator[Asking]:
    """Ask the service at the address, within the time of this probe."""
    deadline = target.deadline()
    client = _client.client(verify=options.verify_tls, ca_file=options.ca_file)
    with _client.within(deadline):
        yield Asking(client, str(options.url), headers or {}, deadline)


def accepts(statuses: str, status: int) -> bool:
    """Is the status among the accepted ones?"""
    found = (_STATUS.fullmatch(part.strip()) for part in statuses.split(","))
    return any(int(match[1]) <= status <= int(match[2] or match[1]) for match in found if match)


def read(response: httpx.Response, limit: int, deadline: Deadline) -> Iterator[bytes]:
    """At most `limit` bytes of a streamed body. Raises TimedOut."""
    left = limit
    for chunk in response.iter_raw():
        deadline.remaining()
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def describe(error: Exception, seconds: float) -> ProbeError:
    """What went wrong, without addresses, which may hold secrets."""
    match error:
        case httpx.TimeoutException():
            return _network.describe(TimedOut(), seconds)
        case httpx.RemoteProtocolError():
            return ProbeError("protocol", "the answer is not HTTP, or was cut off")
        case _:
            return _network.describe(error, seconds)


def failure(error: Exception, seconds: float) -> Outcome:
    """The outcome of a probe that got no answer."""
    found = describe(error, seconds)
    return failed(found.code, found.text)
