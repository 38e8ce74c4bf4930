"""The process's shared HTTP clients, whose every socket operation ends at the deadline of the probe that runs it.

httpx bounds each read, so a server that drips one byte a second holds it for ever; here the thread's deadline bounds
them all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpcore
import httpx
from httpcore._backends.sync import SyncStream

from app.health.probes import _network
from app.health.probing import Deadline, TimedOut

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_current = threading.local()


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Bound this thread's HTTP traffic by `deadline`."""
    _current.deadline = deadline
    try:
        yield
    finally:
        _current.deadline = None


def _remaining(timeout: float | None, late: type[Exception]) -> float | None:
    deadline: Deadline | None = getattr(_current, "deadline", None)
    if deadline is None:
        return timeout
    try:
        left = deadline.remaining()
    except TimedOut:
        raise late("the probe's time is over") from None
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """Another stream under the thread's deadline."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _remaining(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _remaining(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects within the thread's deadline, whatever the number of the host's addresses."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        del local_address, socket_options  # the pool is made without either
        left = _remaining(timeout, httpcore.ConnectTimeout)
        try:
            sock = _network.connect(host, port, Deadline(left or 1.0))
        except (TimedOut, TimeoutError) as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(SyncStream(sock))


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool that uses the backend above."""

    def __init__(self, verify: Any) -> None:
        super().__init__(verify=verify, trust_env=False, limits=_LIMITS)
        context = self._pool._ssl_context
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=None, max_keepalive_connections=0, network_backend=_Backend()
        )


@lru_cache(maxsize=16)
def client(*, verify: bool, ca_file: Path | None) -> httpx.Client:
    """A client of this process for one way of trusting: making an SSL context costs 20 ms and half a megabyte."""
    context = httpx.create_ssl_context(verify=verify, trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return httpx.Client(transport=_Transport(context), trust_env=False, follow_redirects=False, timeout=None)  # noqa: S113
