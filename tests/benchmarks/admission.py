"""Admission: over HTTP against an endpoint that only reads the body; and how soon decisions return after a FLUSHALL."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from app.admission import admitting, requests
from app.config import settings
from app.errors import SmmError
from app.infra import adminkey, redis
from app.limits import deciding, rebuild, snapshots
from tests.benchmarks.alerts import free_port
from tests.benchmarks.support import ROOT, Figure, machine, percentile, servers, show, wait_until

ROUNDS = 3
SECONDS = 4.0
CLIENTS = 8
ACCOUNTS = 200
CAPACITY = 1_000_000_000

CATALOG = f"""
[services.redis]
kind = "redis"

[limits.instagram_api]
platform = "instagram"
capacity = {CAPACITY}
window = "calendar"
period = "hour"

[limits.instagram_api_rolling]
platform = "instagram"
capacity = {CAPACITY}
window = "rolling"
period = "hour"

[limits.instagram_publish]
platform = "instagram"
capacity = {CAPACITY}
window = "calendar"
period = "day"

[limits.instagram_publish_rolling]
platform = "instagram"
capacity = {CAPACITY}
window = "rolling"
period = "day"

[operations.publish]
platform = "instagram"
class = "interactive"
consumes = {{instagram_api = 1, instagram_api_rolling = 1, instagram_publish = 1, instagram_publish_rolling = 1}}
requires_token = true

[http.default]
rate = 0
"""

NOTHING = '''
"""The product's application with one endpoint more: it parses and authenticates, and does nothing."""
import sys
import uvicorn
from app.web.deps import CurrentCaller, SentJson
from app.web.main import create_app

app = create_app()

@app.post("/nothing")
def nothing(_caller: CurrentCaller, body: SentJson):
    return {}

app.router.routes.insert(0, app.router.routes.pop())
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_config=None, server_header=False)
'''


def run() -> None:
    """All of it, on servers of its own."""
    print(f"machine: {machine()}")
    with servers() as home:
        catalog = home / "catalog.toml"
        catalog.write_text(CATALOG)
        os.environ["SMM_CATALOG_FILE"] = str(catalog)
        settings.cache_clear()
        with web(home) as port:
            show(_over_http(port))
        show(_after_a_loss())


@contextmanager
def web(home: Path) -> Iterator[int]:
    """One web process with the extra endpoint."""
    script, port = home / "nothing.py", free_port()
    script.write_text(NOTHING)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SMM_WEB_PORT": str(port)}
    with (home / "nothing.log").open("w") as log:
        process = subprocess.Popen([sys.executable, str(script), str(port)], env=environment, stdout=log, stderr=log)
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


def _over_http(port: int) -> list[Figure]:
    rates: dict[str, list[float]] = {"/nothing": [], "/api/v1/admissions": []}
    waits: dict[str, list[float]] = {path: [] for path in rates}
    for _ in range(ROUNDS):
        for path, measured in rates.items():
            answered, seconds = _load(port, path)
            measured.append(answered / SECONDS)
            waits[path].append(percentile(seconds, 99) * 1000)
    bare, ours = median(rates["/nothing"]), median(rates["/api/v1/admissions"])
    slow = [median(waits[path]) for path in ("/api/v1/admissions", "/nothing")]
    name = f"admissions over HTTP, {CLIENTS} connections"
    return [
        Figure(name, ours, "/s", bare, limit=0.5, limit_of_ratio=True, at_least=True),
        Figure("  p99 of one", slow[0], "ms", slow[1]),
    ]


def _load(port: int, path: str) -> tuple[int, list[float]]:
    key = adminkey.load_or_create(settings())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(_threads, [(port, path, key, CLIENTS // 2, number) for number in range(2)])
    return sum(len(one) for one in results), [seconds for one in results for seconds in one]


def _threads(port: int, path: str, key: str, count: int, number: int) -> list[float]:
    from concurrent.futures import ThreadPoolExecutor

    until = time.perf_counter() + SECONDS
    with ThreadPoolExecutor(count) as pool:
        done = [pool.submit(_ask, port, path, key, until, f"{number}-{place}") for place in range(count)]
        return [seconds for one in done for seconds in one.result()]


def _ask(port: int, path: str, key: str, until: float, name: str) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers, taken, place = {"X-API-Key": key, "Content-Type": "application/json"}, [], 0
    while time.perf_counter() < until:
        place += 1
        body = {"operation": "publish", "account": f"{place % ACCOUNTS}", "id": f"{name}-{time.time_ns()}"}
        began = time.perf_counter()
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}")
        taken.append(time.perf_counter() - began)
    return taken


def _after_a_loss() -> list[Figure]:
    """Four processes decide about as many accounts; Redis forgets everything; when does each one decide again?"""
    gaps, lost = [], []
    for round_ in range(3):
        one = requests.parse({"operation": "publish", "account": "0"}, caller="benchmark")
        deciding.decide(admitting.ask(one))
        snapshots.take()
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            running = [pool.apply_async(_decide_on, (f"{round_}-{number}",)) for number in range(4)]
            time.sleep(3)
            snapshots.take()
            time.sleep(1)
            before = _used()
            redis.client().flushall()
            found = [one.get(60) for one in running]
        gaps.append(max(gap for gap, _, _ in found))
        rate = sum(count for _, count, _ in found) / 7.0
        lost.append(max(0.0, before - _used_at_restart(found)) / rate)
        rebuild.fill()
    return [
        Figure("longest gap of a process after FLUSHALL under load", max(gaps), "s", limit=5),
        Figure("consumption that was forgotten, as time at full load", max(lost), "s", limit=6),
    ]


def _used() -> int:
    one = requests.parse({"operation": "publish", "account": "0"}, caller="benchmark")
    return deciding.peek(admitting.ask(one)).readings[0].used


def _used_at_restart(found: list[Any]) -> int:
    return min(first for _, _, first in found)


def _decide_on(name: str) -> tuple[float, int, int]:
    """Decide for some seconds; the longest gap, how many, and what was used when the counter had gone down once."""
    until, last, longest, count = time.monotonic() + 7, time.monotonic(), 0.0, 0
    highest, restarted = 0, 10**15
    while time.monotonic() < until:
        one = requests.parse({"operation": "publish", "account": "0", "id": f"{name}-{count}"}, caller="benchmark")
        with suppress(SmmError):
            used = deciding.decide(admitting.ask(one)).readings[0].used
            if used < highest:
                restarted = min(restarted, used)
            highest = max(highest, used)
            longest, last, count = max(longest, time.monotonic() - last), time.monotonic(), count + 1
    return longest, count, restarted
