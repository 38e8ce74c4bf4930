"""A real uvicorn process: bounded bodies, one clear message for a taken port, a clean end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.config import settings
from app.infra import adminkey

BODY_MAX = 4096


@dataclass(frozen=True, slots=True)
class Web:
    """A running web process."""

    process: subprocess.Popen[bytes]
    port: int
    key: str

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def web(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    port = free_port()
    monkeypatch.setenv("SMM_WEB_PORT", str(port))
    monkeypatch.setenv("SMM_BODY_MAX_BYTES", str(BODY_MAX))
    monkeypatch.setenv("SMM_TASK_MODULES", '["tests.web.tasks_of_tests"]')
    settings.cache_clear()
    key = adminkey.load_or_create(settings())
    process = subprocess.Popen([sys.executable, "-m", "app.web"], stderr=subprocess.PIPE, env=dict(os.environ))
    try:
        wait_for_port(port, process)
        yield Web(process, port, key)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                if connection.recv(64).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the web process did not come up in a minute")


def test_bodies_are_bounded_announced_or_chunked(web: Web) -> None:
    announced = web.connect()
    announced.request("POST", "/api/v1/jobs", body=b"x" * (BODY_MAX + 1), headers=web.headers)
    answer = announced.getresponse()
    assert answer.status == 413
    assert answer.getheader("content-type") == "application/problem+json"
    assert b"SMM_BODY_MAX_BYTES" in answer.read()

    chunked = web.connect()
    chunks = (b"y" * 512 for _ in range(100))
    try:
        chunked.request("POST", "/api/v1/jobs", body=chunks, headers=web.headers, encode_chunked=True)
        assert chunked.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pytest.fail("the server hung up before it said why")

    fits = web.connect()
    body = (part for part in (b'{"task": "tests.web.echo", ', b'"kwargs": {"text": "x"}}'))
    fits.request("POST", "/api/v1/jobs", body=body, headers=web.headers, encode_chunked=True)
    assert fits.getresponse().status == 202


def test_sigterm_ends_it_cleanly_and_its_log_has_no_query_strings_and_no_keys(web: Web) -> None:
    connection = web.connect()
    connection.request("GET", "/api/v1/jobs?key=order-secret-7", headers={**web.headers, "X-Request-Id": "trace-1"})
    assert connection.getresponse().status == 200
    web.process.send_signal(signal.SIGTERM)
    _, logged = web.process.communicate(timeout=15)
    assert web.process.returncode == 0
    text = logged.decode()
    assert "/api/v1/jobs" in text
    assert "trace-1" in text
    assert "order-secret-7" not in text
    assert web.key not in text


def test_a_broken_request_line_does_not_end_it_and_it_does_not_say_what_it_is_made_of(web: Web) -> None:
    for garbage in (b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n"):
        with socket.create_connection(("127.0.0.1", web.port), 5) as connection:
            try:
                connection.sendall(garbage)
                assert connection.recv(16).startswith(b"HTTP/1.1 400")
            except ConnectionError:
                continue
    connection = web.connect()
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("server") is None


def test_a_port_in_use_is_one_clear_message(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("SMM_WEB_PORT", str(port))
        ended = subprocess.run(
            [sys.executable, "-m", "app.web"],
            capture_output=True,
            text=True,
            timeout=30,
            env=dict(os.environ),
            check=False,
        )
    assert ended.returncode == 2
    assert f"127.0.0.1:{port} is in use" in ended.stderr
    assert "SMM_WEB_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_starts_and_answers_without_any_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("SMM_WEB_PORT", str(port))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/none")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    key = adminkey.load_or_create(settings())
    process = subprocess.Popen([sys.executable, "-m", "app.web"], stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        wait_for_port(port, process)
        web = Web(process, port, key)
        for path, status in (("/health", 503), ("/", 200), ("/metrics", 200)):
            connection = web.connect()
            connection.request("GET", path)
            assert connection.getresponse().status == status, path
        connection = web.connect()
        connection.request("GET", "/api/v1/jobs", headers=web.headers)
        answer = connection.getresponse()
        assert answer.status == 503
        assert int(answer.getheader("retry-after", "0")) >= 1
    finally:
        process.terminate()
        process.wait(15)
