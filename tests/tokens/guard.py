"""No record of any log holds a token: neither as it is written, nor as it was before anything was masked."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from app.config import Settings
from app.infra import logging as product_logging
from tests.tokens.leaks import Needles

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_OF_TESTS = ("httpx2", "httpcore2")  # what calls the application in this process; the product has no part of it


class Guard(logging.Handler):
    """Looks at each record of this process; `leaks` are places, never values. `needles`: tests may add secrets."""

    def __init__(self, needles: Needles, written: logging.Formatter | None) -> None:
        super().__init__(logging.NOTSET)
        self.needles = needles
        self.leaks: list[str] = []
        self._written = written

    def emit(self, record: logging.LogRecord) -> None:
        """Before anything is masked: `repr` is what a handler of another make would write."""
        for part, found in self._parts(record):
            if self.needles.found_in(found):
                self.leaks.append(f"the {part} of a record of {record.name}, {record.filename}:{record.lineno}")

    def _parts(self, record: logging.LogRecord) -> Iterator[tuple[str, object]]:
        yield "message", repr(record.msg)
        yield "arguments", repr(record.args)
        yield "extra fields", repr({key: value for key, value in vars(record).items() if key not in _ORDINARY})
        if record.exc_info and record.exc_info[1] is not None:
            yield "exception", "".join(traceback.format_exception(record.exc_info[1]))
            yield "exception's arguments", repr(record.exc_info[1].args)
        if self._written is not None:
            yield "line", self._written.format(record)


@cache
def _as_in_production() -> logging.Formatter | None:
    """What makes a line of a record; afterwards those libraries are quiet that are quiet in the product."""
    root = logging.getLogger()
    before = list(root.handlers), root.level, logging.raiseExceptions
    product_logging.configure("tests", Settings(log_level="debug", log_format="json"))
    formatter = root.handlers[0].formatter
    root.handlers, level, logging.raiseExceptions = before
    root.setLevel(level)
    logging.captureWarnings(False)
    for name in _OF_TESTS:
        logging.getLogger(name).setLevel(logging.WARNING)
    return formatter


@contextmanager
def guarded(*secrets: str) -> Iterator[Guard]:
    """Every record of the block, the finest too, of those loggers that the product lets speak."""
    root, guard = logging.getLogger(), Guard(Needles(*secrets), _as_in_production())
    level = root.level
    root.addHandler(guard)
    root.setLevel(logging.DEBUG)
    try:
        yield guard
    finally:
        root.removeHandler(guard)
        root.setLevel(level)


@pytest.fixture(autouse=True)
def log_guard() -> Iterator[Guard]:
    """Fails the test in which a token was logged."""
    with guarded() as guard:
        yield guard
    assert guard.leaks == []


def printed(report: pytest.TestReport) -> list[str]:
    """Names of what pytest captured of a test's output and found a token in; records are the guard's."""
    needles = Needles()
    outputs = [(name, text) for name, text in report.sections if name.startswith("Captured std")]
    return [name for name, text in outputs if needles.found_in(text)]
