"""Real local servers, well-behaved and not, and what the product's clients make of them."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Permanent, Transient
from app.infra import http
from app.infra.wire import Refused

LOCAL = ("127.0.0.0/8",)
SECRET = "hunter2-in-the-query"


class Server(ThreadingHTTPServer):
    """Answers as its paths say; remembers what it was asked."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.seen: list[tuple[str, str, bytes]] = []
        self.redirect_to = ""

    def url(self, path: str) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", 0))
        self.server.seen.append((self.path, self.headers["host"], self.rfile.read(length)))
        path = self.path.partition("?")[0]
        match path.strip("/").split("/"):
            case ["status", code]:
                self._answer(int(code))
            case ["busy", wait]:
                self._answer(429, {"retry-after": wait})
            case ["redirect"]:
                self._answer(302, {"location": self.server.redirect_to})
            case ["drip"]:
                self._drip()
            case ["huge"]:
                self._huge()
            case ["gzip"]:
                self._answer(200, {"content-encoding": "gzip"})
            case ["hang"]:
                time.sleep(8)
            case _:
                self._answer(200, body=b"hello")

    do_POST = do_GET  # noqa: N815

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            self.close_connection = True

    def _huge(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(10_000):
                self.wfile.write(b"x" * 65_536)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[Server]:
    with Server(host) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def get(url: str, *, seconds: float = 3.0) -> http.Answer:
    with http.client(timeout_seconds=seconds) as client:
        return http.exchange(client, "GET", url)


def guarded(
    url: str, *, allow: tuple[str, ...] = (), redirects: int = 0, resolve: Callable[[str, int], list[str]] | None = None
) -> http.Answer:
    given = {} if resolve is None else {"resolve": resolve}
    with http.guarded_client(allow=allow, timeout_seconds=3, max_redirects=redirects, **given) as client:
        return http.exchange(client, "GET", url)


def test_an_answer_comes_with_its_status_headers_and_body(server: Server) -> None:
    answer = get(server.url("/x"))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"hello", "5")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_or_broken_server_is_worth_another_try(server: Server, status: int) -> None:
    with pytest.raises(Transient, match=f"answered {status}"):
        get(server.url(f"/status/{status}"))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 422])
def test_a_refusal_is_final(server: Server, status: int) -> None:
    with pytest.raises(Permanent, match=f"answered {status}"):
        get(server.url(f"/status/{status}"))


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("999999999", 3600), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)])
def test_the_wait_that_a_server_names_is_kept_within_bounds(server: Server, said: str, seconds: int) -> None:
    with pytest.raises(Transient) as caught:
        get(server.url(f"/busy/{said}".replace(" ", "%20")) if " " not in said else server.url("/busy/0"))
    assert caught.value.retry_after == timedelta(seconds=seconds)


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Transient, match="connection refused"):
            get(f"http://127.0.0.1:{held.getsockname()[1]}/")


def test_a_name_that_does_not_resolve_is_worth_another_try() -> None:
    with pytest.raises(Transient, match="its name cannot be resolved"):
        get("http://no-such-host.invalid/")


def test_a_server_that_speaks_no_http_is_worth_another_try() -> None:
    with (
        _raw_server(lambda sock: sock.sendall(b"220 mail ready\r\n")) as port,
        pytest.raises(Transient, match="no HTTP|the connection failed"),
    ):
        get(f"http://127.0.0.1:{port}/")


