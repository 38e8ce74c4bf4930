"""Evicting a cache of 100,000 keys from a full Redis: how long others wait for an answer meanwhile, beside idle."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.config import Settings
from app.infra import embedded
from app.infra.eviction import Wanted, evict, memory_of
from app.infra.redis import connect
from tests.benchmarks.support import Figure, machine, percentile, show

KEYS = 100_000
MAXMEMORY_MB = 256
VALUE_BYTES = 400
TARGET_PERCENT = 5
LONGEST_P99_MS = 10.0
IDLE_SECONDS = 5.0


def run() -> None:
    """One client asks for a key every millisecond, first alone and then while another process evicts."""
    print(machine())
    with server() as url:
        client = connect(url, timeout_seconds=10, decode=False)
        fill(client)
        evicting = multiprocessing.get_context("spawn").Process(target=_evict, args=(url,))
        until = time.perf_counter() + IDLE_SECONDS
        idle = waits(client, lambda: time.perf_counter() < until)
        evicting.start()
        before = count(client)
        waiting_for_it(client, before)
        started = time.perf_counter()
        busy = waits(client, evicting.is_alive)
        seconds = time.perf_counter() - started
        evicting.join()
        evicted, others = before - count(client), int(client.llen("smm:queue"))
        if evicting.exitcode != 0 or others != 1000:
            raise RuntimeError(f"the eviction ended with {evicting.exitcode}; {others} messages are left of 1000")
    show(
        [
            Figure("keys evicted", evicted, "", limit=KEYS * 0.8, at_least=True),
            Figure("seconds it took", seconds, "s"),
            Figure("another client's p99 meanwhile", percentile(busy, 99), "ms", percentile(idle, 99), LONGEST_P99_MS),
            Figure("another client's median meanwhile", percentile(busy, 50), "ms", percentile(idle, 50)),
            Figure("another client's longest wait", max(busy), "ms", max(idle)),
        ]
    )


def fill(client: Any) -> None:
    """A full server: the cache, all of it old enough to go, and a queue that nobody may touch."""
    client.rpush("smm:queue", *[b"x" * 200] * 1000)
    client.set("model", b"x" * VALUE_BYTES)
    packed = client.dump("model")
    pipe = client.pipeline(transaction=False)
    for number in range(KEYS):
        pipe.execute_command("RESTORE", f"cache:page:{number}", 0, packed, "IDLETIME", 60 + number % 86_400)
        if number % 1000 == 999:
            pipe.execute()
    used = memory_of(client).used
    client.config_set("maxmemory", used)


def count(client: Any) -> int:
    return int(client.dbsize())


def waiting_for_it(client: Any, before: int) -> None:
    """Python's own start is no part of the figure."""
    while count(client) == before:
        time.sleep(0.001)


def waits(client: Any, goes_on: Callable[[], bool]) -> list[float]:
    """Milliseconds of each GET, as long as that."""
    found = []
    while goes_on():
        asked = time.perf_counter()
        client.get("model")
        found.append((time.perf_counter() - asked) * 1000)
        time.sleep(0.001)
    return found


def _evict(url: str) -> None:
    client = connect(url, timeout_seconds=10, decode=False)
    evict(client, Wanted("cache:", target_percent=TARGET_PERCENT), seconds=120)


@contextlib.contextmanager
def server(maxmemory_mb: int = MAXMEMORY_MB) -> Iterator[str]:
    """A Valkey as the product runs it."""
    home = Path(tempfile.mkdtemp(prefix="smm-bench-"))
    elsewhere = SecretStr("postgresql://elsewhere/none")
    config = Settings(home=home, database_url=elsewhere, redis_url=None, redis_maxmemory_mb=maxmemory_mb)
    try:
        with embedded.started(config) as urls:
            yield urls["redis"]
    finally:
        shutil.rmtree(home, ignore_errors=True)
