"""The watchdog as a process, its servers frozen and ports closed by a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from sqlalchemy import text

from app.config import settings
from app.health import statefile
from app.health.core import State
from app.infra import db
from tests.health import catalogs

QUICK = "interval = 1\nconfirm_interval = 1\ntimeout = 1\nwatched_by = 'watchdog'\n"


def watched(port: int) -> str:
    """Postgres, and a port that the test opens and closes."""
    port_service = f"[services.port]\nkind = 'tcp'\nhost = '127.0.0.1'\nport = {port}\n{QUICK}"
    return f"[services.postgres]\nkind = 'postgres'\nessential = true\n{QUICK}{port_service}"


class Running:
    """The process, its state file, and Postgres as others see it."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process = process
        self.home = home

    def states(self) -> dict[str, State]:
        found = statefile.read(statefile.path_in(settings().run_dir))
        return {} if found is None else {name: item.state.state for name, item in found.services.items()}

    def stop(self) -> float:
        """Seconds that SIGTERM took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        return time.monotonic() - started


def until(fact: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for a fact; fail with what it was last."""
    end = time.monotonic() + seconds
    while not (seen := fact()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s; last seen: {seen!r}")
        time.sleep(0.05)
    return seen


def rows(query: str) -> list:
    with db.read_only() as session:
        return list(session.execute(text(query)).all())


@pytest.fixture
def start(
    database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Running]]:
    """Start a watchdog of a catalogue; all are killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(content: str) -> Running:
        catalogs.use(monkeypatch, home, content)
        process = subprocess.Popen([sys.executable, "-m", "app.watchdog"], env=dict(os.environ), text=True)
        started.append(process)
        return Running(process, home)

    yield begin
    for process in started:
        process.kill()
        process.wait(10)


@contextmanager
def frozen_postgres(url: str) -> Iterator[None]:
    """Every process of the server stopped: its sockets stay open and nothing answers."""
    connection = psycopg2.connect(url)
    postmaster = psutil.Process(connection.info.backend_pid).parent()
    connection.close()
    assert postmaster is not None
    postmaster.suspend()
    everyone = [*postmaster.children(recursive=True), postmaster]
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in everyone:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port), backlog=64):
        yield
