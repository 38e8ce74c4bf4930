"""A start in the background that still tells, before the prompt returns, whether it succeeded."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from pathlib import Path

from app import clock

Report = Callable[[str], None]
"""Told once: an empty text when everything runs, otherwise why not."""

GIVE_UP_SECONDS = 120.0


def detach(log: Path, body: Callable[[Report], int], *, who_is_late: Callable[[], str]) -> str | None:
    """Run `body` in a process of its own without a terminal, its output in `log`, and wait for its report.

    Returns what went wrong; None when all is well. In the background process it does not return.
    """
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(writer)
        os.waitpid(first, 0)
        return _wait(reader, who_is_late)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)
    code = 1
    try:
        _leave_terminal(log)
        code = body(lambda text: _tell(writer, text))
    finally:
        os._exit(code)


def _leave_terminal(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)


def _tell(writer: int, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever asked did not wait
        os.write(writer, (text or "ready").encode()[:4096])
    os.close(writer)


def _wait(reader: int, who_is_late: Callable[[], str]) -> str | None:
    """The report; an end without one is a failure too."""
    deadline = clock.monotonic() + GIVE_UP_SECONDS
    said = b""
    try:
        while select.select([reader], [], [], max(0.0, deadline - clock.monotonic()))[0]:
            part = os.read(reader, 4096)
            if not part:
                text = said.decode()
                return None if text == "ready" else text or "it ended before it was ready"
            said += part
    finally:
        os.close(reader)
    return f"not ready after {GIVE_UP_SECONDS:.0f} s: {who_is_late()}; it goes on trying, smm-admin down ends it"
