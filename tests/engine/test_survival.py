"""What must be survived, done for real: every job ends exactly once in its effect, none is lost, none hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import exceptions as redis_errors

from app.infra import queue, redis
from app.infra.db import unit_of_work
from app.jobs import JobState, Submission, admin, submit_many
from tests.fixtures.stack import LEASE_SECONDS, PYTHON_BIN, Stack, eventually

pytestmark = pytest.mark.slow

AGAIN_WITHIN = LEASE_SECONDS + 10
"""With the default lease of 30 s this is the 40 s in which a lost worker's job runs again."""


def submit_noted(number: int, prefix: str) -> list[Any]:
    with unit_of_work() as uow:
        jobs = [Submission("tests.record", {"note": f"{prefix}{n}", "seconds": 0.02}) for n in range(number)]
        return submit_many(uow, jobs)


def each_exactly_once(ids: list[Any]) -> bool:
    with unit_of_work() as uow:
        rows = uow.execute(
            "SELECT count(*) AS effects, count(DISTINCT job) AS jobs FROM effects WHERE job = ANY(:ids)", ids=ids
        ).one()
    assert rows.effects == rows.jobs, "a job left its effect twice"
    return bool(rows.jobs == len(ids))


def all_done(stack: Stack, ids: list[Any], *, within: float) -> None:
    eventually(stack.drained, within=within, what="every job is finished")
    assert each_exactly_once(ids)


def test_a_worker_child_killed_in_the_middle_of_a_job(stack: Stack) -> None:
    job_id = stack.submit("tests.marked", seconds=3)
    stack.wait_note(job_id, "attempt 1")
    psutil.Process(_runner_of(job_id)).kill()
    job = stack.wait(job_id, within=AGAIN_WITHIN + 5)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    assert stack.notes(job_id) == ["attempt 1", "attempt 2", "done"]


def _runner_of(job_id: Any) -> int:
    """The process id that the job left with its first mark."""
    with unit_of_work() as uow:
        return int(uow.execute("SELECT worker FROM effects WHERE job = :job", job=job_id).scalar_one())


def test_a_whole_worker_killed_with_jobs_waiting(stack: Stack) -> None:
    ids = submit_noted(40, "killed-")
    for process in stack.processes("worker-default"):
        process.kill()
    all_done(stack, ids, within=AGAIN_WITHIN + 30)


def test_a_poison_job_is_dead_after_its_tries_and_its_worker_lives_on(stack: Stack) -> None:
    job_id = stack.submit("tests.poison")
    job = stack.wait(job_id, within=3 * AGAIN_WITHIN)
    assert (job.state, job.attempt) == (JobState.DEAD, 2)
    assert stack.notes(job_id) == ["attempt 1", "attempt 2"]
    after = stack.submit("tests.record", note="after")
    assert stack.wait(after).state == JobState.SUCCEEDED


def test_the_same_doorbell_five_times(stack: Stack) -> None:
    job_id = stack.submit("tests.record", note="once", seconds=0.5)
    queue.ring([queue.Doorbell(str(job_id), "tests.record", "default", 3)] * 5)
    stack.wait(job_id)
    eventually(lambda: queue.depths()["default"].depth == 0, within=20, what="the doorbells are answered")
    assert stack.notes(job_id) == ["once"]


def test_redis_killed_with_jobs_in_flight(stack: Stack) -> None:
    ids = submit_noted(150, "redis-killed-")
    stack.server("redis").kill()
    ids += submit_noted(50, "while-redis-was-away-")
    all_done(stack, ids, within=90)


def test_redis_flushed_with_jobs_in_flight(stack: Stack) -> None:
    ids = submit_noted(300, "flushed-")
    redis.client().flushall()
    all_done(stack, ids, within=60)


def test_redis_frozen_for_a_while(stack: Stack) -> None:
    ids = submit_noted(30, "frozen-")
    server = stack.server("redis")
    server.suspend()
    try:
        ids += submit_noted(5, "while-frozen-")
        eventually(
            lambda: stack.health()["services"]["redis"]["status"] == "down", within=60, what="the status says so"
        )
    finally:
        server.resume()
    all_done(stack, ids, within=90)


def test_redis_full(stack: Stack) -> None:
    client = redis.client()
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(redis_errors.OutOfMemoryError):
            client.set("smm:one-more", "x")
        ids = submit_noted(30, "full-")

        def complained() -> bool:
            seen = stack.health()["services"]["redis"]
            return bool(seen["warnings"]) or seen["status"] != "up"

        eventually(complained, within=40, what="the status says that Redis is full")
    finally:
        client.config_set("maxmemory", before)
    all_done(stack, ids, within=90)


def test_postgres_restarted_with_jobs_in_flight(stack: Stack) -> None:
    ids = submit_noted(100, "postgres-restarted-")
    stack.server("postgres").send_signal(signal.SIGINT)
    eventually(stack.drained, within=120, what="every job is finished after the restart")
    assert each_exactly_once(ids)


