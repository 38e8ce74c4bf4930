"""From nothing to running: lock, leftovers, ports, servers, schema, processes; and the same way back."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app import clock
from app.config import CHECKOUT, Settings
from app.errors import Misconfigured, Permanent
from app.infra import embedded
from app.infra.embedded import ports
from app.infra.files import make_home
from app.infra.supervisor import procfile
from app.infra.supervisor.leftovers import MARK, end_leftovers
from app.infra.supervisor.lock import Lock
from app.infra.supervisor.output import Output, Stream
from app.infra.supervisor.process import Process
from app.infra.supervisor.procfile import Entry
from app.infra.supervisor.supervisor import Duties, Supervisor


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `prepare` is a command that leaves the servers checked and migrated, or says on stderr why not."""

    entries: Sequence[Entry]
    prepare: Sequence[str]
    on_ready: Callable[[], None]
    on_struggle: Callable[[str], None]
    on_hangup: Callable[[], str]


def run(config: Settings, plan: Plan, *, output: Output, stream: Stream | None = None) -> None:
    """Run everything until asked to stop.

    Raises Conflict when it runs already, any other SmmError when it cannot start: then nothing is left running.
    """
    began = clock.monotonic()
    with _log_to(output), _lock(config), _sigterm_interrupts():
        end_leftovers(config, output.say)
        addresses = _addresses(config, plan.entries)
        for name, (host, port, variable) in addresses.items():
            _require_free(name, host, port, variable)
        servers = embedded.servers(config)
        try:
            embedded.start(servers)
            for server in servers:
                output.say(f"{server.label} is ready (pid {server.pid})")
            if servers:
                embedded.publish(config, servers)
            environment = child_environment(config, readable=output.readable)
            _prepare(plan.prepare, environment, output)
            processes = _processes(config, plan.entries, environment)
        except BaseException:
            embedded.stop(servers)
            embedded.withdraw(config)
            raise

        def ready() -> None:
            output.say(f"ready after {clock.monotonic() - began:.1f} s: {_where(config, plan.entries)}")
            plan.on_ready()

        duties = Duties(
            ready_at={name: (_reachable(host), port) for name, (host, port, _) in addresses.items()},
            on_ready=ready,
            on_struggle=plan.on_struggle,
            on_hangup=plan.on_hangup,
        )
        Supervisor(config, processes, output=output, stream=stream, servers=servers, duties=duties).run()


def child_environment(config: Settings, *, readable: bool) -> dict[str, str]:
    """What every process inherits: our settings made independent of the directory we were started in."""
    environment = dict(os.environ)
    environment["PATH"] = procfile.search_path(environment)
    environment["PYTHONUNBUFFERED"] = "1"
    environment["SMM_HOME"] = str(config.home.resolve())
    environment["SMM_CATALOG_FILE"] = str(config.catalog_file.resolve())
    if readable and config.log_format == "auto":
        environment["SMM_LOG_FORMAT"] = "console"
    if os.geteuid() == 0:
        # Celery's fear is of pickle, which is refused here; said by each worker, it hides what matters.
        quiet = "ignore:You're running the worker with superuser privileges"
        environment["PYTHONWARNINGS"] = ",".join(filter(None, (environment.get("PYTHONWARNINGS"), quiet)))
    if given := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(part).resolve()) for part in given.split(os.pathsep))
    return environment


@contextmanager
def _lock(config: Settings) -> Iterator[None]:
    try:
        make_home(config.home)
        for directory in (config.run_dir, config.home / "log"):
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"SMM_HOME={config.home}: {error.strerror}") from None
    lock = Lock(config)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Until the supervisor's loop takes over, a request to stop ends the preparation like Ctrl-C."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _log_to(output: Output) -> Iterator[None]:
    """What our own modules log becomes lines like any other's."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            output.say(record.getMessage())

    root, handler = logging.getLogger(), Lines()
    before, root.handlers = root.handlers, [handler]
    try:
        yield
    finally:
        root.handlers = before


def _addresses(config: Settings, entries: Sequence[Entry]) -> dict[str, tuple[str, int, str]]:
    """Host, port and the port's variable of each process that listens."""
    known = {
        "web": (config.web_host, config.web_port, "SMM_WEB_PORT"),
        "flower": (config.flower_host, config.flower_port, "SMM_FLOWER_PORT"),
    }
    listening = {entry.name: known[entry.name] for entry in entries if entry.name in known}
    if len(listening) == 2 and config.web_port == config.flower_port:
        raise Misconfigured(f"SMM_WEB_PORT and SMM_FLOWER_PORT are both {config.web_port}")
    return listening


def _require_free(name: str, host: str, port: int, variable: str) -> None:
    try:
        free = ports.is_free(port, host=host)
    except OSError as error:
        raise Misconfigured(f"{name} cannot listen on {host}: {error.strerror}") from None
    if not free:
        raise Misconfigured(
            f"{name} wants port {port}, {ports.holder(port)}: stop it, or set {variable} to another port"
        )


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - what to call, not to bind


def _prepare(command: Sequence[str], environment: Mapping[str, str], output: Output) -> None:
    """In a process of its own: what a migration needs of memory is not kept for the supervisor's whole life."""
    done = subprocess.run(
        [sys.executable, *command],
        env=dict(environment),
        cwd=_directory(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        output.say(line)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"preparation failed with exit code {done.returncode}"]
        raise Permanent(said[-1].removeprefix("smm-admin: "))


def _processes(config: Settings, entries: Sequence[Entry], environment: Mapping[str, str]) -> list[Process]:
    made = []
    for entry in entries:
        own = {**environment, MARK: entry.name}
        arguments = entry.arguments(environment=own, run=config.run_dir.resolve())
        procfile.require_program(entry, arguments, path=environment["PATH"])
        made.append(Process(entry.name, arguments, environment=own, cwd=_directory()))
    return made


def _directory() -> Path:
    """Where children run: never where we happened to be started, whose modules could shadow ours."""
    return CHECKOUT or Path(sys.prefix)


def _where(config: Settings, entries: Sequence[Entry]) -> str:
    """Where to look, for people."""
    names = {entry.name for entry in entries}
    places = []
    if "web" in names:
        places.append(f"http://{_reachable(config.web_host)}:{config.web_port}")
    if "flower" in names:
        places.append(f"Flower at http://{_reachable(config.flower_host)}:{config.flower_port}")
    return ", ".join(places) or ", ".join(sorted(names))
