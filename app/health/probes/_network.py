"""Sockets with one deadline for everything, and their troubles in plain words without addresses or secrets."""

from __future__ import annotations

import errno
import socket
import ssl

from app.health.probing import Deadline, TimedOut
from app.health.results import ProbeError

_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A TCP connection to the first address of `host` that answers. Raises OSError, TimedOut."""
    failure: OSError | None = None
    for family, kind, proto, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            sock.settimeout(deadline.remaining())
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        except TimedOut:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError("the name has no address")


def describe(error: BaseException, seconds: float) -> ProbeError:
    """The innermost known cause of a network failure; `seconds` is how long the probe was allowed."""
    for cause in _chain(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return ProbeError("tls", f"certificate refused: {cause.verify_message}")
            case socket.gaierror():
                return ProbeError("dns", "the host's name cannot be resolved")
            case ConnectionRefusedError():
                return ProbeError("refused", "connection refused")
            case ConnectionResetError() | BrokenPipeError():
                return ProbeError("reset", "the other side closed the connection")
            case TimedOut() | TimeoutError():
                return ProbeError("timeout", f"no answer within {seconds:g} s")
            case ssl.SSLError():
                return ProbeError("tls", f"TLS failed: {cause.reason or 'no reason given'}")
            case OSError() if cause.errno in _NO_ROUTE:
                return ProbeError("unreachable", "no route to the host")
    return ProbeError("network", type(error).__name__)


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain[::-1]
