"""The loop that runs processes: pass on their output, start again what dies, end what hangs, stop all in order."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app import clock
from app.config import Settings
from app.infra import embedded
from app.infra.embedded import Server
from app.infra.supervisor.lock import write_state
from app.infra.supervisor.output import Output, Stream
from app.infra.supervisor.process import Process, describe_exit
from app.infra.supervisor.servers import ServerWatch

_LOOK_EVERY = 1.0
_PULSE_EVERY = 5.0
_STRUGGLES = 3
_SETTLED_SECONDS = 1.0
_BEAT_SECONDS = 5.0
_QUIT_SECONDS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Duties:
    """What differs between runs: addresses that say a process is ready, and what others want to be told."""

    ready_at: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    on_ready: Callable[[], None] = lambda: None
    on_struggle: Callable[[str], None] = lambda _name: None
    on_hangup: Callable[[], str] = lambda: "nothing to reload"


class Supervisor:
    """Runs `processes` until SIGINT or SIGTERM. `servers` are running already and are stopped last."""

    def __init__(
        self,
        config: Settings,
        processes: Sequence[Process],
        *,
        output: Output,
        stream: Stream | None = None,
        servers: Sequence[Server] = (),
        duties: Duties | None = None,
    ) -> None:
        self._config = config
        self._processes = list(processes)
        self._output = output
        self._stream = stream
        self._servers = servers
        self._duties = duties or Duties()
        self._selector = selectors.DefaultSelector()
        self._caught: list[int] = []
        self._ready = False
        self._was_terminal = stream is not None and os.isatty(1)
        self._next_look = 0.0
        self._next_pulse = 0.0

    def run(self) -> None:
        """Until asked to stop; returns when nothing of ours is left running."""
        with self._signals():
            watch = ServerWatch(self._config, self._servers, self._output.say, at=clock.monotonic())
            try:
                for process in self._processes:
                    self._spawn(process)
                self._tell_state()
                while not self._asked_to_stop():
                    self._turn(0.1 if not self._ready else _LOOK_EVERY)
                    self._look(watch, clock.monotonic())
            finally:
                self._stop_processes()
                self._forget()
                if self._servers:
                    self._output.say("stopping the servers")
                    embedded.stop(self._servers)
                    embedded.withdraw(self._config)
                self._output.say("stopped")
                if self._stream is not None:
                    self._stream.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals become bytes in a pipe that wakes the loop; nothing happens inside a handler."""
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        before = {sig: signal.signal(sig, lambda number, _frame: self._caught.append(number)) for sig in _SIGNALS}
        old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ)
        try:
            yield
        finally:
            self._selector.unregister(reader)
            signal.set_wakeup_fd(old)
            for sig, handler in before.items():
                signal.signal(sig, handler)
            os.close(reader)
            os.close(writer)

    def _asked_to_stop(self) -> bool:
        caught, self._caught = self._caught, []
        for number in caught:
            if number in (signal.SIGINT, signal.SIGTERM):
                self._output.say("stopping: tasks that run may finish; again to hasten")
                return True
            if number == signal.SIGHUP:
                if self._was_terminal and not os.isatty(1):
                    return True  # the terminal was closed
                self._output.say(self._duties.on_hangup())
        return self._stream is not None and self._stream.is_gone and self._was_terminal

    def _turn(self, seconds: float) -> None:
        """Wait for something to happen, pass on output, notice deaths."""
        if self._stream is not None and self._stream.is_pending:
            seconds = min(seconds, 0.05)
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Process):
                self._read(key.data)
            else:
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 4096)
        self._output.flush()

    def _read(self, process: Process) -> None:
        lines, ended = process.read()
        for line in lines:
            self._output.line(process.name, line)
        if ended:
            self._selector.unregister(process.output)
            process.close_output()

    def _spawn(self, process: Process) -> None:
        if process.output >= 0:
            self._selector.unregister(process.output)
            process.close_output()
        self._heartbeat_file(process).unlink(missing_ok=True)
        try:
            process.spawn(at=clock.monotonic())
        except OSError as error:
            wait = process.plan_restart(at=clock.monotonic())
            self._output.say(f"{process.name} does not start: {error.strerror}; trying again in {wait:.0f} s")
            return
        self._selector.register(process.output, selectors.EVENT_READ, process)

    def _look(self, watch: ServerWatch, now: float) -> None:
        changed = False
        for process in self._processes:
            changed |= self._look_at(process, now)
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            if watch.look(at=now):
                self._output.say("a server has moved: every process starts again")
                for process in self._processes:
                    process.send(signal.SIGTERM)
        if now >= self._next_pulse:
            self._next_pulse = now + _PULSE_EVERY
            for process in self._processes:
                self._feel_pulse(process, now)
        proofs = [self._notice_proof(process) for process in self._processes]
        changed |= any(proofs)
        if not self._ready and all(process.is_proved for process in self._processes):
            self._ready = True
            self._duties.on_ready()
        if changed:
            self._tell_state()

    def _look_at(self, process: Process, now: float) -> bool:
        code = process.poll()
        if code is not None:
            self._drain(process)
            wait = process.plan_restart(at=now)
            self._output.say(f"{process.name} ended ({describe_exit(code)}); starting again in {wait:.0f} s")
            if not self._ready and process.restarts >= _STRUGGLES:
                self._duties.on_struggle(process.name)
            return True
        if process.start_at is not None and now >= process.start_at:
            self._spawn(process)
            return True
        if process.kill_at is not None and now >= process.kill_at:
            process.kill()
        return False

    def _drain(self, process: Process) -> None:
        """What a dead process said last comes before the line about its death."""
        if process.output >= 0:
            self._read(process)

    def _feel_pulse(self, process: Process, now: float) -> None:
        try:
            stamp: int | None = self._heartbeat_file(process).stat().st_mtime_ns
        except OSError:
            stamp = None
        process.pulse = process.pulse.seen(stamp, at=now)
        if process.pid is not None and process.kill_at is None and process.pulse.is_silent(at=now):
            self._output.say(f"{process.name} gives no sign of life: ending it")
            process.send(signal.SIGTERM)
            process.kill_at = now + self._config.shutdown_seconds

    def _heartbeat_file(self, process: Process) -> Path:
        return self._config.run_dir / f"{process.name}.heartbeat"

    def _notice_proof(self, process: Process) -> bool:
        """Did it prove just now that it works: a second of life, a worker's heartbeat, an answer at its address?"""
        if process.is_proved or process.pid is None or clock.monotonic() - process.started_at < _SETTLED_SECONDS:
            return False
        if process.name.startswith("worker-") and not self._heartbeat_file(process).exists():
            return False
        address = self._duties.ready_at.get(process.name)
        process.is_proved = address is None or _answers(*address)
        return process.is_proved

    def _tell_state(self) -> None:
        processes = {
            process.name: {
                "pid": process.pid,
                "restarts": process.restarts,
                "state": "waiting" if process.pid is None else "running" if process.is_proved else "starting",
            }
            for process in self._processes
        }
        with contextlib.suppress(OSError):
            write_state(self._config, {"pid": os.getpid(), "ready": self._ready, "processes": processes})

    def _forget(self) -> None:
        """Leave nothing that says we are alive."""
        for process in self._processes:
            self._heartbeat_file(process).unlink(missing_ok=True)
        (self._config.run_dir / "supervisor.json").unlink(missing_ok=True)

    def _stop_processes(self) -> None:
        """Beat first, so that nothing new comes; then all in peace, then those left by force."""
        beat = [process for process in self._processes if process.name == "beat"]
        stages = (
            (beat, signal.SIGTERM, _BEAT_SECONDS),
            (self._processes, signal.SIGTERM, self._config.shutdown_seconds),
            (self._processes, signal.SIGQUIT, _QUIT_SECONDS),
            (self._processes, signal.SIGKILL, _QUIT_SECONDS),
        )
        for processes, sig, seconds in stages:
            left = [process for process in processes if process.pid is not None]
            if left and sig is not signal.SIGTERM:
                self._output.say(f"{sig.name} to {', '.join(process.name for process in left)}")
            for process in left:
                if sig is signal.SIGKILL:
                    process.kill()
                else:
                    process.send(sig)
            self._wait_for_end(left, clock.monotonic() + seconds)

    def _wait_for_end(self, left: list[Process], deadline: float) -> None:
        """Until all have ended, the deadline, or another Ctrl-C."""
        while left and clock.monotonic() < deadline:
            self._turn(0.1)
            for process in self._processes:
                code = process.poll()
                if code is not None:
                    self._drain(process)
                    self._output.say(f"{process.name} stopped ({describe_exit(code)})")
            left = [process for process in left if process.pid is not None]
            caught, self._caught = self._caught, []
            if signal.SIGINT in caught or signal.SIGTERM in caught:
                return


def _answers(host: str, port: int) -> bool:
    """Does somebody speak HTTP there, whatever is said? An accepted connection alone may be a backlog's."""
    try:
        with socket.create_connection((host, port), timeout=0.3) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return connection.recv(16).startswith(b"HTTP/")
    except OSError:
        return False
