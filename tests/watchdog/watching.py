"""A watchdog in this process, whose turns the test makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from app.health import statefile
from app.health.core import State
from app.watchdog.falls import Fall
from app.watchdog.spool import Spool
from app.watchdog.watch import Watchdog

OURS = {"watched_by": '"watchdog"', "interval": 1, "confirm_interval": 1, "timeout": 1}


class Told:
    """Falls as they are handed on, each once."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.standing: set[str] = set()

    def fallen(self, fall: Fall) -> None:
        if fall.key not in self.keys:
            self.keys.append(fall.key)
        self.standing.add(fall.spec.name)

    def risen(self, name: str) -> None:
        self.standing.discard(name)

    def waiting(self) -> int:
        return 0

    @property
    def names(self) -> list[str]:
        return [key.split(" ")[0] for key in self.keys]


class Watching:
    """A watchdog whose turns the test makes."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.spool = Spool(run_dir / "spool.jsonl")
        self.told = Told()
        self.dog = Watchdog(run_dir, self.spool, lambda: None, self.told)

    def until(self, fact: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not fact():
            assert time.monotonic() < end, self.file()
            self.dog.step(0.2)

    def turns(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.dog.step(0.1)

    def file(self) -> statefile.StateFile | None:
        return statefile.read(statefile.path_in(self.run_dir))

    def state(self, name: str) -> State | None:
        found = self.file()
        return found.services[name].state.state if found is not None and name in found.services else None
