"""Files that outlive the watchdog: JSON lines, replaced whole in one step, and one process of a home has each."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from app.infra.logging import get_logger

log = get_logger(__name__)

Item = TypeVar("Item")


def turn(path: Path) -> int | None:
    """The descriptor of the lock beside the file, held until this process ends; None while another process has it.

    A disk that takes no file is no other process: then it is -1.
    """
    lock = path.with_suffix(".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def write(path: Path, lines: Iterable[bytes]) -> None:
    """Replace the file, durably. Raises OSError, and leaves the old one."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.writelines(line + b"\n" for line in lines)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        _sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def read(path: Path, adapter: TypeAdapter[Item], *, most: int) -> Iterator[Item]:
    """What is in it, at most so much; nothing when there is no file. A line that cannot be read is dropped and told."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines[:most]:
        try:
            yield adapter.validate_json(line)
        except ValidationError:
            log.error("a line that was kept cannot be read and is dropped", file=path.name)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
