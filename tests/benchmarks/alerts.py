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
ROUNDS = 7
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
    with servers(SMM_WEB_PORT=str(free_port())) as home, ours() as us, alertmanager(program, home) as real:
        targets = {"us": us, "real": real}
        for target in targets.values():
            target.post(bodies_of(0, 1), clients=1)
        show(accepted(targets))
        show(merged())
        show(shown(targets))


def accepted(targets: dict[str, Target]) -> list[Figure]:
    """Milliseconds for 10,000 alerts that are new to both."""
    taken: dict[tuple[str, int], list[float]] = {}
    for place in range(1, ROUNDS + 1):
        for clients in (1, CLIENTS):
            bodies = bodies_of(place, clients)
            for name, target in targets.items():
                taken.setdefault((name, clients), []).append(target.post(bodies, clients=clients) * 1000)
    kept = execute_once("SELECT coalesce(sum(alerts), 0) AS kept FROM alert_inbox")[0].kept
    expected = (2 * ROUNDS + 1) * ALERTS
    if kept != expected:
        raise RuntimeError(f"{kept} alerts are stored, not {expected}")
    return [
        Figure(
            f"{ALERTS:,} alerts by {BATCH}s, {'one client' if clients == 1 else f'{clients} clients'}",
            statistics.median(taken["us", clients]),
            "ms",
            baseline=statistics.median(taken["real", clients]),
            limit=1.0,
            limit_of_ratio=True,
        )
        for clients in (1, CLIENTS)
    ]


def merged() -> list[Figure]:
    """Merging everything that was accepted, as the alert tick does."""
    started = time.perf_counter()
    alerts = ingest.drain(clock.now())
    taken = time.perf_counter() - started
    return [Figure("accepted alerts merged into new episodes", alerts / taken, "/s", limit=5000, at_least=True)]


def shown(targets: dict[str, Target]) -> list[Figure]:
    """Every alert that was posted is there."""
    expected = (2 * ROUNDS + 1) * ALERTS
    for name, target in targets.items():
        found = target.count()
        if found != expected:
            raise RuntimeError(f"{name} shows {found} alerts, not {expected}")
    return [Figure("alerts posted and found again", expected, "", limit=expected, at_least=True)]


def bodies_of(place: int, clients: int) -> list[bytes]:
    """10,000 alerts of their own for each round, as Prometheus words them."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 3600))
    starts = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    alerts = [
        {
            "annotations": {"description": f"Instance host-{number} has been down for 5 min.", "summary": "Host down"},
            "endsAt": ends,
            "startsAt": starts,
            "generatorURL": "http://prometheus:9090/graph?g0.expr=up%7Bjob%3D%22node%22%7D+%3D%3D+0&g0.tab=1",
            "labels": {
                "alertname": "HostDown",
                "instance": f"host-{number}:9100",
                "job": "node",
                "round": f"{place}-{clients}",
                "severity": "warning",
            },
        }
        for number in range(ALERTS)
    ]
    return [json.dumps(alerts[first : first + BATCH]).encode() for first in range(0, ALERTS, BATCH)]


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
