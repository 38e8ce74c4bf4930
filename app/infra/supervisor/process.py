"""One supervised process: its group, its output, its death."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.infra.embedded.server import die_with_parent, send
from app.infra.supervisor.output import Lines
from app.infra.supervisor.restarts import Backoff, Pulse


class Process:
    """What the supervisor knows of one line of the Procfile. Times are seconds on the monotonic clock."""

    def __init__(self, name: str, arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> None:
        self.name = name
        self.restarts = 0
        self.start_at: float | None = None
        self.started_at = 0.0
        self.kill_at: float | None = None
        self.pulse = Pulse()
        self.is_proved = False
        self.output = -1
        self._backoff = Backoff()
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None
        self._lines = Lines()

    @property
    def pid(self) -> int | None:
        """The running child; None when there is none."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    def spawn(self, *, at: float) -> None:
        """Start it in a process group of its own. Raises OSError."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            self._child = subprocess.Popen(
                self._arguments,
                env=self._environment,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - the supervisor has no threads
            )
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self.output = reader
        self.started_at = at
        self.start_at = None
        self.kill_at = None
        self.is_proved = False
        self.pulse = Pulse(looked_at=at)

    def read(self) -> tuple[list[bytes], bool]:
        """(lines written since, is there an end of them?). At most 256 kB a call, so that nobody starves the others."""
        lines: list[bytes] = []
        for _ in range(4):
            try:
                data = os.read(self.output, 65_536)
            except BlockingIOError:
                return lines, False
            if not data:
                return lines + self._lines.end(), True
            lines += self._lines.feed(data)
        return lines, False

    def close_output(self) -> None:
        """Stop reading."""
        os.close(self.output)
        self.output = -1

    def poll(self) -> int | None:
        """The exit code of a death not yet seen; the rest of its group dies with it."""
        if self._child is None or self._child.returncode is not None:
            return None
        code = self._child.poll()
        if code is not None:
            self.kill()
        return code

    def plan_restart(self, *, at: float) -> float:
        """Seconds until it is started again."""
        wait, self._backoff = self._backoff.after_death(alive_seconds=at - self.started_at)
        self.start_at = at + wait
        self.restarts += 1
        return wait

    def send(self, sig: signal.Signals) -> None:
        """Signal the process itself, which knows what to do with its children."""
        send(self._child, sig)

    def kill(self) -> None:
        """End the whole group at once."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)


def describe_exit(code: int) -> str:
    """ "exit code 1" or "signal SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
