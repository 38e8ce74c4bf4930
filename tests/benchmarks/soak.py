"""`--minutes N` under a steady load: the jobs table, Redis's memory and every process's memory must stay flat."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import psutil

from app import jobs
from app.infra import redis
from app.infra.db import unit_of_work
from app.jobs import Submission
from tests.benchmarks.footprint import memory_mb
from tests.benchmarks.jobs import ENGINE, unfinished, warm_up
from tests.benchmarks.support import Figure, engine, machine, servers, show, wait_until

JOBS_PER_SECOND = 30
SAMPLE_SECONDS = 10.0
SETTLING_SHARE = 0.3


@dataclass(slots=True)
class Samples:
    """Readings over the run."""

    at: list[float] = field(default_factory=list)
    table_mb: list[float] = field(default_factory=list)
    redis_mb: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)

    def growth(self, values: list[float]) -> tuple[float, float]:
        """Means of the first and the last quarter of what followed the settling."""
        settled = values[int(len(values) * SETTLING_SHARE) :]
        quarter = max(1, len(settled) // 4)
        return sum(settled[:quarter]) / quarter, sum(settled[-quarter:]) / quarter


def run(arguments: list[str]) -> None:
    """Load, sample, and compare the beginning with the end."""
    minutes = float(arguments[arguments.index("--minutes") + 1]) if "--minutes" in arguments else 10.0
    print(machine(), f"- {minutes:g} minutes at {JOBS_PER_SECOND} jobs/s")
    samples = Samples()
    with servers(SMM_JOB_HISTORY_DAYS="1") as home, engine(home, ENGINE) as supervisor:
        warm_up()
        submitted = load(samples, supervisor, seconds=minutes * 60)
        wait_until(lambda: unfinished() == 0, seconds=120, what="the last jobs")
    figures = [Figure("jobs done", submitted, "")]
    figures += [flat("jobs table with its indexes", "MiB", samples, samples.table_mb, 1.5)]
    figures += [flat("Redis memory", "MiB", samples, samples.redis_mb, 1.2)]
    figures += [flat(f"memory, {name}", "MiB", samples, values, 1.1) for name, values in sorted(samples.memory.items())]
    show(figures)


def flat(name: str, unit: str, samples: Samples, values: list[float], limit: float) -> Figure:
    """The end beside the beginning."""
    early, late = samples.growth(values)
    return Figure(name, late, unit, baseline=early, limit=limit, limit_of_ratio=True)


def load(samples: Samples, supervisor: psutil.Process, *, seconds: float) -> int:
    """Submit a second's jobs each second: most succeed, some fail once, some wait, some share a key."""
    started, submitted, next_sample = time.monotonic(), 0, 0.0
    while (elapsed := time.monotonic() - started) < seconds:
        with unit_of_work() as uow:
            jobs.submit_many(uow, [one() for _ in range(JOBS_PER_SECOND)])
        submitted += JOBS_PER_SECOND
        if elapsed >= next_sample:
            sample(samples, supervisor, elapsed)
            next_sample += SAMPLE_SECONDS
        time.sleep(max(0.0, started + submitted / JOBS_PER_SECOND - time.monotonic()))
    return submitted


def one() -> Submission:
    queue = random.choice(("default", "default", "bulk", "critical", "high"))
    key = f"key-{random.randrange(20)}" if random.random() < 0.1 else None
    return Submission("bench.empty", queue=queue, key=key)


def sample(samples: Samples, supervisor: psutil.Process, elapsed: float) -> None:
    with unit_of_work() as uow:
        size = uow.execute("SELECT pg_total_relation_size('jobs')").scalar_one()
    samples.at.append(elapsed)
    samples.table_mb.append(size / 2**20)
    samples.redis_mb.append(int(redis.client().info("memory")["used_memory"]) / 2**20)
    for name, value in memory_mb(supervisor).items():
        samples.memory.setdefault(name, []).append(value)
