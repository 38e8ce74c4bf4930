"""One stream of lines out of many processes: whole lines, whose they are, when; never waiting for a slow reader."""

from __future__ import annotations

import errno
import os
import re
import select
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from app import clock
from app.infra.files import rotate

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_MAX_PENDING = 1 << 20


class Sink(Protocol):
    """Where lines go."""

    def write(self, line: bytes) -> None:
        """Take one line, or drop it; never block, never raise. It may wait for `flush`."""

    def flush(self) -> None:
        """Pass on what can be passed on now."""


class Stream:
    """A file descriptor that may be slow (a paused terminal) or gone (a closed pipe)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._chunk = 512 if os.isatty(descriptor) else select.PIPE_BUF
        self._pending = bytearray()
        self._lost = 0
        self._gone = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    @property
    def is_gone(self) -> bool:
        """Did the reader go away?"""
        return self._gone

    @property
    def is_pending(self) -> bool:
        """Is there something the reader has not taken yet?"""
        return bool(self._pending) and not self._gone

    def write(self, line: bytes) -> None:
        if len(self._pending) + len(line) > _MAX_PENDING:
            self._lost += 1
        elif not self._gone:
            self._pending += line

    def flush(self) -> None:
        while self.is_pending and self._poll.poll(0):
            try:
                written = os.write(self._descriptor, self._pending[: self._chunk])
            except OSError as error:
                self._gone = error.errno in (errno.EPIPE, errno.EIO, errno.EBADF)
                return
            del self._pending[:written]
            if self._lost and not self._pending:
                lost, self._lost = self._lost, 0
                self.write(f"({lost} lines lost: the reader is too slow)\n".encode())

    def close(self) -> None:
        """Give the reader two seconds to take the rest."""
        deadline = clock.monotonic() + 2.0
        while self.is_pending and (left := deadline - clock.monotonic()) > 0:
            self._poll.poll(left * 1000)
            self.flush()


class RotatingFile:
    """A log file of bounded size with `keep` older ones (.1 is the youngest). A full disk costs lines only."""

    def __init__(self, path: Path, *, max_bytes: int = 10_000_000, keep: int = 5) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._lost = 0
        self._descriptor = -1

    def write(self, line: bytes) -> None:
        try:
            self._open()
            if os.fstat(self._descriptor).st_size + len(line) > self._max_bytes:
                self._close()
                rotate(self._path, keep=self._keep)
                self._open()
            if self._lost:
                os.write(self._descriptor, f"({self._lost} lines lost: the log could not be written)\n".encode())
                self._lost = 0
            os.write(self._descriptor, line)
        except OSError:
            self._lost += 1

    def flush(self) -> None:
        """Nothing waits: every line is written at once."""

    def _open(self) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


class Output:
    """Lines of all processes, each under its name. JSON lines pass unchanged unless a person is reading."""

    def __init__(self, sink: Sink, names: Iterable[str], *, colour: bool, readable: bool) -> None:
        self._sink = sink
        self.readable = readable
        self._colour = colour
        listed = [*names, "smm-admin"]
        self._width = max(len(name) for name in listed)
        self._second = -1
        self._time = ""
        self._colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(listed)}

    def say(self, text: str) -> None:
        """A line of our own, at once."""
        self.line("smm-admin", text.encode())
        self.flush()

    def line(self, name: str, text: bytes) -> None:
        """One line of process `name`, without its end; empty ones are dropped."""
        text = text.rstrip(b"\r")
        if not text.strip():
            return
        if not self.readable and text.startswith(b'{"'):
            self._sink.write(text + b"\n")
            return
        if not self._colour:
            text = _ANSI.sub(b"", text)
        prefix = f"{self._now()} {name.ljust(self._width)} |"
        if self._colour:
            prefix = f"\x1b[{self._colours.get(name, 37)}m{prefix}\x1b[0m"
            text += b"\x1b[0m" if b"\x1b[" in text else b""
        self._sink.write(prefix.encode() + b" " + text + b"\n")

    def _now(self) -> str:
        second = int(clock.monotonic())
        if second != self._second:
            self._second, self._time = second, f"{clock.now().astimezone():%H:%M:%S}"
        return self._time

    def flush(self) -> None:
        """Pass on what a slow reader takes by now."""
        self._sink.flush()


class Lines:
    """Bytes in, whole lines out; a line longer than `longest` is cut there."""

    def __init__(self, *, longest: int = 65_536) -> None:
        self._rest = b""
        self._longest = longest

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > self._longest:
            lines.append(self._rest[: self._longest])
            self._rest = self._rest[self._longest :]
        return lines

    def end(self) -> list[bytes]:
        """What was left without an end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
