"""The one way out: HTTP clients with one deadline for everything, and a guard for addresses that others chose.

Nothing here reads proxies or certificates from the environment, keeps a connection, or follows a redirect unasked.
Errors name the host and never the rest of an address: paths and queries carry secrets.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import httpcore
import httpx

from app import clock
from app.errors import Permanent, Transient
from app.infra import egress, wire

MAX_BODY_BYTES = 1_048_576
MAX_RETRY_AFTER = timedelta(hours=1)
BUSY = frozenset({408, 425, 429})
"""Statuses besides 5xx that are worth another try."""
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side answered: a success (2xx), except to `attempt`."""

    status: int
    headers: httpx.Headers
    body: bytes


def client(*, timeout_seconds: float, verify: bool = True) -> httpx.Client:
    """A client for addresses that the operator configured. `timeout_seconds` bounds a whole exchange."""
    return _client(wire.Backend(allow=None), timeout_seconds=timeout_seconds, verify=verify, max_redirects=0)


def guarded_client(
    *,
    allow: tuple[str, ...],
    timeout_seconds: float = 10.0,
    max_redirects: int = 0,
    resolve: wire.Resolve = wire.resolve,
) -> httpx.Client:
    """A client for addresses that tenants and callers gave: public ones, and networks in `allow` (CIDRs), only.

    A name is resolved once, and the address that was judged is the one that is called; so is each redirect's.
    Raises `wire.Refused` where it may not go.
    """
    backend = wire.Backend(allow=egress.networks(allow), resolver=resolve)
    return _client(backend, timeout_seconds=timeout_seconds, verify=True, max_redirects=min(max_redirects, 3))


