"""docs/enqueueing.md is true: the contract is the code's, and its Celery example works without our code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.contract import BEGIN, END
from app.infra.db import read_only
from app.jobs import admin, contract

DOCS = Path(__file__).parent.parent / "docs"


def smm_admin(home: Path, *words: str) -> str:
    """The command in a process of its own: no task of a test is published there."""
    environment = {"PATH": os.environ["PATH"], "SMM_HOME": str(home)}
    ran = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *words],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return ran.stdout


def test_the_published_contract_in_the_docs_is_fresh(home: Path) -> None:
    assert json.loads((DOCS / "contract.json").read_text()) == json.loads(smm_admin(home, "contract", "--json"))
    page = (DOCS / "enqueueing.md").read_text()
    section = page.split(BEGIN)[1].split(END)[0].strip()
    assert section == smm_admin(home, "contract", "--markdown").strip()


def test_the_intake_task_is_where_the_contract_says() -> None:
    from celeryconfig import queue_of
    from tasks.intake import NAME

    assert (NAME, queue_of(NAME)) == (contract.INTAKE_TASK, contract.INTAKE_QUEUE)


@pytest.fixture
def intake_worker(database: str, redis_server: str, tmp_path: Path) -> Iterator[None]:
    """A real worker on the intake queue."""
    log = (tmp_path / "worker.log").open("w")
    environment = os.environ | {"SMM_TASK_MODULES": '["tests.web.tasks_of_tests"]'}
    command = "celery -A tasks worker -n intake@%h -Q intake -c 1 --without-mingle --without-gossip"
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()], env=environment, stdout=log, stderr=log, cwd=DOCS.parent
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        log.close()


def example(kwargs: dict[str, object], task_id: str) -> str:
    """The Python example of the page, for another task; each replaced part must be in it."""
    code = re.findall(r"```python\n(.*?)```", (DOCS / "enqueueing.md").read_text(), re.S)[0]
    for old, new in (
        ("redis://:PASSWORD@127.0.0.1:PORT/0", os.environ["REDIS_URL"]),
        ('kwargs={"task": "tasks.health.check_service", "kwargs": {"service": "postgres"}}', f"kwargs={kwargs!r}"),
        ('queue="intake",', f'queue="intake", task_id="{task_id}",'),
    ):
        assert old in code
        code = code.replace(old, new)
    return code


def send(code: str) -> None:
    subprocess.run([sys.executable, "-I", "-c", code], check=True, timeout=30, cwd="/")


def stored(wanted: int) -> list[admin.JobView]:
    """The jobs, once there are as many as wanted."""
    deadline = time.monotonic() + 40
    found: list[admin.JobView] = []
    while time.monotonic() < deadline:
        with read_only() as session:
            found = admin.list_jobs(session, caller="celery")
        if len(found) >= wanted:
            break
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_a_plain_celery_client_enqueues_a_job_and_a_repeat_adds_none(intake_worker: None) -> None:
    first = {"task": "tests.web.echo", "kwargs": {"text": "from afar"}}
    for _ in range(2):
        send(example(first, "01a1fbe4-68d4-75d5-a8ed-e58ddaa2844d"))
    send(example({"task": "tests.web.echo", "kwargs": {"text": "last"}}, "01a1fbe4-68d4-75d5-a8ed-e58ddaa2844e"))
    jobs = stored(2)
    assert sorted(job.kwargs["text"] for job in jobs) == ["from afar", "last"]


@pytest.mark.slow
def test_a_message_that_can_be_no_job_is_recorded(intake_worker: None) -> None:
    from app import signals

    send(example({"task": "no.such.task"}, "01a1fbe4-68d4-75d5-a8ed-e58ddaa2844f"))
    deadline = time.monotonic() + 40
    told: list[signals.Signal] = []
    while not told and time.monotonic() < deadline:
        with read_only() as session:
            told = signals.timeline(session, kind="intake.rejected")
        time.sleep(0.1)
    assert [signal.facts["problems"] for signal in told] == [["task: no published task is named no.such.task"]]
