"""Jobs: their cost beside bare Celery tasks, the time to start, submission in bulk, and a flood beside urgent work."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from app import jobs
from app.infra import queue
from app.infra.db import read_only, unit_of_work
from app.jobs import Submission
from tests.benchmarks.support import Figure, engine, machine, percentile, servers, show, wait_until

ENGINE = ("beat", "worker-tick", "worker-critical", "worker-high", "worker-default", "worker-bulk")
COUNT = 1500
ROUNDS = 5
BACKLOG = 20_000
RELAY_SECONDS = 1.0


def run() -> None:
    """All figures of jobs."""
    print(machine())
    with servers() as home:
        with engine(home, ENGINE):
            warm_up()
            show(latency_when_idle())
            show(cost_of_a_job())
        show(submission_in_bulk())
        with engine(home, ENGINE):
            warm_up()
            show(urgent_work_in_a_flood(home))


def warm_up() -> None:
    """Every worker child has run a job: imports, connections and plans are paid for."""
    ids = [submit(queue=name) for _ in range(20) for name in ("critical", "default", "bulk")]
    started_at(ids[-1])
    wait_until(lambda: unfinished() == 0, seconds=60, what="the warm-up")


def submit(*, queue: str) -> UUID:
    """One job in a transaction of its own."""
    with unit_of_work() as uow:
        return jobs.submit(uow, "bench.empty", queue=queue)


def unfinished() -> int:
    with read_only() as session:
        return int(session.execute(text("SELECT count(*) FROM jobs WHERE task LIKE 'bench.%'")).scalar_one())


def started_at(job: UUID) -> float:
    """When the job's body began, by its own clock; waits until it has ended."""
    query = text("SELECT (result ->> 'started')::float8 FROM job_history WHERE id = :id")
    found: list[float] = []

    def ended() -> bool:
        with read_only() as session:
            found.extend(session.execute(query, {"id": job}).scalars())
        return bool(found)

    wait_until(ended, seconds=60, what="a job's end", every=0.005)
    return found[0]


def latencies(count: int, *, queue: str, pause: float) -> list[float]:
    """Milliseconds from before the submitting transaction to the first line of the job's body, one job at a time."""
    found = []
    for _ in range(count):
        before = time.time()
        found.append((started_at(submit(queue=queue)) - before) * 1000)
        time.sleep(pause)
    return found


def latency_when_idle() -> list[Figure]:
    found = latencies(300, queue="default", pause=0.03)
    return [
        Figure("submit to start, idle engine, median", statistics.median(found), "ms", limit=50),
        Figure("submit to start, idle engine, p99", percentile(found, 99), "ms", limit=100),
    ]


def cost_of_a_job() -> list[Figure]:
    """The same worker, broker and settings; one submitter. Wall time from the first submission to the last end.

    A bare task's end is its acknowledgement, a job's end its row in the history: each is what its user may rely on.
    """

    def ledger() -> None:
        for _ in range(COUNT):
            submit(queue="default")
        wait_until(lambda: unfinished() == 0, seconds=300, what="the jobs", every=0.1)

    def ledger_together() -> None:
        with unit_of_work() as uow:
            jobs.submit_many(uow, [Submission("bench.empty", queue="default")] * COUNT)
        wait_until(lambda: unfinished() == 0, seconds=300, what="the jobs", every=0.1)

    # In turns, so that what else the machine does falls on all three alike.
    taken = [[timed(work) for work in (bare_tasks, ledger, ledger_together)] for _ in range(ROUNDS)]
    bare, one_by_one, together = (statistics.median(column) for column in zip(*taken, strict=True))
    milliseconds = 1000 / COUNT
    return [
        Figure(
            "a job, submitted one by one, beside a bare task",
            one_by_one * milliseconds,
            "ms",
            baseline=bare * milliseconds,
            limit=3,
            limit_of_ratio=True,
        ),
        Figure(
            "a job, submitted in one transaction, beside a bare task",
            together * milliseconds,
            "ms",
            baseline=bare * milliseconds,
            limit=3,
            limit_of_ratio=True,
        ),
        Figure("jobs a second, submitted one by one", COUNT / one_by_one, "/s", baseline=COUNT / bare),
    ]


def bare_tasks() -> None:
    """Publish bare tasks one by one and wait until all are acknowledged."""
    from tests.benchmarks.work_tasks import bare

    for _ in range(COUNT):
        bare.apply_async(queue="default", retry=False)
    wait_until(
        lambda: queue.depths()["default"].depth + queue.unacked() == 0, seconds=300, what="the bare tasks", every=0.05
    )


def timed(work: Callable[[], None]) -> float:
    """Seconds that it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def submission_in_bulk() -> list[Figure]:
    """10,000 jobs in one transaction, COMMIT and the first doorbells included; no worker runs."""
    count = 10_000

    def together() -> None:
        with unit_of_work() as uow:
            jobs.submit_many(uow, [Submission("bench.empty", queue="bulk")] * count)

    taken = statistics.median(timed(together) for _ in range(5))
    clear()
    return [Figure("jobs committed in one transaction of 10,000", count / taken, "/s", limit=5000, at_least=True)]


def clear() -> None:
    """Forget the jobs that wait."""
    with unit_of_work() as uow:
        uow.execute("DELETE FROM jobs WHERE task LIKE 'bench.%'")
    for name in ENGINE:
        queue.purge(name.removeprefix("worker-"))


def urgent_work_in_a_flood(home: Path) -> list[Figure]:
    """A critical job's start while 20,000 bulk jobs wait and the bulk worker never rests; and the ticks meanwhile."""
    idle = latencies(200, queue="critical", pause=0.03)
    with unit_of_work() as uow:
        jobs.submit_many(uow, [Submission("bench.busy", {"seconds": 0.02}, queue="bulk")] * BACKLOG)
    wait_until(lambda: queue.depths()["bulk"].depth > 500, seconds=30, what="the flood")
    with TickWatch() as watch:
        flooded = latencies(200, queue="critical", pause=0.03)
    waiting = unfinished()
    clear()
    if waiting < BACKLOG / 2:
        raise RuntimeError(f"the flood had run dry: only {waiting} jobs were left")
    return [
        *compared("a critical job in a flood", flooded, idle),
        Figure("job-relay ticks missed in the flood", watch.missed, "", baseline=watch.expected, limit=0),
    ]


def compared(name: str, values: Sequence[float], baseline: Sequence[float]) -> list[Figure]:
    """Median within 2 times and p99 within 4 times of the idle engine's."""
    return [
        Figure(
            f"{name}, median",
            statistics.median(values),
            "ms",
            statistics.median(baseline),
            limit=2,
            limit_of_ratio=True,
        ),
        Figure(f"{name}, p99", percentile(values, 99), "ms", percentile(baseline, 99), limit=4, limit_of_ratio=True),
    ]


class TickWatch:
    """Counts the runs of the relay by its row in the timetable: a gap of two intervals is a tick missed."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seen: list[float] = []

    def __enter__(self) -> TickWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def expected(self) -> int:
        """Ticks due between the first and the last run seen."""
        return round((self._seen[-1] - self._seen[0]) / RELAY_SECONDS)

    @property
    def missed(self) -> int:
        """Those of them that did not run."""
        return max(0, self.expected - (len(self._seen) - 1))

    def _watch(self) -> None:
        query = text("SELECT extract(epoch FROM last_run_at)::float8 FROM schedule WHERE name = 'job-relay'")
        while not self._stop.wait(0.1):
            with read_only() as session:
                at = session.execute(query).scalar_one_or_none()
            if at is not None and (not self._seen or at != self._seen[-1]):
                self._seen.append(at)
