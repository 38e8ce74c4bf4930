"""Limits of our own API: requests a second of an endpoint that only authenticates, with its limit and without."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from app.config import settings
from app.infra import adminkey
from tests.benchmarks.alerts import free_port
from tests.benchmarks.support import ROOT, Figure, machine, percentile, servers, show, wait_until

ROUNDS = 5
SECONDS = 2.0
COUNTED, FREE = "/api/v1/counted", "/api/v1/free"

CATALOG = f"""
[services.redis]
kind = "redis"

[http.admin]
rate = 10_000_000
burst = 1_000_000
callers = ["admin"]

[http.free]
rate = 0
paths = ["{FREE}", "/healthz"]
"""

SERVER = f'''
"""The product's application with two endpoints more, which do nothing."""
import sys
import uvicorn
from app.web.deps import CurrentCaller
from app.web.main import create_app

app = create_app()

@app.get("{COUNTED}")
@app.get("{FREE}")
async def nothing(_caller: CurrentCaller):
    return {{}}

for _ in range(2):
    app.router.routes.insert(0, app.router.routes.pop())
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="h11", access_log=False, log_config=None)
'''


def run() -> None:
    """All figures, in turns, so that what else the machine does falls on both alike."""
    print(machine())
    with servers() as home:
        (home / "smm-admin.toml").write_text(CATALOG)
        with web(home) as port:
            for clients in (1, 8):
                show(overhead(port, clients))


def overhead(port: int, clients: int) -> list[Figure]:
    """Of `clients` connections at once, each asking again as soon as it is answered."""
    found: dict[str, list[list[float]]] = {COUNTED: [], FREE: []}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for _ in range(ROUNDS):
            for path, rounds in found.items():
                rounds.append(pool.apply(load, (port, path, adminkey.load_or_create(settings()), clients)))
    rates = {path: median(len(taken) / SECONDS for taken in rounds) for path, rounds in found.items()}
    slow = {path: median(percentile(taken, 99) for taken in rounds) * 1000 for path, rounds in found.items()}
    connections = "1 connection" if clients == 1 else f"{clients} connections"
    return [
        Figure(f"requests that are counted, {connections}", rates[COUNTED], "/s", rates[FREE]),
        Figure("  p99 of one", slow[COUNTED], "ms", slow[FREE]),
    ]


def load(port: int, path: str, key: str, clients: int) -> list[float]:
    """Seconds that each request took."""
    until = time.perf_counter() + SECONDS
    with ThreadPoolExecutor(clients) as threads:
        return [one for taken in threads.map(lambda _: _ask(port, path, key, until), range(clients)) for one in taken]


def _ask(port: int, path: str, key: str, until: float) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    taken = []
    while (before := time.perf_counter()) < until:
        connection.request("GET", path, headers={"X-API-Key": key})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200 or ("RateLimit" in answer.headers) != (path == COUNTED):
            raise RuntimeError(f"{path}: {answer.status}, {dict(answer.headers)}")
        taken.append(time.perf_counter() - before)
    return taken


@contextmanager
def web(home: Path) -> Iterator[int]:
    """One web process with the two endpoints; yields its port."""
    script, port = home / "server.py", free_port()
    script.write_text(SERVER)
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), str(port)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "SMM_WEB_PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _is_up(port), seconds=60, what="the web process answers")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _is_up(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False
