"""Real servers of this host that behave and misbehave: HTTP in every mood, a port that hangs, a port that is closed."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


class _Handler(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, dict[str, str]]]] = []
    release: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers.items())))
        getattr(self, "on_" + self.path.strip("/").split("/")[0].split("?")[0])()

    def on_ok(self) -> None:
        self._answer(200, b"all is well")

    def on_error(self) -> None:
        self._answer(500, b"oh no")

    def on_json(self) -> None:
        self._answer(200, json.dumps({"status": "ok", "db": {"up": True, "lag": 1}}).encode())

    def on_badjson(self) -> None:
        self._answer(200, b'{"status": ')

    def on_redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/ok")
        self.end_headers()

    def on_away(self) -> None:
        """Redirect to the address in the query: another origin."""
        self.send_response(302)
        self.send_header("Location", self.path.split("?", 1)[1])
        self.end_headers()

    def on_loop(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/loop")
        self.end_headers()

    def on_hang(self) -> None:
        self.release.wait(30)

    def on_hangbody(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.flush()
        self.release.wait(30)

    def on_drip(self) -> None:
        """One header byte every 50 ms: each read succeeds, the answer never ends."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.release.wait(0.05):
            self.wfile.write(b"a")
            self.wfile.flush()

    def on_huge(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while not self.release.is_set():
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass

    def on_garbage(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_: object) -> None: ...


class Web:
    """A running HTTP server: its address and what it was asked."""

    def __init__(self, server: ThreadingHTTPServer, scheme: str, seen: list[tuple[str, dict[str, str]]]) -> None:
        self.port = server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.seen = seen


@contextmanager
def web(certificate: Path | None = None, port: int = 0) -> Iterator[Web]:
    """An HTTP server, over TLS with `certificate` (a PEM file with key and certificate)."""
    handler = type("Handler", (_Handler,), {"seen": [], "release": threading.Event()})
    server = _Server(("127.0.0.1", port), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Web(server, "https" if certificate else "http", handler.seen)
    finally:
        handler.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
