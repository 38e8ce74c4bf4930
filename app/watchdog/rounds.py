"""What the watchdog does besides watching: it copies what paging must know, and calls the dead-man's switch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from app import clock
from app.errors import SmmError
from app.infra import db
from app.infra.logging import get_logger
from app.watchdog import known

COPY_SECONDS = 30.0
READ_SECONDS = 3.0

log = get_logger(__name__)


class Rounds:
    """Each in its rhythm, the first at once; `call` is the dead-man's switch and is called every minute."""

    def __init__(self, run_dir: Path, call: Callable[[], object], call_seconds: float) -> None:
        self._path = known.path_in(run_dir)
        self._call = call
        self._call_seconds = call_seconds
        self._told: str | None = None

    def start(self) -> None:
        """Begin, in a thread that does not keep the process alive."""
        threading.Thread(target=self._run, name="rounds", daemon=True).start()

    def _run(self) -> None:
        copy_at = call_at = clock.monotonic()
        call_at += self._call_seconds / 2
        idle = threading.Event()
        while True:
            now = clock.monotonic()
            if now >= copy_at:
                copy_at = now + COPY_SECONDS
                self.copy()
            if now >= call_at:
                call_at = now + self._call_seconds
                self._guarded()
            idle.wait(max(0.0, min(copy_at, call_at) - clock.monotonic()))

    def copy(self) -> bool:
        """Copy silences and overrides; False when the database or the disk would not: the old copy stays."""
        try:
            with db.read_within(READ_SECONDS) as session:
                found = known.load(session, clock.now())
            known.keep(self._path, found)
        except (SmmError, OSError) as error:
            self._say(str(error) if isinstance(error, SmmError) else f"{error.strerror}")
            return False
        except Exception as error:  # a table that is not there yet, a row that cannot be read
            self._say(type(error).__name__)
            return False
        self._told = None
        return True

    def _say(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning("silences are not copied; the last copy counts", error=why)

    def _guarded(self) -> None:
        try:
            self._call()
        except Exception:
            log.exception("a round failed")
