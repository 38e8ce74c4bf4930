"""The process's catalogue: read again when its file changes; a broken file keeps the last good one in force."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

from app import clock
from app.catalog.load import Check, lines_of, load, parse
from app.catalog.model import Catalog
from app.config import settings
from app.errors import Invalid

_LOOK_EVERY_SECONDS = 1.0
_SETTLE_SECONDS = 0.2
"""A file younger than this may still be in an editor's hands: it is looked at again first."""

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


class Current:
    """One file's catalogue, kept current."""

    def __init__(self, file: Path, kept: Path, checks: list[Check]) -> None:
        self.file = file
        self.kept = kept
        self.checks = checks
        self.problem: str | None = None
        self._catalog: Catalog | None = None
        self._stamp: _Stamp | None = None
        self._look_at = 0.0
        self._lock = threading.Lock()

    def get(self) -> Catalog:
        """The catalogue in force. Raises Invalid only when neither the file nor its last good copy can be used."""
        if self._catalog is not None and (clock.monotonic() < self._look_at or self._lock.locked()):
            return self._catalog
        with self._lock:
            if self._catalog is None or clock.monotonic() >= self._look_at:
                self._look()
            assert self._catalog is not None  # noqa: S101 - _look raises otherwise
            return self._catalog

    def unlock(self) -> None:
        """In a forked child: the thread that held the lock is not here."""
        self._lock = threading.Lock()

    def _look(self) -> None:
        self._look_at = clock.monotonic() + _LOOK_EVERY_SECONDS
        stamp, age = self._seen()
        if self._catalog is not None and stamp == self._stamp:
            return
        if self._catalog is not None and 0 <= age < _SETTLE_SECONDS:
            self._look_at = clock.monotonic() + _SETTLE_SECONDS
            return
        self._stamp = stamp
        try:
            catalog = load(self.file, self.checks)
        except Invalid as error:
            self._keep_the_old(error)
            return
        if self.problem is not None or self._catalog is None or self._catalog.digest != catalog.digest:
            _log.info("catalogue %s is in force: %d services", catalog.digest, len(catalog.services))
        self._catalog, self.problem = catalog, None
        self._keep_a_copy()

    def _seen(self) -> tuple[_Stamp | None, float]:
        """(what tells one state of the file from another, seconds since it was written)."""
        try:
            found = self.file.stat()
        except OSError:
            return None, -1.0
        return (found.st_mtime_ns, found.st_size, found.st_ino), clock.now().timestamp() - found.st_mtime

    def _keep_the_old(self, error: Invalid) -> None:
        self.problem = "; ".join(lines_of(error))
        if self._catalog is None:
            self._catalog = self._last_good(error)
        _log.error("the catalogue is broken, the last good one (%s) stays: %s", self._catalog.digest, self.problem)

    def _last_good(self, error: Invalid) -> Catalog:
        try:
            return parse(self.kept.read_text("utf-8"), self.checks, subject=str(self.kept))
        except (OSError, UnicodeDecodeError, Invalid):
            raise error from None

    def _keep_a_copy(self) -> None:
        """Best effort: a full disk must not stop a valid catalogue from being used.

        Only by a process that was given checks: one that knows less must not pass a file off as good.
        """
        if not self.checks:
            return
        part = self.kept.with_name(f"{self.kept.name}.{os.getpid()}")
        try:
            text = self.file.read_bytes()
            if self.kept.is_file() and self.kept.read_bytes() == text:
                return
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(text)
            part.replace(self.kept)
        except OSError as error:
            _log.warning("the last good catalogue could not be kept: %s", error.strerror)
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


_checks: list[Check] = []
_currents: dict[tuple[Path, Path], Current] = {}


def use_check(check: Check) -> None:
    """Composition: let `check` judge every catalogue this process loads from now on."""
    if check not in _checks:
        _checks.append(check)


def current() -> Catalog:
    """The process's catalogue, at most a second old. Raises Invalid when there is none, good or kept."""
    return _of_settings().get()


def problem() -> str | None:
    """What is wrong with the file now, while the last good catalogue stays in force; None when nothing is."""
    found = _of_settings()
    found.get()
    return found.problem


def last_good_file() -> Path:
    """The copy of the last catalogue that was taken up, mode 600."""
    return settings().home / "catalog.last-good.toml"


def _of_settings() -> Current:
    files = (settings().catalog_file, last_good_file())
    if files not in _currents:
        _currents[files] = Current(*files, _checks)
    return _currents[files]


def _after_fork() -> None:
    for found in _currents.values():
        found.unlock()


os.register_at_fork(after_in_child=_after_fork)
