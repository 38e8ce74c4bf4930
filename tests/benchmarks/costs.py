"""Recording LLM calls end to end beside a bare COPY of the same rows, and beside a Celery task and INSERT for each.

COUNT=1000000 make bench NAME=costs
BUDGETS=five make bench NAME=costs      # of all, tenants, users, agents and departments, instead of tenants alone
"""

from __future__ import annotations

import http.client
import io
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

from app.config import settings
from app.costs import calls, draining, packing, price_import, price_table, recording
from app.costs.calls import Call
from app.infra import adminkey, ids, queue
from app.infra.db import engine as database
from app.infra.db import execute_once, unit_of_work
from app.jobs.upkeep import make_partitions
from app.limits import rebuild, spending
from tests.benchmarks import costs_single
from tests.benchmarks.admission import web
from tests.benchmarks.support import Figure, engine, machine, servers, show, wait_until

SHIPPED = """
[services.redis]
kind = "redis"

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 1000000

[http.default]
rate = 0
"""
CATALOG = costs_single.CATALOG if os.environ.get("BUDGETS") == "five" else SHIPPED
COUNT = int(os.environ.get("COUNT", "100000"))
BATCH = 500
POSTERS = 4
TASKS = 3_000
TABLES = ("cost_tracking", "cost_hours", "cost_days", "cost_touched_days")


def run() -> None:
    """The same rows three ways, in one run."""
    print(machine())
    with servers() as home:
        (home / "smm-admin.toml").write_text(CATALOG)
        settings.cache_clear()
        _ready()
        sent = [made(place) for place in range(COUNT)]
        bodies = [json.dumps({"calls": sent[first : first + BATCH]}).encode() for first in range(0, COUNT, BATCH)]
        rows = [recording.priced([call for _, call in calls.parse(body).good]) for body in bodies]
        ready, bare, in_batches = (
            max(copied(rows, together, is_ready=is_ready) for _ in range(2))
            for together, is_ready in ((40, True), (40, False), (1, False))
        )
        drained = into_postgres(rows)
        with engine(home, ("beat", "worker-default")):
            with web(home) as port:
                whole = end_to_end(port, bodies)
            one_by_one = by_tasks(sent[:TASKS])
    name = "HTTP to Postgres, with roll-ups"
    show(
        [
            Figure("a COPY of rows as they are in Python", bare, "/s"),
            Figure("  whose text is ready", ready, "/s", bare),
            Figure(f"  {BATCH} a transaction", in_batches, "/s", bare),
            Figure("from the stream to Postgres, with roll-ups", drained, "/s", bare),
            Figure(name, whole, "/s", bare, 0.4, limit_of_ratio=True, at_least=True),
            Figure("  beside the COPY whose text is ready", whole, "/s", ready),
            Figure(f"  beside the COPY of {BATCH} a transaction", whole, "/s", in_batches),
            Figure("  beside a task and INSERT each", whole, "/s", one_by_one, 20, limit_of_ratio=True, at_least=True),
        ]
    )


def _ready() -> None:
    make_partitions()
    with unit_of_work() as uow:
        price_import.first(uow)
    price_table.outdate()
    wait_until(lambda: price_table.current() is not None, seconds=10, what="prices are read")
    rebuild.begin()
    wait_until(rebuild.fill, seconds=10, what="counters are whole")


def made(place: int) -> dict[str, Any]:
    """A call as it is posted."""
    tenant = place % 50
    return {
        "id": str(ids.uuid7()),
        "tenant": f"tenant-{tenant}",
        "skill": ("content", "engage", "intel", "comms")[place % 4],
        "agent": f"agent-{place % 8}",
        "user": f"user-{tenant}-{place % 7}@example.org",
        "department": ("marketing", "sales", "support")[place % 3],
        "interaction": f"run-{place % 1000}",
        "provider": "anthropic",
        "model": ("claude-opus-4-6", "claude-haiku-4-5")[place % 5 == 0],
        "input_tokens": 1200 + place % 800,
        "cached_tokens": 900,
        "output_tokens": 150 + place % 100,
        "latency_ms": 800 + place % 500,
        "request_id": f"req_{place:024}",
        "prompt_hash": f"{place % 977:064x}",
        "tags": {"campaign": "spring", "language": "en"},
    }


