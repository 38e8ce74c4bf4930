import threading
from datetime import timedelta

import pytest

from app import clock, jobs
from app.config import settings
from app.errors import Invalid, NotFound
from app.infra.db import unit_of_work
from app.jobs import JobState, Priority, Submission, submit, submit_many
from tests.fixtures.ledger import Ledger


def test_a_due_job_is_a_row_and_after_the_commit_a_message(ledger: Ledger) -> None:
    with unit_of_work() as uow:
        job_id = submit(uow, "tests.record", note="hello")
        assert ledger.messages() == 0
    assert ledger.messages() == 1
    job = ledger.get(job_id)
    assert (job.state, job.kwargs["note"], job.queue) == (JobState.RUNG, "hello", "default")


def test_a_rolled_back_job_leaves_neither_row_nor_message(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        submit(uow, "tests.record", note="never")
        raise ZeroDivisionError
    assert ledger.messages() == 0
    assert ledger.sql("SELECT id FROM jobs") == []


def test_a_later_job_is_not_rung(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record", not_before=clock.now() + timedelta(hours=1))
    assert ledger.get(job_id).state is not JobState.RUNG
    assert ledger.messages() == 0


def test_an_unknown_task_and_a_wrong_argument_are_named(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="tests.nothing"):
        ledger.submit("tests.nothing")
    with pytest.raises(Invalid, match=r"kwargs\.seconds"):
        ledger.submit("tests.record", seconds="soon")
    with pytest.raises(Invalid, match=r"kwargs\.colour"):
        ledger.submit("tests.record", colour="red")
    with pytest.raises(Invalid, match="no queue is named nowhere"):
        ledger.submit("tests.record", queue="nowhere")


def test_a_key_has_at_most_one_waiting_job(ledger: Ledger) -> None:
    first = ledger.submit("tests.record", key="daily")
    assert ledger.submit("tests.record", key="daily") == first
    assert ledger.claim(first) is not None
    second = ledger.submit("tests.record", key="daily")
    assert second != first, "a running job has already read old state"
    with unit_of_work() as uow:
        one, two, other = submit_many(
            uow, [Submission("tests.record", key="b"), Submission("tests.record", key="b"), Submission("tests.record")]
        )
    assert one == two != other


def test_a_keyed_job_cannot_start_before_the_commit_that_relies_on_it(ledger: Ledger) -> None:
    """Else it would run without what that commit writes, and no other job would be there to see it."""
    job_id = ledger.submit("tests.record", key="k")
    claimed = threading.Event()

    def claim() -> None:
        assert ledger.claim(job_id) is not None
        claimed.set()

    with unit_of_work() as uow:
        assert submit(uow, "tests.record", key="k") == job_id
        thread = threading.Thread(target=claim)
        thread.start()
        assert not claimed.wait(0.3)
    assert claimed.wait(5)
    thread.join()


def test_an_earlier_wish_for_the_same_key_pulls_the_job_forward(ledger: Ledger) -> None:
    later = clock.now() + timedelta(hours=1)
    job_id = ledger.submit("tests.record", key="k", not_before=later)
    assert ledger.submit("tests.record", key="k") == job_id
    assert ledger.get(job_id).not_before < later - timedelta(minutes=50)


def test_doorbells_are_bounded_and_high_priority_has_room_of_its_own(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMM_DOORBELLS_PER_QUEUE", "20")
    settings.cache_clear()
    with unit_of_work() as uow:
        submit_many(uow, [Submission("tests.record") for _ in range(50)])
    assert ledger.messages() == 20
    ledger.submit("tests.record")
    assert ledger.messages() == 20
    ledger.submit("tests.record", priority=Priority.HIGH)
    assert ledger.messages() == 21


def test_arguments_that_postgres_cannot_keep_are_made_storable(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record", note="a\x00b\ud800c")
    assert ledger.get(job_id).kwargs["note"] == "ab?c"


def test_submitting_nothing_is_nothing(ledger: Ledger) -> None:
    with unit_of_work() as uow:
        assert submit_many(uow, []) == []
    assert jobs.submit_many is submit_many


def test_a_broker_that_is_gone_neither_hangs_nor_fails_the_submitter(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.infra import queue

    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    queue.after_fork()
    started = clock.monotonic()
    job_id = ledger.submit("tests.record")
    assert clock.monotonic() - started < 3
    assert ledger.get(job_id).state == JobState.RUNG