def test_a_worker_told_to_stop_finishes_the_job_it_runs(stack: Stack) -> None:
    job_id = stack.submit("tests.marked", seconds=3)
    stack.wait_note(job_id, "attempt 1")
    stack.processes("worker-default")[0].terminate()
    job = stack.wait(job_id, within=30)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


def is_in_the_timetable() -> bool:
    with unit_of_work() as uow:
        return uow.execute("SELECT 1 FROM schedule WHERE name = 'retention'").first() is not None


def test_beat_killed_and_two_beats_at_once(stack: Stack) -> None:
    eventually(is_in_the_timetable, within=30, what="the timetable has the daily entry: a product just started")
    stack.processes("beat")[0].kill()
    second = subprocess.Popen(
        [PYTHON_BIN / "celery", "--quiet", "-A", "tasks", "beat", "--pidfile="],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with unit_of_work() as uow:
            missed = "UPDATE schedule SET next_due_at = now() - interval '9 hours' WHERE name = 'retention'"
            assert uow.execute(missed).rowcount == 1
            since = uow.execute("SELECT now()").scalar_one()
        submitted = (
            "SELECT id FROM jobs WHERE task = 'tasks.maintenance.retention' AND created_at >= :since UNION ALL"
            " SELECT id FROM job_history WHERE task = 'tasks.maintenance.retention' AND created_at >= :since"
        )

        def jobs() -> list[Any]:
            with unit_of_work() as uow:
                return list(uow.execute(submitted, since=since))

        eventually(jobs, within=30, what="the missed daily entry was made up")
        eventually(lambda: stack.processes("beat"), within=30, what="beat was started again")
        assert len(jobs()) == 1
    finally:
        second.terminate()
        second.wait(20)


def test_a_paused_queue_does_not_work_until_it_is_resumed(stack: Stack) -> None:
    with unit_of_work() as uow:
        admin.pause_queue(uow, "default", who="a test")
    job_id = stack.submit("tests.record", note="held")
    eventually(lambda: queue.depths()["default"].depth == 0, within=20, what="no message waits")
    assert stack.job(job_id).state in (JobState.SCHEDULED, JobState.RUNG)
    with unit_of_work() as uow:
        admin.resume_queue(uow, "default")
    assert stack.wait(job_id).state == JobState.SUCCEEDED


def test_a_running_job_can_be_cancelled(stack: Stack) -> None:
    job_id = stack.submit("tests.marked", seconds=60)
    stack.wait_note(job_id, "attempt 1")
    with unit_of_work() as uow:
        admin.cancel(uow, job_id)
    assert stack.wait(job_id, within=20).state == JobState.CANCELLED
    assert stack.notes(job_id) == ["attempt 1"]


def test_a_plain_celery_client_enqueues_over_the_broker(stack: Stack, tmp_path: Path) -> None:
    script = (
        "import sys; from celery import Celery;"
        "app = Celery(broker=sys.argv[1]);"
        "app.conf.broker_transport_options = {'global_keyprefix': 'smm:'};"
        "body = {'task': 'tests.record', 'kwargs': {'note': 'from afar'}};"
        "[app.send_task('tasks.intake.submit', kwargs=body, task_id=sys.argv[2], queue='intake') for _ in range(2)];"
        "app.send_task('tasks.intake.submit', kwargs={'task': 'nope'}, queue='intake')"
    )
    message_id = "018f0000-0000-7000-8000-000000000001"
    password = str(redis.client().connection_pool.connection_kwargs["password"])
    port = redis.client().connection_pool.connection_kwargs["port"]
    broker = f"redis://:{password}@127.0.0.1:{port}/0"
    subprocess.run([sys.executable, "-c", script, broker, message_id], cwd=tmp_path, check=True, timeout=60)

    def effects() -> list[Any]:
        with unit_of_work() as uow:
            return list(uow.execute("SELECT job FROM effects WHERE note = 'from afar'"))

    eventually(effects, within=30, what="the foreign message became a job")

    def refused() -> list[Any]:
        with unit_of_work() as uow:
            return list(uow.execute("SELECT facts FROM signals WHERE kind = 'intake.rejected'"))

    [row] = eventually(refused, within=30, what="the bad message is on record")
    assert "no published task is named nope" in str(row.facts)
    assert len(effects()) == 1


def test_a_job_whose_task_no_worker_has_waits_and_the_status_says_so(stack: Stack) -> None:
    job_id = stack.submit("tests.record", note="for later")
    stack.wait(job_id)
    with unit_of_work() as uow:
        uow.execute("DELETE FROM job_history WHERE id = :id", id=job_id)
        uow.execute(
            "INSERT INTO jobs (id, task, queue, state, priority, kwargs, max_attempts)"
            " VALUES (:id, 'tests.not_deployed', 'default', 'scheduled', 3, '{}', 1)",
            id=job_id,
        )
    eventually(
        lambda: any("tests.not_deployed" in notice for notice in stack.health()["notices"]),
        within=30,
        what="the status names the unknown task",
    )
    with unit_of_work() as uow:
        assert admin.cancel(uow, job_id).state == JobState.CANCELLED
