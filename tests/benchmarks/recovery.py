"""What the loss of Redis costs: 5,000 jobs in flight, the broker flushed, beside the same work unharmed."""

from __future__ import annotations

import time

from app import jobs
from app.infra import redis
from app.infra.db import unit_of_work
from app.jobs import Submission
from tests.benchmarks.jobs import ENGINE, unfinished, warm_up
from tests.benchmarks.support import Figure, engine, machine, servers, show, wait_until

COUNT = 5000
MOST_SECONDS_MORE = 60


def run() -> None:
    """Both runs on the same engine."""
    print(machine())
    with servers() as home, engine(home, ENGINE):
        warm_up()
        unharmed = seconds_until_done(flush=False)
        flushed = seconds_until_done(flush=True)
    show(
        [
            Figure(f"{COUNT} jobs done, Redis flushed once", flushed, "s", baseline=unharmed),
            Figure("seconds that the loss of Redis cost", flushed - unharmed, "s", limit=MOST_SECONDS_MORE),
        ]
    )


def seconds_until_done(*, flush: bool) -> float:
    """Submission to the last end; with `flush`, FLUSHALL when a fifth is done."""
    started = time.perf_counter()
    with unit_of_work() as uow:
        jobs.submit_many(uow, [Submission("bench.empty", queue="default")] * COUNT)
    if flush:
        wait_until(lambda: unfinished() < COUNT * 4 / 5, seconds=300, what="a fifth of the jobs")
        redis.client().flushall()
    wait_until(lambda: unfinished() == 0, seconds=600, what="the jobs", every=0.1)
    return time.perf_counter() - started
