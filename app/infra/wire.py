"""Connections that end at one deadline and go only where they may: the address that was judged is the one called.

httpx bounds each read, so a server that drips a byte a second would hold it for ever; here one deadline bounds
resolving, connecting, TLS, sending and receiving together.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from ssl import SSLContext
from typing import Any

import httpcore

from app import clock
from app.errors import Permanent
from app.infra.egress import Network, refusal

Resolve = Callable[[str, int], list[str]]

ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)
"""The monotonic moment at which whatever this thread has under way must be over."""


class Refused(Permanent):
    """The address may not be called from here."""


def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, as the system knows them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def remaining(late: type[Exception], end: float | None) -> float:
    """Seconds until `end`; raises `late` when it has passed."""
    left = 3600.0 if end is None else end - clock.monotonic()
    if left <= 0:
        raise late("out of time")
    return left


class Backend(httpcore.NetworkBackend):
    """Connects within the deadline. `allow` None: anywhere; else public addresses and these networks only."""

    def __init__(self, *, allow: tuple[Network, ...] | None, resolver: Resolve = resolve) -> None:
        self._allow = allow
        self._resolver = resolver
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first permitted address that answers. Raises Refused when none is permitted."""
        end = ends_at.get()
        failure: Exception | None = None
        for address in self._permitted(self._addresses(host, port, end)):
            left = remaining(httpcore.ConnectTimeout, end)
            wait = left if timeout is None else min(timeout, left)
            try:
                stream = self._inner.connect_tcp(address, port, wait, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, end)
        raise failure or httpcore.ConnectError("the host's name has no address")

    def _permitted(self, addresses: list[str]) -> list[str]:
        if self._allow is None:
            return addresses
        refusals = {address: refusal(address, self._allow) for address in addresses}
        permitted = [address for address, why in refusals.items() if why is None]
        if addresses and not permitted:
            raise Refused(
                f"its address may not be called ({', '.join(sorted({str(why) for why in refusals.values()}))})"
            )
        return permitted

    def _addresses(self, host: str, port: int, end: float | None) -> list[str]:
        """The system's resolver knows no time-out: it is waited for from outside, and left behind when it is late."""
        answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._resolver(host.strip("[]"), port))
            except (OSError, UnicodeError) as error:
                answer.put(error)

        threading.Thread(target=ask, name="resolve", daemon=True).start()
        try:
            found = answer.get(timeout=remaining(httpcore.ConnectTimeout, end))
        except queue.Empty:
            raise httpcore.ConnectTimeout("resolving the host's name took too long") from None
        if isinstance(found, list):
            return found
        try:
            raise found
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the host's name cannot be resolved") from error


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation ends at one moment."""

    def __init__(self, inner: httpcore.NetworkStream, end: float | None) -> None:
        self._inner = inner
        self._end = end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = remaining(httpcore.ReadTimeout, self._end)
        return self._inner.read(max_bytes, left if timeout is None else min(timeout, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = remaining(httpcore.WriteTimeout, self._end)
        self._inner.write(buffer, left if timeout is None else min(timeout, left))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = remaining(httpcore.ConnectTimeout, self._end)
        wait = left if timeout is None else min(timeout, left)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, wait), self._end)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
