"""What the supervisor needs of a server: spawn it, ask how it is, stop it; and the same for several at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import psutil

from app import clock
from app.errors import Misconfigured


class State(StrEnum):
    """How a spawned server is."""

    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"


class Server(Protocol):
    """A server that runs as a child of this process."""

    name: str
    label: str
    start_seconds: float

    @property
    def url(self) -> str:
        """Its address, with the password; right once it is spawned."""

    @property
    def pid(self) -> int | None:
        """The running child's process id."""

    @property
    def exit_code(self) -> int | None:
        """How the child ended; negative: by that signal."""

    def spawn(self) -> None:
        """Prepare the data and start the child, without waiting. Raises Misconfigured with what to do."""

    def state(self) -> State:
        """How the child is, without waiting longer than a second."""

    def why_dead(self) -> str:
        """What the server itself said before it ended, in one line."""

    def signal_stop(self, urgency: int) -> None:
        """Ask the child to end: 0 in peace, 1 without delay, 2 by force."""


def start(servers: Sequence[Server]) -> None:
    """Start all side by side and wait until each is ready. Raises Misconfigured, and stops them again, when one fails.

    Children are spawned from the calling thread, which must outlive them: on Linux they end when it does.
    """
    try:
        for server in servers:
            server.spawn()
        for server in servers:
            wait_ready(server)
    except BaseException:
        stop(servers)
        raise


def wait_ready(server: Server) -> None:
    """Wait for a spawned server. Raises Misconfigured with its own last words when it ends or takes too long."""
    deadline = clock.monotonic() + server.start_seconds
    while (state := server.state()) is not State.READY:
        if state is State.DEAD:
            raise Misconfigured(f"{server.label} did not start: {server.why_dead()}")
        if clock.monotonic() > deadline:
            raise Misconfigured(f"{server.label} was not ready after {server.start_seconds:.0f} s: {server.why_dead()}")
        time.sleep(0.02)


def stop(servers: Sequence[Server], *, patience: tuple[float, float, float] = (30.0, 10.0, 5.0)) -> None:
    """Stop all side by side, each urgency for its seconds of `patience`; nothing is left running.

    Asks only whether the children live: a server that is stopping need not answer, and one that died stays dead.
    """
    left = [server for server in servers if server.pid is not None]
    for urgency, seconds in enumerate(patience):
        for server in left:
            server.signal_stop(urgency)
        deadline = clock.monotonic() + seconds
        while left and clock.monotonic() < deadline:
            left = [server for server in left if server.pid is not None]
            time.sleep(0.02)


def die_with_parent(sig: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` after which Linux sends the child `sig` when the spawning thread ends, however it ends.

    Nothing elsewhere: there the next `up` ends what it finds. The parent may be gone before the call: hence its pid.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(1, int(sig), 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os.kill(os.getpid(), sig)

    return arm


def end_leftover(pid: int, *, is_ours: Callable[[psutil.Process], bool], sig: signal.Signals, seconds: float) -> bool:
    """End what an earlier run left behind under `pid`, when `is_ours` says that it is that and not a later program.

    True when something was ended; it is killed when `sig` did not do within `seconds`.
    """
    try:
        process = psutil.Process(pid)
        if not is_ours(process):
            return False
        process.send_signal(sig)
        try:
            process.wait(timeout=seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        raise Misconfigured(f"process {pid}, left by an earlier run, belongs to another user: stop it there") from None
    return True


def send(child: subprocess.Popen[bytes] | None, sig: signal.Signals) -> None:
    """Signal a child that may have ended already."""
    if child is not None and child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(sig)


def disk_is_full(lines: Sequence[str], directory: Path) -> str | None:
    """The message for a full disk, when the server's last words are about one."""
    if any("No space left on device" in line for line in lines):
        return f"the disk that holds {directory} is full: make room there and start again"
    return None
