"""Processes of an earlier supervisor that was killed: known by the environment it gave them, and ended."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from app.config import Settings

MARK = "SMM_PROCESS"
_PATIENCE_SECONDS = 10.0


def end_leftovers(config: Settings, say: Callable[[str], None]) -> None:
    """End every process that carries this home and a Procfile name, in peace first. To be called under the lock."""
    found = _find(str(config.home.resolve()))
    if not found:
        return
    say(f"ending {len(found)} processes that an earlier run left behind")
    known = {process.pid for process in found}
    for process in found:
        if _parent(process) not in known:
            _quietly(process.terminate)
    _, alive = psutil.wait_procs(found, timeout=min(config.shutdown_seconds, _PATIENCE_SECONDS))
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=5)


def _find(home: str) -> list[psutil.Process]:
    ourselves = {psutil.Process().pid, *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in ourselves:
            continue
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue  # gone, or somebody else's
        if environment.get(MARK) and environment.get("SMM_HOME") == home:
            found.append(process)
    return found


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return
