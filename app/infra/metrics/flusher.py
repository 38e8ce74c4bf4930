"""Carries what processes counted to Redis: every five seconds, and once more when a process ends."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
from pathlib import Path

import redis as redis_py

from app.errors import Misconfigured, Transient
from app.infra import redis
from app.infra.metrics import instruments

INTERVAL_SECONDS = 5.0
HASH = f"{redis.PREFIX}metrics"
LAST_BATCH_SECONDS = 3600
"""How long Redis remembers a process's last batch; a longer silence can count one unanswered batch twice."""

_SCRIPT = (Path(__file__).parent / "flush.lua").read_text()
_log = logging.getLogger(__name__)


class Flusher:
    """One process's way to Redis. Failing, it keeps the counts, says so once, and tries again at the next turn."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """As new: a fork copies locks as they are and no thread."""
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="metrics-flusher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=3)
            self._thread = None

    def quiet(self) -> None:
        """Say nothing of failures from now on."""
        self._failing = True

    def flush(self) -> bool:
        """Send all that was counted. False when Redis did not take it: nothing is lost, nothing is raised."""
        with self._turn:
            deltas = instruments.deltas()
            while (batch := deltas.take()) is not None:
                problem = _send(deltas.process, batch)
                self._report(problem)
                if problem is not None:
                    return False
                deltas.answered(batch)
            return True

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.flush()

    def _report(self, problem: str | None) -> None:
        if problem is not None and not self._failing:
            _log.warning("metrics are kept in memory until Redis takes them: %s", problem)
        self._failing = problem is not None


def _send(process: str, batch: instruments.Batch) -> str | None:
    """Add the batch to the hash; what went wrong, or None."""
    arguments: list[str | int] = [batch.sequence, LAST_BATCH_SECONDS]
    for key, amount in batch.amounts.items():
        arguments += [json.dumps(key, separators=(",", ":")), repr(amount)]
    try:
        with redis.transient_errors():
            redis.client().register_script(_SCRIPT)(keys=[HASH, f"{HASH}:last:{process}"], args=arguments)
    except (Transient, Misconfigured) as error:
        return str(error)
    except redis_py.RedisError as error:
        return type(error).__name__
    return None


_flusher = Flusher()


def flush() -> bool:
    """Send what this process counted now. False when Redis did not take it; it is kept. Never raises."""
    return _flusher.flush()


def start_flusher() -> None:
    """Flush every five seconds in a daemon thread and at exit; a second call does nothing.

    A worker child calls it after its fork, and `stop_flusher` before it ends: such children skip exit handlers.
    """
    _flusher.start()


def stop_flusher() -> None:
    """Stop the thread and flush what is left."""
    _flusher.stop()
    _flusher.flush()


os.register_at_fork(after_in_child=_flusher.restart)


@atexit.register
def _at_exit() -> None:
    """The last flush, without a word when it fails: nobody is left who could try again."""
    _flusher.quiet()
    stop_flusher()
