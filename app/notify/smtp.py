"""smtplib over a connection with one deadline that goes only where it may; its troubles as Transient and Permanent."""

from __future__ import annotations

import io
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import httpcore
import httpx

from app import clock
from app.errors import Permanent, Transient
from app.infra import egress, wire
from app.infra.http import network_reason
from app.infra.scrub import scrub_text
from app.notify.text import fit, one_line

Security = Literal["starttls", "tls", "none"]
PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
_CHUNK = 65_536
_REASON = 200
_HELLO = "[127.0.0.1]"
"""What smtplib says, too, where a host knows no full name of its own; asking for one may hang."""


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server and how it is spoken to. Without `username` nobody logs in."""

    host: str
    port: int
    security: Security
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    verify_tls: bool = True
    ca_file: Path | None = None

    @property
    def shown(self) -> str:
        return f"smtp://{self.host}:{self.port}"


def submit(
    server: Server, *, sender: str, to: list[str], content: bytes, allow: tuple[str, ...], timeout_seconds: float
) -> dict[str, int]:
    """Hand one message over; the addresses that were refused with their codes, while others were accepted.

    Raises Transient for network trouble and codes 4xx, Permanent for codes 5xx and what the server cannot do.
    """
    token = wire.ends_at.set(clock.monotonic() + timeout_seconds)
    client = _Client(server, allow, timeout_seconds)
    try:
        with _errors_of(server):
            client.open()
            _prepare(client, server)
            refused = client.sendmail(sender, to, content)
        with suppress(smtplib.SMTPException, OSError, httpcore.TimeoutException, httpcore.NetworkError):
            client.quit()
    finally:
        client.close()
        wire.ends_at.reset(token)
    return {address: code for address, (code, _) in refused.items()}


def _prepare(client: _Client, server: Server) -> None:
    if server.security == "starttls":
        # smtplib asks of a context only that it wraps its socket
        client.starttls(context=cast(ssl.SSLContext, client))
    if server.username is not None:
        client.login(server.username, server.password or "")


class _Client(smtplib.SMTP):
    """smtplib's client over our own stream."""

    def __init__(self, server: Server, allow: tuple[str, ...], seconds: float) -> None:
        super().__init__(local_hostname=_HELLO, timeout=seconds)
        self._server = server
        self._seconds = seconds
        self._backend = wire.Backend(allow=egress.networks(allow))
        self._tls = _context(server.verify_tls, server.ca_file)
        self._host = server.host

    def open(self) -> None:
        """Connect and be greeted."""
        code, words = self.connect(self._server.host, self._server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)

    def wrap_socket(self, sock: Any, server_hostname: str) -> Any:
        """The stream of `sock` over TLS."""
        return _Socket(sock.stream.start_tls(self._tls, server_hostname, self._seconds))

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        sock = _Socket(self._backend.connect_tcp(host, port, timeout))
        return self.wrap_socket(sock, host) if self._server.security == "tls" else sock


class _Socket:
    """As much of a socket as smtplib uses."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self.stream = stream

    def sendall(self, data: bytes) -> None:
        """In pieces: each write looks at the deadline once."""
        for start in range(0, len(data), _CHUNK):
            self.stream.write(data[start : start + _CHUNK])

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self.stream))

    def close(self) -> None:
        self.stream.close()


class _Incoming(io.RawIOBase):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._stream.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


@lru_cache(maxsize=8)
def _context(verify: bool, ca_file: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=verify, trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context


@contextmanager
def _errors_of(server: Server) -> Iterator[None]:
    try:
        yield
    except wire.Refused as error:
        raise wire.Refused(f"{server.shown}: {error}") from None
    except httpcore.TimeoutException as error:
        raise Transient(f"{server.shown}: no answer in time") from error
    except smtplib.SMTPRecipientsRefused as error:
        raise _refusal(server, "the address", list(error.recipients.values())) from None
    except smtplib.SMTPResponseException as error:
        raise _refusal(server, _asked(error), [(error.smtp_code, error.smtp_error)]) from None
    except smtplib.SMTPNotSupportedError as error:
        raise Permanent(f"{server.shown}: {error}") from None
    except smtplib.SMTPServerDisconnected as error:
        raise Transient(f"{server.shown}: closed the connection") from error
    except (httpcore.NetworkError, smtplib.SMTPException, OSError) as error:
        raise Transient(f"{server.shown}: {network_reason(error)}") from error


def _asked(error: smtplib.SMTPResponseException) -> str:
    match error:
        case smtplib.SMTPConnectError():
            return "the connection"
        case smtplib.SMTPAuthenticationError():
            return "the login"
        case smtplib.SMTPSenderRefused():
            return "the sender"
        case smtplib.SMTPDataError():
            return "the message"
        case _:
            return "the greeting"


def _refusal(server: Server, what: str, answers: list[tuple[int, bytes | str]]) -> Transient | Permanent:
    """5xx is final when every answer is; what is no code at all comes from something else than a mail server."""
    code, words = answers[0]
    said = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    message = f"{server.shown}: answered {code} to {what}: {fit(scrub_text(one_line(said)), _REASON)}"
    return Permanent(message) if all(500 <= number < 600 for number, _ in answers) else Transient(message)
