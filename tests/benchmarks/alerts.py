"""Alerts: 10,000 of them posted by 64s to us and to the real Alertmanager, and merged; none may be missing."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from pathlib import Path

from app import clock
from app.alerts import ingest
from app.config import settings
from app.infra import adminkey
from app.infra.db import execute_once
from tests.benchmarks.support import ROOT, Figure, machine, servers, show, wait_until

ALERTS = 10_000
BATCH = 64
CLIENTS = 4
ROUNDS = 3
KINDS = ("short", "full")
POSTED = (1 + ROUNDS * len(KINDS) * 2) * ALERTS
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody who takes alerts."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, bodies: Sequence[bytes], *, clients: int) -> float:
        """Seconds until all are answered with 200, each client one after the other on one connection."""
        shares = [bodies[place::clients] for place in range(clients)]
        failures: list[str] = []
        threads = [threading.Thread(target=self._client, args=(share, failures)) for share in shares]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - started
        if failures:
            raise RuntimeError(failures[0])
        return taken

    def count(self) -> int:
        """How many alerts it shows."""
        request = urllib.request.Request(f"http://{HOST}:{self.port}/api/v2/alerts", headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return len(json.load(answer))

    def _client(self, bodies: Sequence[bytes], failures: list[str]) -> None:
        """As little as a client can do, so that it is not what is measured."""
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        with socket.create_connection((HOST, self.port), 30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for body in bodies:
                head = (
                    f"POST /api/v2/alerts HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
                    f"{extra}Content-Length: {len(body)}\r\n\r\n"
                )
                connection.sendall(head.encode() + body)
                answer = connection.recv(65_536)
                if not answer.startswith(b"HTTP/1.1 200"):
                    failures.append(repr(answer[:300]))
                    return


def run() -> None:
    """Both take the same alerts in turns, so that what else the machine does falls on both alike."""
    print(machine())
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        raise RuntimeError("the real Alertmanager is not installed (Debian: prometheus-alertmanager)")
    with (
        servers(SMM_WEB_PORT=str(free_port()), SMM_LOG_LEVEL="info") as home,
        ours() as us,
        alertmanager(program, home) as real,
    ):
        targets = {"us": us, "real": real}
        for target in targets.values():
            target.post(bodies_of("short", "warm-up"), clients=1)
        show(accepted(targets))
        show(merged())
        show(shown(targets))


def accepted(targets: dict[str, Target]) -> list[Figure]:
    """Milliseconds for 10,000 alerts that are new to both."""
    taken: dict[tuple[str, str, int], list[float]] = {}
    for number, (kind, clients) in product(range(ROUNDS), product(KINDS, (1, CLIENTS))):
        bodies = bodies_of(kind, f"{number}-{clients}")
        for name, target in targets.items():
            taken.setdefault((name, kind, clients), []).append(target.post(bodies, clients=clients) * 1000)
    kept = execute_once("SELECT coalesce(sum(alerts), 0) AS kept FROM alert_inbox")[0].kept
    if kept != POSTED:
        raise RuntimeError(f"{kept} alerts are stored, not {POSTED}")
    return [
        Figure(
            f"{ALERTS:,} {kind} alerts by {BATCH}s, {'one client' if clients == 1 else f'{clients} clients'}",
            statistics.median(taken["us", kind, clients]),
            "ms",
            baseline=statistics.median(taken["real", kind, clients]),
            limit=1.0,
            limit_of_ratio=True,
        )
        for kind, clients in product(KINDS, (1, CLIENTS))
    ]


def merged() -> list[Figure]:
    """Merging everything that was accepted, as the alert tick does."""
    started = time.perf_counter()
    alerts = ingest.drain(clock.now())
    taken = time.perf_counter() - started
    return [Figure("accepted alerts merged into new episodes", alerts / taken, "/s", limit=5000, at_least=True)]


def shown(targets: dict[str, Target]) -> list[Figure]:
    """Every alert that was posted is there."""
    for name, target in targets.items():
        found = target.count()
        if found != POSTED:
            raise RuntimeError(f"{name} shows {found} alerts, not {POSTED}")
    return [Figure("alerts posted and found again", POSTED, "", limit=POSTED, at_least=True)]


def bodies_of(kind: str, mark: str) -> list[bytes]:
    """10,000 alerts that are marked as their own: as amtool words them, or as Prometheus does."""
    alerts = [
        {"labels": labels_of(number, mark + kind), "annotations": {"summary": "Down"}} for number in range(ALERTS)
    ]
    if kind == "full":
        now = clock.now()
        more = {
            "startsAt": clock.iso(now),
            "endsAt": clock.iso(now + timedelta(hours=1)),
            "generatorURL": "http://prometheus:9090/graph?g0.expr=up%7Bjob%3D%22node%22%7D+%3D%3D+0&g0.tab=1",
            "annotations": {"summary": "Host down", "description": "The host has not answered for 5 minutes."},
        }
        alerts = [alert | more for alert in alerts]
    return [json.dumps(alerts[first : first + BATCH]).encode() for first in range(0, ALERTS, BATCH)]


def labels_of(number: int, mark: str) -> dict[str, str]:
    names = {"alertname": "HostDown", "instance": f"host-{number}:9100", "job": "node", "severity": "warning"}
    return names | {"round": mark}


@contextlib.contextmanager
def ours() -> Iterator[Target]:
    """The real web process, beside the real Postgres."""
    for setting in ("fsync", "synchronous_commit"):
        if execute_once(f"SHOW {setting}")[0][0] != "on":
            raise RuntimeError(f"{setting} is not on: the comparison would mean nothing")
    port = settings().web_port
    key = adminkey.load_or_create(settings())
    with process([sys.executable, "-m", "app.web"], port):
        yield Target(port, {"Authorization": f"Bearer {key}"})


@contextlib.contextmanager
def alertmanager(program: str, home: Path) -> Iterator[Target]:
    """The real Alertmanager, alone."""
    port = free_port()
    (home / "am.yml").write_text("route: {receiver: nobody, group_by: [alertname], group_wait: 1h}\n")
    with (home / "am.yml").open("a") as file:
        file.write("receivers: [{name: nobody}]\n")
    arguments = [
        f"--config.file={home / 'am.yml'}",
        f"--storage.path={home / 'am'}",
        "--cluster.listen-address=",
        f"--web.listen-address={HOST}:{port}",
    ]
    with process([program, *arguments], port):
        yield Target(port)


@contextlib.contextmanager
def process(command: Sequence[str], port: int) -> Iterator[None]:
    """A program that listens on `port`, as long as the block."""
    started = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), seconds=60, what=f"{command[0]} to listen", every=0.1)
        yield
    finally:
        started.terminate()
        started.wait(30)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