def clear() -> None:
    """Empty tables, and nothing in the way of the next round."""
    for table in TABLES:
        execute_once(f"TRUNCATE {table}")
    execute_once("CHECKPOINT")


def copied(rows: Sequence[Sequence[Call]], together: int, *, is_ready: bool) -> float:
    """Rows a second by COPY into the partitioned table, so many batches a transaction."""
    clear()
    groups = [rows[first : first + together] for first in range(0, len(rows), together)]
    texts = [_text(group) for group in groups] if is_ready else []
    with closing(database().raw_connection()) as connection:
        cursor = connection.cursor()
        began = time.perf_counter()
        for place, group in enumerate(groups):
            text = io.BytesIO(texts[place] if is_ready else _text(group))
            cursor.copy_expert(f"COPY cost_tracking ({', '.join(packing.COLUMNS)}) FROM STDIN", text)
            connection.commit()
        return COUNT / (time.perf_counter() - began)


def _text(batches: Sequence[Sequence[Call]]) -> bytes:
    return b"".join(map(packing.rows, batches))


def into_postgres(rows: Sequence[Sequence[Call]]) -> float:
    """Rows a second that one drain takes out of the stream."""
    clear()
    for batch in rows:
        spending.record((), packing.rows(batch), always=True)
    began = time.perf_counter()
    while spending.backlog().entries:
        draining.drain()
    _check(COUNT)
    return COUNT / (time.perf_counter() - began)


def end_to_end(port: int, bodies: Sequence[bytes]) -> float:
    """Rows a second from the first request until the last row, and what it adds to, is committed by the engine."""
    clear()
    key = adminkey.load_or_create(settings())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(_posted, (port, key, bodies[:0]))
        began = time.perf_counter()
        posting = pool.apply_async(_posted, (port, key, bodies))
        posting.get()
        accepted = time.perf_counter() - began
        wait_until(lambda: _count() == COUNT, seconds=600, what="all rows are there", every=0.1)
        taken = time.perf_counter() - began
    print(f"accepted within {accepted:.1f} s, written down within {taken:.1f} s")
    wait_until(lambda: spending.backlog().entries == 0, seconds=10, what="the stream is empty")
    _check(COUNT)
    return COUNT / taken


def _posted(port: int, key: str, bodies: Sequence[bytes]) -> None:
    with ThreadPoolExecutor(POSTERS) as pool:
        list(pool.map(lambda place: _post(port, key, bodies[place::POSTERS]), range(POSTERS)))


def _post(port: int, key: str, bodies: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    for body in bodies:
        while True:
            connection.request("POST", "/api/v1/costs/calls", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status == 202:
                break
            if answer.status != 503:
                raise RuntimeError(f"{answer.status} {said[:300]!r}")
            time.sleep(0.1)  # the stream is full


def by_tasks(sent: Sequence[dict[str, Any]]) -> float:
    """Calls a second where each is a Celery task that inserts its row; the messages are in the broker before."""
    clear()
    began = time.perf_counter()
    for call in sent:
        task_id = str(ids.uuid7())
        kwargs = {"call": call}
        queue.send("bench.insert", queue="default", kwargs=kwargs, expires=timedelta(hours=1), task_id=task_id)
    wait_until(lambda: _count() == len(sent), seconds=300, what="every task's row", every=0.1)
    return len(sent) / (time.perf_counter() - began)


def _count() -> int:
    return int(execute_once("SELECT count(*) AS n FROM cost_tracking")[0].n)


def _check(count: int) -> None:
    rolled = execute_once("SELECT dimension, sum(calls) AS n FROM cost_hours GROUP BY 1")
    if _count() != count or {row.n for row in rolled} != {count} or len(rolled) != 4:
        raise RuntimeError(f"{_count()} rows, rolled up {rolled}")
