"""Single calls over HTTP against an endpoint that only parses and authenticates; what a call costs one core."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from app import clock
from app.config import settings
from app.costs import calls, packing, price_import, price_table, recording
from app.infra import adminkey
from app.infra.db import unit_of_work
from app.infra.ids import uuid7
from app.limits import rebuild
from tests.benchmarks.admission import web
from tests.benchmarks.support import Figure, machine, percentile, servers, show, wait_until

ROUNDS = 3
SECONDS = 3.0
CLIENTS = 8
BATCH = 500
RATE = 25_000
"""Calls a second that a core should at least parse, price and pack."""

NOTHING, CALLS = "/nothing", "/api/v1/costs/calls"

CATALOG = """
[services.redis]
kind = "redis"

[budgets.everything]
scope = "global"
period = "day"
amount = 1000000

[budgets.tenant]
scope = "tenant"
period = "day"
amount = 1000000

[budgets.user]
scope = "user"
period = "month"
amount = 1000000

[budgets.agent]
scope = "agent"
period = "day"
amount = 1000000

[budgets.department]
scope = "department"
period = "month"
amount = 1000000

[http.default]
rate = 0
"""


def run() -> None:
    """All of it, on servers of its own."""
    print(f"machine: {machine()}")
    with servers() as home:
        catalog = home / "catalog.toml"
        catalog.write_text(CATALOG)
        os.environ["SMM_CATALOG_FILE"] = str(catalog)
        settings.cache_clear()
        with unit_of_work() as uow:
            price_import.first(uow)
        price_table.outdate()
        wait_until(lambda: price_table.current() is not None, seconds=10, what="prices are read")
        rebuild.begin()
        wait_until(rebuild.fill, seconds=10, what="counters are whole")
        show([_one_core()])
        with web(home) as port:
            show(_over_http(port))


def _call(place: int) -> dict[str, Any]:
    return {
        "id": str(uuid7()),
        "tenant": f"tenant-{place % 50}",
        "skill": "comment-reply",
        "agent": f"agent-{place % 8}",
        "user": f"user-{place % 200}@example.org",
        "department": "marketing",
        "interaction": f"run-{place % 1000}",
        "provider": "anthropic",
        "model": "claude-opus-4-6",
        "input_tokens": 1200 + place % 800,
        "cached_tokens": 900,
        "output_tokens": 150 + place % 100,
        "latency_ms": 800 + place % 500,
        "request_id": f"req_{place:024}",
        "prompt_hash": f"{place % 977:064x}",
        "tags": {"campaign": "spring", "language": "en"},
    }


def _one_core() -> Figure:
    raw = json.dumps({"calls": [_call(place) for place in range(BATCH)]}).encode()
    taken = []
    for _ in range(100):
        began = clock.monotonic()
        packing.rows(recording.priced([call for _, call in calls.parse(raw).good]))
        taken.append(clock.monotonic() - began)
    return Figure(f"parsed, priced and packed, {BATCH} a body", BATCH / median(taken), "/s", limit=RATE, at_least=True)


def _over_http(port: int) -> list[Figure]:
    rates: dict[str, list[float]] = {NOTHING: [], CALLS: []}
    waits: dict[str, list[float]] = {path: [] for path in rates}
    for path in rates:
        _load(port, path, 1.0)
    for _ in range(ROUNDS):
        for path, measured in rates.items():
            seconds = _load(port, path, SECONDS)
            measured.append(len(seconds) / SECONDS)
            waits[path].append(percentile(seconds, 99) * 1000)
    bare, ours = median(rates[NOTHING]), median(rates[CALLS])
    name = f"single calls over HTTP, {CLIENTS} connections"
    return [
        Figure(name, ours, "/s", bare, limit=0.5, limit_of_ratio=True, at_least=True),
        Figure("  p99 of one", median(waits[CALLS]), "ms", median(waits[NOTHING])),
    ]


def _load(port: int, path: str, lasts: float) -> list[float]:
    """How long each answer took, in seconds."""
    key = adminkey.load_or_create(settings())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(_threads, [(port, path, key, CLIENTS // 2, lasts) for _ in range(2)])
    return [seconds for one in results for seconds in one]


def _threads(port: int, path: str, key: str, count: int, lasts: float) -> list[float]:
    until = time.perf_counter() + lasts
    with ThreadPoolExecutor(count) as pool:
        done = [pool.submit(_post, port, path, key, until) for _ in range(count)]
        return [seconds for one in done for seconds in one.result()]


def _post(port: int, path: str, key: str, until: float) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    taken: list[float] = []
    while time.perf_counter() < until:
        body = json.dumps(_call(len(taken)))
        began = time.perf_counter()
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 202):
            raise SystemExit(f"{path} answered {answer.status}")
        taken.append(time.perf_counter() - began)
    return taken