def exchange(
    through: httpx.Client,
    method: str,
    url: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """One request and its whole answer. Raises Transient for what another try may cure, else Permanent."""
    with (
        _one_deadline(through),
        errors_of(url),
        through.stream(method, url, content=content, headers=headers) as response,
    ):
        raise_for_status(response)
        return Answer(response.status_code, response.headers, read_bounded(response, max_body_bytes))


def attempt(
    through: httpx.Client, method: str, url: str, *, content: bytes, headers: Mapping[str, str], max_body_bytes: int
) -> Answer:
    """One request and its answer, whatever its status. Raises Transient where none came, Permanent where none can.

    A status is an answer even when its body breaks off, comes too late or is too long: what came of it is kept.
    """
    with (
        _one_deadline(through),
        errors_of(url),
        through.stream(method, url, content=content, headers=headers) as response,
    ):
        body = bytearray()
        with suppress(httpx.TransportError):
            for chunk in response.iter_raw():
                body += chunk
                if len(body) >= max_body_bytes:
                    break
        return Answer(response.status_code, response.headers, bytes(body[:max_body_bytes]))


def post_guarded(
    url: str, *, content: bytes, headers: Mapping[str, str], allow: tuple[str, ...], timeout_seconds: float
) -> int:
    """POST to an address that a caller gave; the status (2xx). What is answered besides is not read.

    Raises Transient (with `retry_after` where the other side named one) or Permanent.
    """
    with (
        guarded_client(allow=allow, timeout_seconds=timeout_seconds) as through,
        errors_of(url),
        through.stream("POST", url, content=content, headers=headers) as response,
    ):
        raise_for_status(response)
        return response.status_code


def read_bounded(response: httpx.Response, limit: int) -> bytes:
    """The body of a streamed response. Raises Permanent when it is larger than `limit` bytes, or compressed unasked."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Permanent("answers compressed although it was asked not to")
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit:
            raise Permanent(f"answers with more than {limit} bytes")
    return bytes(body)


def raise_for_status(response: httpx.Response) -> None:
    """Nothing for 2xx; Transient for 408, 425, 429 and 5xx; Permanent for the rest."""
    status = response.status_code
    if 200 <= status < 300:
        return
    if status in BUSY or status >= 500:
        wait = retry_after(response.headers.get("retry-after"), clock.now())
        raise Transient(f"answered {status}", retry_after=wait)
    if 300 <= status < 400:
        raise Permanent(f"answered {status}: redirects are not followed")
    raise Permanent(f"answered {status}")


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """What a Retry-After header (seconds or an HTTP date) asks for, at most MAX_RETRY_AFTER; None for nonsense."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:6])), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
        wait = moment.replace(tzinfo=moment.tzinfo or UTC) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return max(timedelta(), min(wait, MAX_RETRY_AFTER))


@contextmanager
def errors_of(url: str) -> Iterator[None]:
    """Raise httpx's errors as ours, naming only the scheme, host and port of `url`."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Transient(f"{_origin(url)}: no answer in time") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
        raise Permanent(f"{_origin(url)}: is no http:// or https:// address that can be called") from None
    except httpx.TooManyRedirects:
        raise Permanent(f"{_origin(url)}: redirects too often") from None
    except httpx.TransportError as error:
        raise Transient(f"{_origin(url)}: {network_reason(error)}") from error
    except Transient as error:
        raise Transient(f"{_origin(url)}: {error}", retry_after=error.retry_after) from None
    except wire.Refused as error:
        raise wire.Refused(f"{_origin(url)}: {error}") from None
    except Permanent as error:
        raise Permanent(f"{_origin(url)}: {error}") from None


class _Transport(httpx.BaseTransport):
    """httpx over a pool that keeps no connection, with one deadline per request."""

    def __init__(self, backend: wire.Backend, *, seconds: float, verify: bool) -> None:
        self.seconds = seconds
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(verify), max_connections=None, max_keepalive_connections=0, network_backend=backend
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        outer = wire.ends_at.get()
        token = wire.ends_at.set(clock.monotonic() + self.seconds if outer is None else outer)
        stream: Any = request.stream
        try:
            with _as_httpx():
                found = self._pool.handle_request(
                    httpcore.Request(
                        request.method, url, headers=request.headers.raw, content=stream, extensions=request.extensions
                    )
                )
        finally:
            wire.ends_at.reset(token)
        return httpx.Response(found.status, headers=found.headers, stream=_Body(found), extensions=found.extensions)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


def _client(backend: wire.Backend, *, timeout_seconds: float, verify: bool, max_redirects: int) -> httpx.Client:
    return httpx.Client(
        transport=_Transport(backend, seconds=timeout_seconds, verify=verify),
        timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS)),
        headers={"user-agent": "smm-admin", "accept-encoding": "identity"},
        follow_redirects=max_redirects > 0,
        max_redirects=max_redirects,
        trust_env=False,
    )


@lru_cache(maxsize=2)
def _tls(verify: bool) -> ssl.SSLContext:
    """One context per process: each costs 20 ms and half a megabyte."""
    return httpx.create_ssl_context(verify=verify, trust_env=False)


@contextmanager
def _one_deadline(through: httpx.Client) -> Iterator[None]:
    """All redirects of one exchange share its deadline."""
    token = wire.ends_at.set(clock.monotonic() + (through.timeout.read or 0))
    try:
        yield
    finally:
        wire.ends_at.reset(token)


_SAME_NAMES = (
    httpcore.ConnectTimeout,
    httpcore.ReadTimeout,
    httpcore.WriteTimeout,
    httpcore.PoolTimeout,
    httpcore.ConnectError,
    httpcore.ReadError,
    httpcore.WriteError,
    httpcore.UnsupportedProtocol,
    httpcore.LocalProtocolError,
    httpcore.RemoteProtocolError,
)


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except _SAME_NAMES as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise kind(str(error)) from error


def _origin(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return "the address"
    return f"{parts.scheme}://{parts.netloc.decode('ascii', 'replace')}" if parts.host else "the address"


def network_reason(error: BaseException) -> str:
    """Why nothing came of a connection, in words without addresses."""
    seen: BaseException | None = error
    while seen is not None:
        match seen:
            case ssl.SSLCertVerificationError():
                return f"its certificate is refused: {seen.verify_message}"
            case socket.gaierror() | UnicodeError():
                return "its name cannot be resolved"
            case ConnectionRefusedError():
                return "connection refused"
            case httpx.RemoteProtocolError():
                return "its answer is no HTTP"
        seen = seen.__cause__ or seen.__context__
    return "the connection failed"
