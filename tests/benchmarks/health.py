"""Health: claiming ten thousand due checks, a full cycle over 500 HTTP targets on one worker, its memory over 100."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from sqlalchemy import text

from app import clock, health
from app.catalog import Catalog, Service
from app.config import settings
from app.infra.db import read_only, unit_of_work
from tasks.health import claim_due
from tests.benchmarks.support import Figure, engine, machine, percentile, servers, show, wait_until

CLAIMED = 10_000
TARGETS = 500
CYCLES = 100
WARM_CYCLES = 10
ANSWER_SECONDS = 0.1
CONCURRENT = 100  # two worker children of fifty probes each

SLOW_SERVER = f"""
import asyncio
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok"
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    await asyncio.sleep({ANSWER_SECONDS})
    writer.write(ANSWER)
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def run() -> None:
    """All figures of health."""
    print(machine())
    with servers() as home, slow_server() as url:
        show(claiming())
        write_catalogue(home, url)
        with engine(home, ["worker-default"]):
            show([*cycles(url)])


def claiming() -> list[Figure]:
    """One query over ten thousand due rows, beside the barest update of as many."""
    services = {
        f"s{number}": Service(name=f"s{number}", kind="tcp", options={"host": "127.0.0.1", "port": 1})
        for number in range(CLAIMED)
    }
    with unit_of_work() as uow:
        health.sync_catalog(uow, Catalog(services=services, digest="bench"))
    with unit_of_work() as uow:
        uow.execute("ANALYZE services")
    started = time.perf_counter()
    with unit_of_work() as uow:
        uow.execute("UPDATE services SET next_check_at = now()")
    bare = time.perf_counter() - started
    started = time.perf_counter()
    with unit_of_work() as uow:
        batches = health.claim_due(uow, limit=CLAIMED)
    took = time.perf_counter() - started
    if sum(map(len, batches)) != CLAIMED:
        raise RuntimeError(f"{sum(map(len, batches))} checks were claimed")
    return [Figure(f"claiming {CLAIMED:,} due checks, beside a bare UPDATE", took, "s", bare, limit=1.0)]


def cycles(url: str) -> Iterator[Figure]:
    """A hundred full cycles: their time, and what the worker's children weigh after ten and after all."""
    with unit_of_work() as uow:
        health.sync_current_catalog(uow)
    bare = bare_requests(url)
    took = [cycle() for _ in range(WARM_CYCLES)]
    before = weight()
    took += [cycle() for _ in range(CYCLES - WARM_CYCLES)]
    after = weight()
    name = f"a cycle over {TARGETS} targets, median, beside bare threads"
    yield Figure(name, percentile(took[WARM_CYCLES:], 50), "s", bare, limit=4.0)
    yield Figure(f"the slowest of {CYCLES - WARM_CYCLES} cycles", max(took[WARM_CYCLES:]), "s", limit=4.0)
    name = f"worker's children after {CYCLES} cycles, beside after {WARM_CYCLES}"
    yield Figure(name, after, "MiB", before, limit=1.1, limit_of_ratio=True)


def cycle() -> float:
    """Make everything due, claim and send it as the tick does; seconds until the last result is stored."""
    with unit_of_work() as uow:
        health.deep_cycle(uow)
    began = clock.now()
    started = time.perf_counter()
    claim_due()
    query = text("SELECT count(*) FROM services WHERE present AND state = 'up' AND last_started_at >= :began")

    def stored() -> bool:
        with read_only() as session:
            return bool(session.execute(query, {"began": began}).scalar_one() == TARGETS)

    wait_until(stored, seconds=60, what="a cycle")
    return time.perf_counter() - started


def bare_requests(url: str) -> float:
    """The same requests by as many bare threads, nothing stored."""
    with httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=30) as client:

        def ask(number: int) -> None:
            client.get(f"{url}/{number}").raise_for_status()

        with ThreadPoolExecutor(CONCURRENT) as pool:
            list(pool.map(ask, range(CONCURRENT)))
            started = time.perf_counter()
            list(pool.map(ask, range(TARGETS)))
            return time.perf_counter() - started


def weight() -> float:
    """MiB of memory that the worker's children have to themselves."""
    home = str(settings().home)
    total = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            parent = process.parent()
            if environment.get("SMM_HOME") == home and environment.get("SMM_PROCESS") == "worker-default":
                is_child = parent is not None and parent.environ().get("SMM_PROCESS") == "worker-default"
                total += process.memory_full_info().uss if is_child else 0
    return total / 2**20


def write_catalogue(home: Path, url: str) -> None:
    """The targets, each with an address of its own, and an interval that no run reaches."""
    lines = [
        f'[services.t{number}]\nkind = "http"\nurl = "{url}/{number}"\ninterval = 86400\n' for number in range(TARGETS)
    ]
    (home / "smm-admin.toml").write_text("".join(lines))


@contextlib.contextmanager
def slow_server() -> Iterator[str]:
    """A process of its own that answers every request after 100 ms; its address."""
    process = subprocess.Popen([sys.executable, "-c", SLOW_SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
