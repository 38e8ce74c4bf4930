"""What benchmarks share: servers and an engine of their own, waiting, percentiles, and one way of printing figures."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.config import Settings, settings
from app.infra import db, embedded, migrate, queue, redis

ROOT = Path(__file__).resolve().parents[2]
WORK_TASKS = "tests.benchmarks.work_tasks"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `baseline`: what it is compared with, in the same run; `limit` applies to the ratio when
    there is a baseline and `limit_of_ratio`, else to the value. `at_least`: the limit is a floor."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    limit: float | None = None
    limit_of_ratio: bool = False
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        """Figure by baseline."""
        return self.value / self.baseline if self.baseline else None

    @property
    def verdict(self) -> str:
        """ "ok" or "MISSED" against the limit; empty without one."""
        judged = self.ratio if self.limit_of_ratio else self.value
        if self.limit is None or judged is None:
            return ""
        return "ok" if (judged >= self.limit if self.at_least else judged <= self.limit) else "MISSED"


def show(figures: Sequence[Figure]) -> None:
    """Print figures as a table: name, figure, baseline, ratio, limit, verdict."""
    print(f"{'':52} {'figure':>14} {'baseline':>14} {'ratio':>7} {'limit':>9}")
    for figure in figures:
        value = f"{_number(figure.value)} {figure.unit}"
        baseline = "" if figure.baseline is None else f"{_number(figure.baseline)} {figure.unit}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}x"
        limit = "" if figure.limit is None else f"{'>=' if figure.at_least else '<='} {_number(figure.limit)}"
        limit += "x" if figure.limit_of_ratio else ""
        print(f"{figure.name:52} {value:>14} {baseline:>14} {ratio:>7} {limit:>9} {figure.verdict}", flush=True)


def machine() -> str:
    """What the figures were taken on."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def wait_until(fact: Callable[[], bool], *, seconds: float, what: str, every: float = 0.02) -> float:
    """Wait for a fact; how long it took. Raises RuntimeError naming it."""
    started = time.perf_counter()
    while not fact():
        if time.perf_counter() - started > seconds:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
    return time.perf_counter() - started


@contextlib.contextmanager
def servers(**environment: str) -> Iterator[Path]:
    """PostgreSQL and Valkey as the product runs them, migrated, in a home of their own; yields it.

    The process's environment names them for the length of the block, with `environment` beside, and the engine's
    layers are composed with the benchmarks' tasks.
    """
    home = Path(tempfile.mkdtemp(prefix="smm-bench-"))
    home.chmod(0o711)
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("SMM_", "DATABASE_URL", "REDIS_URL"))]:
        del os.environ[name]
    try:
        with embedded.started(Settings(home=home / "servers", database_url=None, redis_url=None)) as urls:
            os.environ |= {
                "DATABASE_URL": urls["postgres"],
                "REDIS_URL": urls["redis"],
                "SMM_HOME": str(home),
                "SMM_TASK_MODULES": json.dumps([WORK_TASKS]),
                "SMM_LOG_LEVEL": "warning",
                "PYTHONPATH": str(ROOT),
                **environment,
            }
            _forget()
            (home / "smm-admin.toml").write_text('[services.idle]\nkind = "heartbeat"\nperiod_seconds = 86400\n')
            os.environ["SMM_CATALOG_FILE"] = str(home / "smm-admin.toml")
            _forget()
            migrate.upgrade()
            from tasks.celery import compose

            compose()
            yield home
            _forget()
    finally:
        os.environ.clear()
        os.environ.update(before)
        _forget()
        shutil.rmtree(home, ignore_errors=True)


def _forget() -> None:
    db.dispose()
    queue.after_fork()
    redis.client.cache_clear()
    settings.cache_clear()


@contextlib.contextmanager
def engine(home: Path, only: Sequence[str]) -> Iterator[psutil.Process]:
    """`smm-admin up --only ...` as an operator starts it, ready; yields its process. Its output is in home/up.log."""
    command = [str(Path(sys.executable).with_name("smm-admin")), "up", "--only", ",".join(only)]
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        _wait_for_workers(home, process, sum(name.startswith("worker-") for name in only))
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_workers(home: Path, process: subprocess.Popen[bytes], count: int) -> None:
    """Raises RuntimeError with the end of the log when they do not come."""
    deadline = time.perf_counter() + 120
    while len(redis.client().hgetall(redis.WORKERS_KEY)) < count:
        if process.poll() is not None or time.perf_counter() > deadline:
            raise RuntimeError(f"the engine does not run:\n{(home / 'up.log').read_text()[-3000:]}")
        time.sleep(0.1)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
