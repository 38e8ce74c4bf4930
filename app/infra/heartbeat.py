"""A file that a live process touches: a supervisor's and an orchestrator's cheap proof that it is not deaf."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from app import clock
from app.config import settings
from app.infra import redis

EVERY_SECONDS = 5.0


class Heartbeat:
    """Touches `home/run/<name>.heartbeat` at most every five seconds. A disk that is full is not a reason to die."""

    def __init__(self, name: str) -> None:
        self._path = path_of(settings().process or name)
        self._next = 0.0

    def touch(self) -> None:
        """Say that we are alive."""
        if clock.monotonic() < self._next:
            return
        self._next = clock.monotonic() + EVERY_SECONDS
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
            os.utime(self._path)
        except OSError:
            return  # the file grows old, and whoever reads it draws the conclusion


class BrokerVigil:
    """While the broker is away, touches a heartbeat from a thread of its own; while it answers, leaves that to others.

    Celery reconnects by sleeping in its main loop: neither the hub's timers nor beat's ticks run meanwhile, and a
    process that waits for its broker would be taken for one that hangs and ended together with the jobs it runs.
    """

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; nothing when it has begun already."""
        if self._thread is None:
            self._stopped = threading.Event()
            self._thread = threading.Thread(target=self._watch, name="broker-vigil", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, without waiting for a ping that is under way."""
        self._stopped.set()
        self._thread = None

    def _watch(self) -> None:
        client: Any = None
        stopped = self._stopped
        while not stopped.wait(EVERY_SECONDS):
            try:
                client = client or redis.connect(settings().redis())
                client.ping()
            except Exception:  # whatever is wrong with the broker, it keeps Celery waiting
                self._heartbeat.touch()


def path_of(process: str) -> Path:
    """Where a process of that name says that it is alive."""
    return settings().run_dir / f"{process}.heartbeat"
