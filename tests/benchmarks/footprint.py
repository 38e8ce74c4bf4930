"""The whole product on an idle machine: time to the first healthy status, CPU and memory of every process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from tests.benchmarks.support import ROOT, Figure, machine, show, wait_until

WATCHED_SECONDS = 60.0


def run() -> None:
    """Start twice (a first start makes the database), then watch the second for a minute."""
    print(machine())
    home = Path(tempfile.mkdtemp(prefix="smm-bench-"))
    home.chmod(0o711)
    try:
        first, process, port = start(home)
        stop(process)
        again, process, port = start(home)
        try:
            figures = watched(process, port)
        finally:
            stop(process)
        show(
            [
                Figure("first start to a healthy status", first, "s", limit=20),
                Figure("later start to a healthy status", again, "s", limit=20),
                *figures,
            ]
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)


def start(home: Path) -> tuple[float, psutil.Process, int]:
    """`smm-admin up` with its default catalogue; seconds until /health says healthy."""
    web, flower = free_port(), free_port()
    environment = {
        **os.environ,
        "SMM_HOME": str(home),
        "SMM_WEB_PORT": str(web),
        "SMM_FLOWER_PORT": str(flower),
        "SMM_LOG_LEVEL": "warning",
    }
    started = time.perf_counter()
    command = [str(Path(sys.executable).with_name("smm-admin")), "up"]
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
    wait_until(lambda: status(web) == "healthy", seconds=120, what="a healthy status", every=0.1)
    return time.perf_counter() - started, psutil.Process(process.pid), web


def status(port: int) -> str | None:
    """The stack's status over HTTP; None while nobody answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            document: dict[str, Any] = json.load(answer)
            return str(document["status"])
    except (URLError, OSError, ValueError):
        return None


def watched(supervisor: psutil.Process, port: int) -> list[Figure]:
    """CPU of everything over a minute in per cent of one core, and memory by Procfile name."""
    time.sleep(10)
    before, began = cpu_seconds(supervisor), time.perf_counter()
    time.sleep(WATCHED_SECONDS)
    used, took = cpu_seconds(supervisor), time.perf_counter() - began
    shares = {name: (used[name] - before.get(name, 0.0)) / took * 100 for name in used}
    memory = memory_mb(supervisor)
    figures = [Figure("idle CPU of everything", sum(shares.values()), "% of a core", limit=10)]
    figures += [Figure(f"  idle CPU, {name}", share, "%") for name, share in sorted(shares.items())]
    figures += [Figure(f"  memory, {name}", size, "MiB") for name, size in sorted(memory.items())]
    figures.append(Figure("memory of everything", sum(memory.values()), "MiB"))
    if status(port) != "healthy":
        raise RuntimeError("the stack was not healthy to the end")
    return figures


def family(supervisor: psutil.Process) -> list[psutil.Process]:
    return [supervisor, *supervisor.children(recursive=True)]


def name_of(process: psutil.Process, supervisor: psutil.Process) -> str:
    """The Procfile's name, or the server's."""
    if process == supervisor:
        return "supervisor"
    try:
        named = process.environ().get("SMM_PROCESS")
    except psutil.AccessDenied:
        named = None
    executable = process.name()
    return named or ("postgres" if "postgres" in executable else "valkey" if "valkey" in executable else executable)


def cpu_seconds(supervisor: psutil.Process) -> dict[str, float]:
    """CPU time by name, of the living and of what they have reaped."""
    total: dict[str, float] = defaultdict(float)
    for process in family(supervisor):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total[name_of(process, supervisor)] += times.user + times.system
    return total


def memory_mb(supervisor: psutil.Process) -> dict[str, float]:
    """Proportional set size by name: what is shared after a fork is counted once."""
    total: dict[str, float] = defaultdict(float)
    for process in family(supervisor):
        with suppress(psutil.NoSuchProcess):  # gone, or a zombie, since the family was listed
            total[name_of(process, supervisor)] += process.memory_full_info().pss / 2**20
    return total


def stop(process: psutil.Process) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
