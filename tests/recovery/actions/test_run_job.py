"""A step that is a job: submitted once, waited for where that is wanted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.recovery.acting import Again, Done, Failed, Work
from tests.fixtures.ledger import Ledger
from tests.recovery.actions.working import act, again, work_of


@pytest.fixture
def work(database: str) -> Work:
    return work_of(database_url=database)


def count(ledger: Ledger) -> int:
    return ledger.sql("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM job_history)")[0][0]


def test_submitted_is_done_where_nobody_waits(ledger: Ledger, work: Work):
    result = act("run_job", work, task="tests.record", kwargs={"note": "hello"})
    assert isinstance(result, Done)
    assert result.text == "submitted the job tests.record"
    job = ledger.get(UUID(result.detail["job_id"]))
    assert (job.task, job.kwargs["note"], job.caller) == ("tests.record", "hello", "playbook:it-again")


def test_the_end_is_waited_for(ledger: Ledger, work: Work):
    options = {"task": "tests.record", "kwargs": {"note": "hello"}, "wait_seconds": 60}
    first = act("run_job", work, **options)
    assert isinstance(first, Again)
    ledger.run(UUID(first.detail["job_id"]))
    last = act("run_job", again(work, first), **options)
    assert last == Done("ran the job tests.record", first.detail | {"state": "succeeded", "result": {"note": "hello"}})
    assert count(ledger) == 1


def test_a_job_that_died_is_a_failure_with_its_reason(ledger: Ledger, work: Work):
    options = {"task": "tests.flaky", "kwargs": {"failures": 9, "kind": "permanent"}, "wait_seconds": 60}
    first = act("run_job", work, **options)
    ledger.run(UUID(first.detail["job_id"]))
    last = act("run_job", again(work, first), **options)
    assert isinstance(last, Failed)
    assert last.text.startswith("the job tests.flaky is dead: ")


def test_a_job_that_does_not_end_is_a_failure(ledger: Ledger, work: Work):
    options = {"task": "tests.record", "wait_seconds": 60}
    first = act("run_job", work, **options)
    last = act("run_job", again(work, first, after=timedelta(seconds=61)), **options)
    assert isinstance(last, Failed)
    assert last.text == "the job tests.record has not ended within 1 min 0 s"


def test_a_try_that_is_repeated_submits_no_second_job_before_or_after_the_first_has_run(ledger: Ledger, work: Work):
    first = act("run_job", work, task="tests.record")
    interrupted = replace(work, interrupted_at=work.now, tries=2)
    assert act("run_job", interrupted, task="tests.record").detail == first.detail
    ledger.run(UUID(first.detail["job_id"]))
    assert act("run_job", interrupted, task="tests.record").detail == first.detail
    assert count(ledger) == 1


def test_unknown_tasks_and_wrong_arguments_are_failures_that_name_them(ledger: Ledger, work: Work):
    assert act("run_job", work, task="tests.nothing") == Failed("no task is named tests.nothing")
    wrong = act("run_job", work, task="tests.record", kwargs={"note": 1, "seconds": "s3cret"})
    assert isinstance(wrong, Failed)
    assert "kwargs.seconds" in wrong.text
    assert "s3cret" not in wrong.text
    assert count(ledger) == 0