@contextmanager
def _raw_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_a_slow_server_is_left_at_the_deadline(server: Server, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(Transient, match="no answer in time"):
        get(server.url(path), seconds=0.5)
    assert time.monotonic() - started < 1.5


def test_headers_that_drip_are_left_at_the_deadline() -> None:
    def drip(sock: socket.socket) -> None:
        try:
            for byte in b"HTTP/1.1 200 OK\r\nx-header: " + b"y" * 50:
                sock.sendall(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            return

    started = time.monotonic()
    with _raw_server(drip) as port, pytest.raises(Transient, match="no answer in time"):
        get(f"http://127.0.0.1:{port}/", seconds=0.5)
    assert time.monotonic() - started < 6


def test_a_resolver_that_hangs_is_left_at_the_deadline() -> None:
    released = threading.Event()

    def slow(_host: str, _port: int) -> list[str]:
        released.wait(20)
        return []

    started = time.monotonic()
    with (
        http.guarded_client(allow=(), timeout_seconds=0.5, resolve=slow) as client,
        pytest.raises(Transient, match="no answer in time"),
    ):
        http.exchange(client, "GET", "http://slow.example/")
    assert time.monotonic() - started < 1.5
    released.set()


def test_a_huge_body_is_cut_off(server: Server) -> None:
    with pytest.raises(Permanent, match="more than 1048576 bytes"):
        get(server.url("/huge"))


def test_a_compressed_body_is_refused_unread(server: Server) -> None:
    with pytest.raises(Permanent, match="compressed"):
        get(server.url("/gzip"))


@pytest.mark.parametrize("url", ["ftp://example.com/x", "file:///etc/passwd", "http://", "nonsense", "http://[::1/"])
def test_what_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(Permanent):
        get(url)


def test_errors_name_the_host_and_nothing_that_may_be_secret(server: Server) -> None:
    port = server.server_address[1]
    with pytest.raises(Permanent) as caught:
        get(
            f"http://user:{SECRET}@127.0.0.1:{port}/status/404/{SECRET}?token={SECRET}".replace(
                f"/404/{SECRET}", "/404"
            )
        )
    assert str(caught.value) == f"http://127.0.0.1:{port}: answered 404"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"])
def test_tenants_cannot_reach_this_host_by_any_name(server: Server, host: str) -> None:
    with pytest.raises((Refused, Transient)) as caught:
        guarded(f"http://{host}:{server.server_address[1]}/")
    assert server.seen == []
    assert isinstance(caught.value, Refused) or "cannot be resolved" in str(caught.value)


def test_configured_private_networks_are_reached(server: Server) -> None:
    assert guarded(server.url("/x"), allow=LOCAL).body == b"hello"


def test_the_address_that_was_judged_is_the_one_that_is_called() -> None:
    asked: list[str] = []
    with serving("127.0.0.2") as judged, serving("127.0.0.1") as other:
        port = judged.server_address[1]

        def rebind(host: str, _port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

        guarded(f"http://tenant.example:{port}/x", allow=("127.0.0.2/32",), resolve=rebind)
        with pytest.raises(Refused, match="loopback"):
            guarded(f"http://tenant.example:{port}/x", allow=("127.0.0.2/32",), resolve=rebind)
    assert asked == ["tenant.example", "tenant.example"]
    assert judged.seen == [("/x", f"tenant.example:{port}", b"")]
    assert other.seen == []


def test_of_several_addresses_only_permitted_ones_are_tried() -> None:
    with serving("127.0.0.2") as good:
        port = good.server_address[1]
        answer = guarded(
            f"http://tenant.example:{port}/", allow=("127.0.0.2/32",), resolve=lambda *_: ["10.0.0.1", "127.0.0.2"]
        )
    assert answer.body == b"hello"


def test_redirects_are_not_followed_unasked(server: Server) -> None:
    server.redirect_to = server.url("/x")
    with pytest.raises(Permanent, match="redirects are not followed"):
        guarded(server.url("/redirect"), allow=LOCAL)


def test_a_redirect_to_a_private_address_is_refused() -> None:
    with serving("127.0.0.2") as outside, serving("127.0.0.1") as inside:
        outside.redirect_to = inside.url("/x")
        with pytest.raises(Refused):
            guarded(outside.url("/redirect"), allow=("127.0.0.2/32",), redirects=3)
    assert inside.seen == []


def test_redirects_that_never_end_are_left(server: Server) -> None:
    server.redirect_to = server.url("/redirect")
    with pytest.raises(Permanent, match="redirects too often"):
        guarded(server.url("/redirect"), allow=LOCAL, redirects=9)
    assert len(server.seen) == 4


def test_a_callback_is_posted_and_its_status_told(server: Server) -> None:
    status = http.post_guarded(server.url("/x"), content=b"{}", headers={"x-id": "1"}, allow=LOCAL, timeout_seconds=3)
    assert (status, server.seen[0][2]) == (200, b"{}")
    with pytest.raises(Transient, match="answered 503"):
        http.post_guarded(server.url("/status/503"), content=b"{}", headers={}, allow=LOCAL, timeout_seconds=3)


def test_proxies_of_the_environment_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert get(server.url("/x")).status == 200


def test_a_streamed_body_is_read_within_its_bound(server: Server) -> None:
    with http.client(timeout_seconds=3) as client, client.stream("GET", server.url("/x")) as response:
        assert http.read_bounded(response, 5) == b"hello"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tenant.example",
            "-keyout",
            str(folder / "key.pem"),
            "-out",
            str(folder / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_tls_names_the_host_and_refuses_unknown_certificates(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    names: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    with serving("127.0.0.2") as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://tenant.example:{server.server_address[1]}/"
        with pytest.raises(Transient, match="certificate is refused: self-signed"):
            guarded(url, allow=("127.0.0.2/32",), resolve=lambda *_: ["127.0.0.2"])
    assert names == ["tenant.example"]


def test_the_process_makes_one_tls_context() -> None:
    with http.client(timeout_seconds=1), http.guarded_client(allow=()):
        assert http._tls(True) is http._tls(True)


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 30 ", 30),
        ("3601", 3600),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2099 11:00:00 GMT", 3600),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: int) -> None:
    assert http.retry_after(value, NOW) == timedelta(seconds=seconds)


@given(st.text(max_size=30))
def test_any_retry_after_gives_nothing_or_a_bounded_wait(value: str) -> None:
    wait = http.retry_after(value, NOW)
    assert wait is None or timedelta() <= wait <= http.MAX_RETRY_AFTER


def test_httpx_errors_are_ours_outside(server: Server) -> None:
    with pytest.raises(Transient), http.errors_of(server.url("/")):
        raise httpx.ReadTimeout("x")
