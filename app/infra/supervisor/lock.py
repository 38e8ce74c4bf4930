"""One supervisor per home: a lock that its death releases, and what it tells others of itself."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from app.config import Settings
from app.errors import Conflict
from app.infra.files import write_private_json


class Lock:
    """Held from construction until `release` or the end of the process. Raises Conflict naming the holder."""

    def __init__(self, config: Settings) -> None:
        config.run_dir.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(_path(config), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._descriptor, 32).decode().strip()
            os.close(self._descriptor)
            raise Conflict(f"already running (pid {pid})" if pid else "another start or stop is under way") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def holder(config: Settings) -> int | None:
    """The process id of the supervisor of this home; None when none is running."""
    try:
        descriptor = os.open(_path(config), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).decode().strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _path(config: Settings) -> Path:
    return config.run_dir / "supervisor.lock"


def write_state(config: Settings, state: dict[str, Any]) -> None:
    """Tell others how the processes are: `{pid, ready, processes: {name: {pid, restarts, state}}}`.

    A state is "running", "starting" (not proved yet to work) or "waiting" (for its restart).
    """
    write_private_json(config.run_dir / "supervisor.json", state)


def read_state(config: Settings) -> dict[str, Any]:
    """What the supervisor last told; empty when there is nothing to read."""
    try:
        found = json.loads((config.run_dir / "supervisor.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
