"""What the stand-ins for platforms share: an HTTP server, a clock that a test sets, faults by account, counts.

Every secret that a stand-in makes has "canary-" in it, and what it says when it refuses repeats what it was sent: a
search for "canary-" finds any leak.
"""

from __future__ import annotations

import json
import secrets
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from app import clock

CANARY = "canary-"
PAGE = b"<!DOCTYPE html><html><body><h1>It is not you, it is us</h1></body></html>"


class Fault(StrEnum):
    """How a stand-in answers a question for a new token instead of well. `*_AFTER`, TRUNCATED: it has been given."""

    LIMITED = "limited"
    ERROR_500 = "error_500"
    PAGE_503 = "page_503"
    PAGE_404 = "page_404"
    HANG = "hang"
    HANG_AFTER = "hang_after"
    RESET = "reset"
    RESET_AFTER = "reset_after"
    TRUNCATED = "truncated"
    NO_TOKEN = "no_token"
    EXPIRY_MISSING = "expiry_missing"
    EXPIRY_ZERO = "expiry_zero"
    EXPIRY_TEXT = "expiry_text"
    EXPIRY_NONSENSE = "expiry_nonsense"
    DEAD = "dead"
    APP = "app"
    UNDOCUMENTED = "undocumented"


BEFORE = {
    Fault.LIMITED, Fault.ERROR_500, Fault.PAGE_503, Fault.PAGE_404, Fault.HANG, Fault.RESET, Fault.DEAD, Fault.APP,
    Fault.UNDOCUMENTED,
}  # fmt: skip
"""Faults by which nothing is given."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the last value of each name, headers' names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def bearer(self) -> str:
        """The token of the Authorization header."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `body` that is no bytes is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


HANG, RESET = Reply(0), Reply(-1)
"""No answer until the server ends; the connection is reset."""


@dataclass(slots=True)
class _Fault:
    what: Fault
    times: int | None


class Serving:
    """A stand-in on a free port of this host, for the length of a `with` block. Subclasses answer.

    `now`: its clock; None is the real one. `delay`: seconds before each answer.
    """

    def __init__(self) -> None:
        self.now: datetime | None = None
        self.delay = 0.0
        self.retry_after = "7"
        self.calls: Counter[tuple[str, str]] = Counter()
        """Questions by (what, account): what is "refresh", "exchange", "introspect" or "authorize"."""
        self.refreshed: Counter[str] = Counter()
        """By account: refreshes that were given."""
        self.reused: list[str] = []
        """Accounts whose used refresh token or code came again."""
        self.lock = threading.RLock()
        self._faults: dict[str, _Fault] = {}
        self._release = threading.Event()

    def answer(self, asked: Asked) -> Reply:
        """What is answered; called with the lock held."""
        raise NotImplementedError

    @property
    def moment(self) -> datetime:
        """What its clock shows."""
        return self.now or clock.now()

    def fail(self, fault: Fault, *accounts: str, times: int | None = None) -> None:
        """From now on, or `times` times, answer so: to these accounts, or without any to all."""
        with self.lock:
            self._faults |= {account: _Fault(fault, times) for account in accounts or ("",)}

    def heal(self, *accounts: str) -> None:
        """No faults for these accounts, or without any for none at all."""
        with self.lock:
            for account in accounts or list(self._faults):
                self._faults.pop(account, None)

    def fault(self, account: str) -> Fault | None:
        """How this question is to be answered, used up if it was to be so a number of times."""
        for key in (account, ""):
            found = self._faults.get(key)
            if found is None:
                continue
            if found.times is not None:
                found.times -= 1
                if found.times <= 0:
                    del self._faults[key]
            return found.what
        return None

    def __enter__(self) -> Self:
        serving = self

        class Handler(_Handler):
            stand_in = serving

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def handle(self, asked: Asked) -> Reply:
        """One request, as it is answered on the wire."""
        if self.delay:
            time.sleep(self.delay)
        with self.lock:
            found = self.answer(asked)
        if found is HANG:
            self._release.wait(60)
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None: ...


class _Handler(BaseHTTPRequestHandler):
    stand_in: Serving

    def do_GET(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(
            self.stand_in.handle(
                Asked(self.command, parts.path, _last(parts.query), _last(raw.decode("utf-8", "replace")), headers)
            )
        )

    do_POST = do_GET  # noqa: N815 - the base class's name

    def _send(self, reply: Reply) -> None:
        if reply is HANG:
            return
        if reply is RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        kind = "text/html" if isinstance(reply.body, bytes) else "application/json"
        self.send_response(reply.status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(raw)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()


def secret(kind: str) -> str:
    """A new secret of a stand-in, such as "access" or "code"."""
    return f"{CANARY}{kind}-{secrets.token_urlsafe(24)}"


def cut(document: Mapping[str, Any]) -> Reply:
    """A success whose JSON ends in the middle."""
    raw = json.dumps(document).encode()
    return Reply(200, raw[: len(raw) * 2 // 3], {"Content-Type": "application/json"})


def expiry(document: dict[str, Any], name: str, fault: Fault | None) -> dict[str, Any]:
    """`document` with its seconds written as the fault has it."""
    match fault:
        case Fault.EXPIRY_MISSING:
            return {key: value for key, value in document.items() if key != name}
        case Fault.EXPIRY_ZERO:
            return document | {name: 0}
        case Fault.EXPIRY_TEXT:
            return document | {name: str(document[name])}
        case Fault.EXPIRY_NONSENSE:
            return document | {name: secret("expiry")}
    return document


def seconds(life: timedelta) -> int:
    """As platforms write a length of time."""
    return max(0, int(life.total_seconds()))


def _last(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
