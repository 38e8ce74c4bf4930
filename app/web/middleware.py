"""What every request passes through: an id, an access log line, security headers, bounded bodies.

Plain ASGI, so that nothing is buffered twice and contexts reach the thread an endpoint runs in.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.errors import Problem
from app.infra import ids, logging
from app.web.errors import problem

log = logging.get_logger("app.web.access")

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = frozenset({"/healthz", "/metrics"})
"""Paths asked every few seconds by machines: logged at debug unless they fail."""

_LINKS = ("/a/", "/connect/")
"""Where the pages behind links in messages are; what follows is the right to act."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


HEADERS = "smm.headers"
"""Key of the scope: what further in wants to see in every answer, also in that to a crash; names and values."""


class RequestContext:
    """Outermost: binds the request's id to the log, writes the access line, and turns a crash into a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else ids.uuid7().hex
        scope["smm.request_id"] = request_id
        logging.clear()
        logging.bind(request_id=request_id)
        answer = _Answer(scope, send, request_id)
        started = clock.monotonic()
        try:
            await self.app(scope, receive, answer)
        except Exception:
            log.exception("request failed")
            if answer.status is not None:
                raise
            await problem(500, "something went wrong here; the log has it under this id", request_id=request_id)(
                scope, receive, answer
            )
        finally:
            _access_line(scope, answer.status, clock.monotonic() - started)


class _Answer:
    """The way back: adds the headers every response carries and remembers the status."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            headers.update(self._scope.get(HEADERS, {}))
        await self._send(message)


def _access_line(scope: Scope, status: int | None, seconds: float) -> None:
    path = _path(scope)
    fine = status is not None and status < 500
    write: Callable[..., object] = log.debug if fine and path in _QUIET else log.info
    client = scope.get("client")
    write(
        "request",
        method=scope["method"],
        path=path,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        client=client[0] if client else None,
    )


def _path(scope: Scope) -> str:
    """The path as it may be logged: who has a message's link may use it."""
    for beginning in _LINKS:
        if scope["path"].startswith(beginning):
            return f"{beginning}***"
    raw: bytes = scope.get("raw_path", b"")
    return raw.split(b"?", 1)[0][:200].decode("ascii", "replace")


class BodyLimit:
    """Reads a body whole, up to a size and within a time, before anything acts on it; chunked ones are counted too.

    `larger`: the size for paths that take more than others.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, seconds: float = 30, larger: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger or {}
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = _refuse_nul(scope)
        body = b""
        if refusal is None and _has_body(scope):
            try:
                async with asyncio.timeout(self.seconds):
                    read = await self._read(scope, receive)
            except TimeoutError:
                read = _refusal(scope, 408, f"the body did not arrive within {self.seconds:g} s")
            if isinstance(read, bytes):
                body = read
            else:
                refusal = read
        if refusal is not None:
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | Response:
        most = self.larger.get(scope["path"], self.max_bytes)
        too_large = _refusal(scope, 413, f"the body is larger than {most} bytes (SMM_BODY_MAX_BYTES)")
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > most:
            return too_large
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return _refusal(scope, 400, "the body ended early")
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                return too_large
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _refuse_nul(scope: Scope) -> Response | None:
    """Postgres holds no NUL in text: such an address can name nothing that exists."""
    if "\0" in scope["path"]:
        return _refusal(scope, 404, "no such path")
    if b"%00" in scope["query_string"]:
        return problem(
            422,
            "the request is not valid",
            request_id=scope.get("smm.request_id"),
            errors=[Problem("query", "holds a NUL character")],
        )
    return None


def _refusal(scope: Scope, status: int, detail: str) -> Response:
    return problem(status, detail, request_id=scope.get("smm.request_id"))


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
