"""The page of all processes, on a real Valkey."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from app.config import settings
from app.infra import metrics, redis
from app.infra.metrics import flusher
from app.infra.metrics.families import gauge
from app.infra.metrics.instruments import Batch, deltas, forget_known
from tests.fixtures.programs import need
from tests.fixtures.servers import Servers

COUNT_IN_ANOTHER_PROCESS = """
from app.infra import metrics
metrics.start_flusher()
metrics.TASK_SECONDS.observe(0.2, task="tasks.a", outcome="succeeded")
metrics.JOB_ATTEMPTS.inc(task="tasks.a", outcome="succeeded")
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    deltas().restart()
    forget_known()
    yield
    metrics.clear_collectors()
    deltas().restart()
    forget_known()


def samples() -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and label values (in the order of label names), of the page as a scraper reads it."""
    page, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_what_other_processes_counted_is_on_the_page_after_they_ended(redis_server: str) -> None:
    metrics.JOB_ATTEMPTS.inc(task="tasks.a", outcome="succeeded")
    assert metrics.flush()
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COUNT_IN_ANOTHER_PROCESS], check=True, timeout=30)
    found = samples()
    assert found["smm_job_attempts_total", ("succeeded", "tasks.a")] == 3
    assert found["smm_task_duration_seconds_count", ("succeeded", "tasks.a")] == 2
    assert found["smm_task_duration_seconds_bucket", ("0.25", "succeeded", "tasks.a")] == 2
    assert found["smm_task_duration_seconds_bucket", ("0.1", "succeeded", "tasks.a")] == 0
    assert found["smm_task_duration_seconds_sum", ("succeeded", "tasks.a")] == pytest.approx(0.4)
    assert found["smm_scrape_source_up", ("redis",)] == 1


def test_a_batch_whose_answer_was_lost_counts_once(redis_server: str) -> None:
    batch = Batch(7, {("smm_scrapes_total", (), "count"): 3.0})
    assert flusher._send("a-process", batch) is None
    assert flusher._send("a-process", batch) is None
    assert flusher._send("another-process", batch) is None
    assert samples()["smm_scrapes_total", ()] == 6


def test_counts_survive_a_frozen_redis_and_the_page_answers_meanwhile(redis_server: str, servers: Servers) -> None:
    metrics.TICKS.inc(task="tasks.tick", outcome="succeeded")
    assert metrics.flush()
    valkey = json.loads((servers.home / "servers.json").read_text())["redis"]["pid"]
    os.kill(valkey, signal.SIGSTOP)
    try:
        metrics.TICKS.inc(task="tasks.tick", outcome="succeeded")
        started = time.monotonic()
        assert not metrics.flush()
        assert time.monotonic() - started < 1.5
        started = time.monotonic()
        found = samples()
        assert time.monotonic() - started < 2.2
        assert found["smm_scrape_source_up", ("redis",)] == 0
        assert not any(name == "smm_tick_runs_total" for name, _ in found)
        assert found["process_resident_memory_bytes", ()] > 0
    finally:
        os.kill(valkey, signal.SIGCONT)
    redis.client.cache_clear()
    assert metrics.flush()
    assert samples()["smm_tick_runs_total", ("succeeded", "tasks.tick")] == 2


def test_a_flushed_redis_starts_the_counters_again(redis_server: str) -> None:
    metrics.TICKS.inc(5, task="tasks.tick", outcome="succeeded")
    assert metrics.flush()
    redis.client().flushall()
    metrics.TICKS.inc(task="tasks.tick", outcome="succeeded")
    assert metrics.flush()
    assert samples()["smm_tick_runs_total", ("succeeded", "tasks.tick")] == 1


def test_a_wrong_password_is_a_source_that_is_down(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.replace("redis://:", "redis://:not-"))
    settings.cache_clear()
    redis.client.cache_clear()
    metrics.TICKS.inc(task="tasks.tick", outcome="succeeded")
    assert not metrics.flush()
    assert samples()["smm_scrape_source_up", ("redis",)] == 0


def test_a_collector_that_hangs_takes_only_its_own_source_away_and_never_piles_up(redis_server: str) -> None:
    release = threading.Event()
    entered: list[int] = []

    def hanging() -> list[Metric]:
        entered.append(1)
        release.wait(30)
        return [gauge("smm_test_late", "Late.", (), [((), 1.0)])]

    metrics.register_collector(hanging, source="postgres")
    metrics.register_collector(lambda: [gauge("smm_test_prompt", "Prompt.", (), [((), 1.0)])], source="process")
    for _ in range(2):
        page, _ = metrics.render(timeout_seconds=0.2)
        assert b'smm_scrape_source_up{source="postgres"} 0.0' in page
        assert b"smm_test_prompt 1.0" in page
        assert b"smm_test_late" not in page
    assert len(entered) == 1
    release.set()
    assert samples()["smm_test_late", ()] == 1
    assert samples()["smm_scrape_source_up", ("postgres",)] == 1


def test_a_collector_that_raises_is_a_source_that_is_down(redis_server: str) -> None:
    def broken() -> Iterator[Metric]:
        yield gauge("smm_test_half", "Half.", (), [])
        raise RuntimeError("no such table")

    metrics.register_collector(broken, source="postgres")
    found = samples()
    assert found["smm_scrape_source_up", ("postgres",)] == 0
    assert found["smm_scrape_source_up", ("redis",)] == 1


def test_each_scrape_is_counted(redis_server: str) -> None:
    metrics.render()
    metrics.render()
    metrics.flush()
    assert samples()["smm_scrapes_total", ()] == 2


@pytest.mark.prometheus
def test_promtool_finds_nothing_to_say_about_the_page(redis_server: str) -> None:
    promtool = need("promtool", package="prometheus")
    awkward = 'quote " backslash \\ newline \n end'
    metrics.TASK_SECONDS.observe(0.2, task=awkward, outcome="succeeded")
    metrics.HTTP_REQUESTS.inc(method="GET", route="/api/v1/jobs/{id}", status="200")
    assert metrics.flush()
    page, _ = metrics.render()
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    assert awkward in {labels[-1] for name, labels in samples() if name == "smm_task_duration_seconds_count"}


def test_a_process_that_counts_on_is_flushed_without_being_asked(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "INTERVAL_SECONDS", 0.05)
    for round_number in (1, 2):  # stopped and started again, as a reloaded web application is
        metrics.start_flusher()
        metrics.EXPIRED.inc(queue="bulk")
        deadline = time.monotonic() + 10
        while samples().get(("smm_jobs_expired_total", ("bulk",)), 0) < round_number:
            assert time.monotonic() < deadline
        metrics.stop_flusher()
