"""Release: 100,000 operations that waited go on, their jobs rung in the real broker, in exact order of each account."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from app import clock
from app.admission import deferring, queues, releasing
from app.config import settings
from app.infra import queue, redis
from app.infra.db import read_only, unit_of_work
from app.limits import keys
from tests.benchmarks.support import Figure, machine, servers, show

COUNT = 100_000
ACCOUNTS = 100
BATCH = 1000
CATALOG = """
[services.idle]
kind = "heartbeat"
period_seconds = 86400

[limits.bench_hour]
capacity = 10_000_000
window = "calendar"
period = "hour"
spread = 0
reserve = 0

[limits.bench_rolling]
capacity = 10_000_000
window = "rolling"
period = "hour"

[operations.bench]
platform = "bench"
class = "interactive"
consumes = {bench_hour = 1, bench_rolling = 1}
"""


def run() -> None:
    """Over many accounts, and over one."""
    print(machine())
    with servers(SMM_DOORBELLS_PER_QUEUE=str(2 * COUNT), SMM_DEFERRED_MOST=str(2 * COUNT)) as home:
        (home / "smm-admin.toml").write_text(CATALOG)
        settings.cache_clear()
        redis.client().set(keys.EPOCH, "whole:1")
        show(released(ACCOUNTS))
        show(released(1))


def released(accounts: int) -> list[Figure]:
    """Passes, one after another in one process, until nothing waits."""
    _clear()
    started = time.perf_counter()
    _fill(accounts)
    joined = time.perf_counter() - started
    with unit_of_work() as uow:
        queues.wake(uow, "all")
    started = time.perf_counter()
    done = 0
    while done < COUNT:
        done += releasing.release_due(seconds=5).released
    taken = time.perf_counter() - started
    _check(accounts)
    name = f"over {accounts} accounts" if accounts > 1 else "over one account"
    return [
        Figure(f"operations that began to wait, {name}", COUNT / joined, "/s"),
        Figure(f"released and rung, {name}", COUNT / taken, "/s", limit=1000, at_least=True),
    ]


def _fill(accounts: int) -> None:
    expires = clock.now() + timedelta(hours=5)
    for start in range(0, COUNT, BATCH):
        wanted = [
            deferring.Wanted(
                account=f"bench/account-{number % accounts}",
                tenant=None,
                operation="bench",
                rank=1,
                request_id=f"{accounts}-{number}",
                estimate=0,
                task={"task": "bench.published", "kwargs": {"number": number}, "queue": "bulk"},
                caller="bench",
                expires_at=expires,
            )
            for number in range(start, start + BATCH)
        ]
        with unit_of_work() as uow:
            deferring.defer_many(uow, wanted, [None] * len(wanted))


def _check(accounts: int) -> None:
    """Every operation's message once, and those of an account in the order in which they came."""
    with read_only() as session:
        rows = session.execute(text("SELECT job_id, account, seq FROM deferred_operations ORDER BY seq"))
        known = {str(row.job_id): (row.account, row.seq) for row in rows}
    rung = names_in_broker("bulk")
    if len(rung) != COUNT or len(set(rung)) != COUNT:
        raise RuntimeError(f"{len(rung)} messages for {COUNT} operations")
    last: dict[str, int] = {}
    for job in rung:
        account, seq = known[str(job)]
        if seq < last.get(account, 0):
            raise RuntimeError(f"{account}: {seq} was rung after {last[account]}")
        last[account] = seq
    if len(last) != accounts:
        raise RuntimeError(f"messages of {len(last)} accounts")


def names_in_broker(name: str) -> Sequence[UUID]:
    """The jobs whose messages wait in a queue, the first to be taken first."""
    lists = [redis.client().lrange(key, 0, -1) for key in queue.list_keys(name)]
    return [UUID(json.loads(message)["headers"]["id"]) for messages in lists for message in reversed(messages)]


def _clear() -> None:
    with unit_of_work() as uow:
        for table in ("deferred_operations", "deferral_queues", "jobs"):
            uow.execute(f"DELETE FROM {table}")
    queue.purge("bulk")
