import pytest

from app import clock
from app.errors import Conflict, LeaseLost
from app.infra.db import read_only, unit_of_work
from app.jobs import JobState, admin, relay, spec, worker
from tests.engine import work
from tests.fixtures.ledger import Ledger


def test_an_effect_and_its_completion_are_one_transaction(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record", note="once")
    assert ledger.run(job_id) is None
    job = ledger.get(job_id)
    assert (job.state, job.attempt, job.result) == (JobState.SUCCEEDED, 1, {"note": "once"})
    assert job.finished_at is not None
    assert ledger.effects() == [(str(job_id), "once")]
    assert ledger.sql("SELECT id FROM jobs") == []


def test_a_second_doorbell_finds_nothing_to_do(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record")
    assert ledger.claim(job_id) is not None
    assert ledger.claim(job_id, by="another") is None


def test_a_worker_that_lost_its_lease_cannot_leave_its_effect(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record", note="mine")
    slow = ledger.claim(job_id, by="slow")
    assert slow is not None
    ledger.lapse(job_id)
    relay.relay()
    assert ledger.run(job_id) is None
    with pytest.raises(LeaseLost):
        worker.run(slow, spec.get("tests.record"), work.record)
    assert ledger.effects() == [(str(job_id), "mine")]
    assert ledger.get(job_id).attempt == 2


def test_transient_trouble_is_tried_again_and_then_succeeds(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.flaky", failures=1)
    failed = ledger.run(job_id)
    assert failed is not None
    assert failed.will_retry
    job = ledger.get(job_id)
    assert job.state == JobState.SCHEDULED
    assert job.error is not None
    assert "sk-hidden" not in job.error["message"]
    ledger.sql("UPDATE jobs SET not_before = now()")
    relay.relay()
    assert ledger.run(job_id) is None
    assert ledger.get(job_id).attempt == 2


@pytest.mark.parametrize("kind", ["permanent", "misconfigured"])
def test_what_another_try_cannot_help_is_dead_at_once_and_told(ledger: Ledger, kind: str) -> None:
    job_id = ledger.submit("tests.flaky", failures=9, kind=kind)
    ledger.run(job_id)
    assert ledger.get(job_id).state == JobState.DEAD
    [signal] = ledger.sql("SELECT kind, subject, facts FROM signals")
    assert (signal.kind, signal.subject) == ("jobs.dead", "task:tests.flaky")
    assert signal.facts["job"] == str(job_id)


def test_an_operator_is_told_of_a_misconfiguration_once(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.run(ledger.submit("tests.flaky", failures=9, kind="misconfigured"))
    [notice] = ledger.sql("SELECT message, count FROM notices")
    assert notice.count == 3
    assert "no key is set" in notice.message


def test_a_conflict_is_a_success(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.flaky", failures=9, kind="conflict")
    assert ledger.run(job_id) is None
    assert ledger.get(job_id).state == JobState.SUCCEEDED


def test_attempts_end(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.flaky", failures=9, kind="bug")
    for _ in range(4):
        ledger.run(job_id)
        ledger.sql("UPDATE jobs SET not_before = now()")
        relay.relay()
    job = ledger.get(job_id)
    assert (job.state, job.attempt) == (JobState.DEAD, 4)
    assert job.error is not None
    assert (job.error["type"], job.error["reason"]) == ("RuntimeError", "exhausted")
    assert "hunter2secret" not in str(job.error)


def test_a_failed_keyed_job_hands_its_tries_to_the_one_that_waits(ledger: Ledger) -> None:
    old = ledger.submit("tests.flaky", key="k", failures=9)
    claimed = ledger.claim(old)
    assert claimed is not None
    new = ledger.submit("tests.flaky", key="k", failures=9)
    with pytest.raises(worker.AttemptFailed):
        worker.run(claimed, spec.get("tests.flaky"), work.flaky)
    ended, waiting = ledger.get(old), ledger.get(new)
    assert ended.state == JobState.CANCELLED
    assert ended.error is not None
    assert ended.error["superseded_by"] == str(new)
    assert (waiting.state, waiting.attempt) == (JobState.SCHEDULED, 1)
    assert waiting.not_before > waiting.created_at


def test_a_result_too_large_to_keep_kills_the_job_before_anything_is_committed(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.large", size=20_000)
    ledger.run(job_id)
    job = ledger.get(job_id)
    assert job.state == JobState.DEAD
    assert job.error is not None
    assert "20002 bytes" in job.error["message"]


def test_an_expired_job_is_not_started(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record")
    ledger.sql("UPDATE jobs SET expires_at = now() - interval '1 second'")
    assert ledger.claim(job_id) is None
    assert relay.relay().expired == 1
    assert ledger.get(job_id).state == JobState.EXPIRED


def test_a_published_callback_task_learns_which_job_finished(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record", callback={"task": "tests.told", "kwargs": {}})
    ledger.run(job_id)
    [row] = ledger.sql("SELECT id, caller FROM jobs WHERE task = 'tests.told'")
    assert row.caller == f"callback:{job_id}"
    ledger.run(row.id)
    assert (str(row.id), str(job_id)) in ledger.effects()


def test_a_callback_address_gets_a_delivery_job_in_the_finishing_transaction(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.flaky", failures=9, kind="permanent", callback={"url": "https://example.org/x?k=1"})
    ledger.run(job_id)
    [row] = ledger.sql("SELECT kwargs FROM jobs WHERE task = 'tasks.jobs.deliver_callback'")
    assert row.kwargs == {"job_id": str(job_id)}
    assert ledger.get(job_id).callback == {"url": "https://example.org/…"}


def test_cancelling_a_running_job_ends_its_tries(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.flaky", failures=9)
    claimed = ledger.claim(job_id)
    assert claimed is not None
    with unit_of_work() as uow:
        assert admin.cancel(uow, job_id).cancel_requested
    ledger.lapse(job_id)
    relay.relay()
    assert ledger.get(job_id).state == JobState.CANCELLED


def test_dead_jobs_and_misconfigurations_are_on_the_operators_list(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.run(ledger.submit("tests.flaky", failures=9, kind="misconfigured"))
    with read_only() as session:
        told = admin.notices(session, clock.now())
    assert told == [
        "tests.flaky: no key is set (told 2 times)",
        "2 jobs died in the last day: smm-admin jobs list --state dead",
    ]


def test_a_callback_whose_task_is_gone_does_not_keep_the_job_from_ending(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record", callback={"task": "tests.removed", "kwargs": {}})
    assert ledger.run(job_id) is None
    assert ledger.get(job_id).state == JobState.SUCCEEDED
    [notice] = ledger.sql("SELECT message FROM notices")
    assert "tests.removed" in notice.message


def test_a_cancelled_job_whose_attempt_fails_before_its_lease_is_renewed_is_not_tried_again(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.flaky", failures=9)
    claimed = ledger.claim(job_id)
    assert claimed is not None
    with unit_of_work() as uow:
        admin.cancel(uow, job_id)
    with pytest.raises(worker.AttemptFailed):
        worker.run(claimed, spec.get("tests.flaky"), work.flaky)
    assert ledger.get(job_id).state == JobState.CANCELLED


def test_a_given_up_worker_cannot_touch_the_job_that_an_operator_retried(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record", max_attempts=1)
    zombie = ledger.claim(job_id, by="zombie")
    assert zombie is not None
    ledger.lapse(job_id)
    relay.relay()
    with unit_of_work() as uow:
        assert admin.retry(uow, job_id).state == JobState.RUNG
    second = ledger.claim(job_id, by="second")
    assert second is not None
    with pytest.raises(LeaseLost):
        worker.run(zombie, spec.get("tests.record"), work.record)
    assert worker.run(second, spec.get("tests.record"), work.record) is None
    assert len(ledger.effects()) == 1


def test_a_retried_job_has_its_tries_again(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.flaky", failures=9, kind="permanent")
    ledger.run(job_id)
    with unit_of_work() as uow:
        retried = admin.retry(uow, job_id)
    assert (retried.attempt, retried.max_attempts) == (1, 5)
    with pytest.raises(Conflict), unit_of_work() as uow:
        admin.retry(uow, job_id)
