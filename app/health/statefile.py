"""What the watchdog knows, in a file: its own memory over a restart, and the status page's source without Postgres."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.health.core import ServiceState
from app.health.results import ProbeResult

VERSION = 1


@dataclass(frozen=True, slots=True)
class Watched:
    """One service of the watchdog: what it is, how it stands, its last result. `maintenance` is a reason."""

    kind: str
    essential: bool
    severity: str
    depends_on: tuple[str, ...]
    interval_seconds: float
    state: ServiceState
    maintenance: str | None = None
    last: ProbeResult | None = None


@dataclass(frozen=True, slots=True)
class Deadman:
    """The dead-man's switch: when it was last called, and why it was not called the last time it might have been."""

    called_at: datetime | None = None
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateFile:
    """All of them. `waiting`: results not yet in Postgres; `pages`: pages that have not arrived.

    `deadman` is None where no such address is configured.
    """

    pid: int
    host: str
    written_at: datetime
    services: Mapping[str, Watched] = field(default_factory=dict)
    waiting: int = 0
    pages: int = 0
    deadman: Deadman | None = None
    version: int = VERSION


_FILE = TypeAdapter(StateFile)


def path_in(run_dir: Path) -> Path:
    """Where it is."""
    return run_dir / "watchdog.json"


def read(path: Path) -> StateFile | None:
    """The file's content; None when it is missing, damaged, or of another version."""
    try:
        found = _FILE.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.version == VERSION else None


def write(path: Path, content: StateFile) -> None:
    """Replace the file in one step, for its owner only. Raises OSError, and leaves the old one."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(_FILE.dump_json(content))
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
