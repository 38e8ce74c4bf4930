"""Results that wait to be stored: in memory, and in a file as soon as Postgres is away, so that a restart keeps them.

Bounded. When it is half full, only results that change something are taken: the others would say once more what the
last one said.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.health.results import ProbeResult
from app.infra.logging import get_logger

LIMIT = 5000

log = get_logger(__name__)

Item = tuple[str, ProbeResult]
_ITEM: TypeAdapter[Item] = TypeAdapter(Item)


class Spool:
    """The loop appends, the recorder takes from the front; both may at any time."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._lock = threading.Lock()
        self._in_file = False
        self._disk_told = False
        self.dropped = 0
        self._items: deque[Item] = deque(self._read())

    def __len__(self) -> int:
        return len(self._items)

    def append(self, name: str, result: ProbeResult, *, eventful: bool) -> None:
        """Keep a result; `eventful` ones longer than the others."""
        with self._lock:
            if len(self._items) >= (self._limit if eventful else self._limit // 2):
                self.dropped += 1
                return
            self._items.append((name, result))
            if self._in_file:
                self._write([(name, result)], os.O_APPEND)

    def first(self, count: int) -> list[Item]:
        """The oldest, which stay until `done`."""
        with self._lock:
            return list(islice(self._items, count))

    def done(self, count: int) -> None:
        """The oldest `count` are stored."""
        with self._lock:
            for _ in range(count):
                self._items.popleft()
            if not self._items and self._in_file:
                self._in_file = False
                self._path.unlink(missing_ok=True)

    def keep(self) -> None:
        """From now on a restart must not lose what waits: Postgres is away."""
        with self._lock:
            if not self._in_file:
                self._in_file = True
                self._write(self._items, os.O_TRUNC)

    def _write(self, items: Iterable[Item], how: int) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | how, 0o600), "wb") as stream:
                stream.writelines(_ITEM.dump_json(item) + b"\n" for item in items)
            self._disk_told = False
        except OSError as error:
            if not self._disk_told:
                self._disk_told = True
                log.error("waiting results are in memory only: the file cannot be written", error=error.strerror)

    def _read(self) -> Iterator[Item]:
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return
        self._in_file = True
        for line in lines[: self._limit]:
            try:
                yield _ITEM.validate_json(line)
            except ValidationError:
                continue  # a line that a crash or a full disk cut off
