"""Local servers in the shape of the services that channels talk to: they record what they got and answer as told."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from app.catalog import Channel
from app.notify import ChannelSpec, resolve
from tests.fixtures.waiting import until
from tests.health.local import closed_port

LOCAL = ("127.0.0.0/8",)
TOKEN = "123456789:AAtelegram-token-of-tests_0123456789"
SECRET_PATH = "T0SECRET/B0SECRET/s3cretPartOfTheAddress"
ROUTING_KEY = "r0utingkey0fTests0123456789abcde"
PASSWORD = "c0rrect-horse"
HTTP_KINDS = ("discord", "pagerduty", "slack", "teams", "telegram", "webhook")

How = Literal["answer", "hang", "close", "cut", "drip", "garbage"]


@dataclass(frozen=True)
class Request:
    """One request as it came; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Scripted:
    """One answer. `how`: "hang" says nothing until the server ends, "close" closes without a word, "cut" announces
    more than it sends, "drip" sends headers for ever, "garbage" is no HTTP."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    how: How = "answer"

    @property
    def raw(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class ChannelServer(ThreadingHTTPServer):
    """Telegram, Slack, Discord, PagerDuty, Teams and a webhook in one: answers by path as the service would.

    `will(...)` scripts the next answers; `always` is given whenever nothing is scripted.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.requests: list[Request] = []
        self.always: Scripted | None = None
        self.released = threading.Event()
        self._scripted: deque[Scripted] = deque()
        self._lock = threading.Lock()

    @property
    def base(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def will(self, *answers: Scripted) -> None:
        """Give these answers next, in order."""
        self._scripted.extend(answers)

    def got(self, number: int = 1, *, seconds: float = 20.0) -> list[Request]:
        """The requests, once there are at least `number`."""
        until(lambda: len(self.requests) >= number, seconds=seconds, what=f"{number} requests")
        return self.requests

    def options(self, kind: str) -> dict[str, Any]:
        """The catalogue's options of a channel of that kind that ends here."""
        return http_options(kind, self.base)

    def spec(self, kind: str, **fields: Any) -> ChannelSpec:
        """A channel of that kind that ends here. Channel's own fields by name; `options` replaces single options."""
        return spec_of(kind, self.options(kind) | fields.pop("options", {}), **fields)

    def take(self, request: Request) -> Scripted:
        """Record the request; what to answer."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
            if self._scripted:
                return self._scripted.popleft()
        return self.always or usual(request, number)

    def handle_error(self, *_: object) -> None:
        """A client that left is no error of a test."""


def http_options(kind: str, base: str) -> dict[str, Any]:
    """Options of a channel of that kind that ends at `base`."""
    return {
        "telegram": {"token": TOKEN, "chat_id": "-1001", "base_url": base},
        "slack": {"webhook_url": f"{base}/services/{SECRET_PATH}"},
        "discord": {"webhook_url": f"{base}/api/webhooks/1/{SECRET_PATH}"},
        "pagerduty": {"routing_key": ROUTING_KEY, "base_url": base},
        "teams": {"webhook_url": f"{base}/workflows/{SECRET_PATH}?sig=s3cretSignature"},
        "webhook": {"url": f"{base}/hook/{SECRET_PATH}", "secret": "s3cretOfTheHook"},
    }[kind]


def spec_of(kind: str, options: dict[str, Any], **fields: Any) -> ChannelSpec:
    """A resolved channel that may reach this host."""
    return resolve(
        Channel.model_validate({"name": kind, "kind": kind, "allow": LOCAL, "timeout": 3, "options": options} | fields)
    )


def usual(request: Request, number: int) -> Scripted:
    """What the service of that path answers when all is well."""
    path = request.path.partition("?")[0]
    if path.startswith("/bot"):
        return Scripted(body={"ok": True, "result": {"message_id": number}})
    if path.startswith("/api/webhooks/"):
        return Scripted(body={"id": f"90071992547409{number:02}"})
    if path == "/v2/enqueue":
        return Scripted(
            202, {"status": "success", "message": "Event processed", "dedup_key": request.json["dedup_key"]}
        )
    return Scripted(202 if path.startswith("/workflows/") else 200, "ok" if path.startswith("/services/") else "")


class _Handler(BaseHTTPRequestHandler):
    server: ChannelServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._give(self.server.take(Request(self.path, headers, body)))

    def _give(self, answer: Scripted) -> None:
        match answer.how:
            case "hang":
                self.server.released.wait(30)
            case "garbage":
                self.wfile.write(b"220 mail ready\r\n")
            case "answer" | "cut" | "drip":
                self._head(answer)
            case "close":
                self.close_connection = True

    def _head(self, answer: Scripted) -> None:
        self.send_response(answer.status)
        length = len(answer.raw) + (1000 if answer.how != "answer" else 0)
        for name, value in {"content-length": str(length), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.raw)
        if answer.how == "drip":
            while not self.server.released.wait(0.1):
                self.wfile.write(b".")
        self.close_connection = True

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def channel_server(host: str = "127.0.0.1") -> Iterator[ChannelServer]:
    """A running one."""
    with ChannelServer(host) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join(10)


class MailServer:
    """A real SMTP server. `replies` maps a command ("RCPT", "DATA") to the code and words it is answered with.

    `refused` are addresses that RCPT refuses with 550; `letters` what was taken, in order.
    """

    def __init__(self) -> None:
        self.port = 0
        self.replies: dict[str, str] = {}
        self.refused: set[str] = set()
        self.letters: list[Letter] = []

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "MAIL" in self.replies:
            return self.replies["MAIL"]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 5.1.1 nobody of that name"
        if "RCPT" in self.replies:
            return self.replies["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" in self.replies:
            return self.replies["DATA"]
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self.letters.append(
            Letter(
                sender=str(envelope.mail_from),
                to=tuple(envelope.rcpt_tos),
                raw=content,
                over_tls=session.ssl is not None,
                login=session.auth_data.login.decode() if isinstance(session.auth_data, LoginPassword) else None,
            )
        )
        return "250 OK"

    def options(self) -> dict[str, Any]:
        """The catalogue's options of an e-mail channel that ends here, in the clear."""
        return mail_options(self.port)

    def spec(self, **fields: Any) -> ChannelSpec:
        """Such a channel. Channel's own fields by name; `options` replaces single options."""
        return spec_of("email", self.options() | fields.pop("options", {}), **fields)

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> Any:
        good = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
        return AuthResult(success=good, handled=good, auth_data=data)


def mail_options(port: int) -> dict[str, Any]:
    """Options of an e-mail channel that ends at that port of this host, in the clear."""
    sender = "Operations <ops@example.com>"
    return {"host": "127.0.0.1", "port": port, "security": "none", "from": sender, "to": ["ann@example.com"]}


@dataclass(frozen=True)
class Letter:
    """One message that the mail server took."""

    sender: str
    to: tuple[str, ...]
    raw: bytes
    over_tls: bool
    login: str | None

    @property
    def mail(self) -> EmailMessage:
        found = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found

    def body(self, kind: Literal["plain", "html"]) -> str:
        part = self.mail.get_body((kind,))
        assert part is not None
        return str(part.get_content())


@contextmanager
def mail_server(
    *, certificate: Path | None = None, implicit: bool = False, login: bool = False
) -> Iterator[MailServer]:
    """A running one; with a certificate it wants STARTTLS, or speaks TLS from the first byte."""
    handler = MailServer()
    handler.port = closed_port()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    more: dict[str, Any] = {"authenticator": handler.authenticate, "auth_required": True} if login else {}
    more |= {"auth_require_tls": certificate is not None and not implicit}
    more |= {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": context is not None}
    running = Controller(handler, hostname="127.0.0.1", port=handler.port, **more)
    running.start()
    try:
        yield handler
    finally:
        running.stop()
