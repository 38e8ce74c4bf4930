from typing import Any

import pytest

from app.config import settings
from app.infra import queue, redis
from app.infra.db import UnitOfWork, unit_of_work
from app.jobs import JobState, Priority, Submission, admin, relay, submit_many
from tests.fixtures.ledger import Ledger


def test_what_falls_due_is_rung_by_priority_and_then_by_age(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_DOORBELLS_PER_QUEUE", "2")
    settings.cache_clear()
    with unit_of_work() as uow:
        ids = submit_many(uow, [Submission("tests.record") for _ in range(5)])
        [urgent] = submit_many(uow, [Submission("tests.record", priority=Priority.HIGH)])
    rung = {row.id for row in ledger.sql("SELECT id FROM jobs WHERE state = 'rung'")}
    assert rung == {*ids[:2]}
    for job_id in ids[:2]:
        ledger.run(job_id)
    assert relay.relay().rung == 2
    assert {row.id for row in ledger.sql("SELECT id FROM jobs WHERE state = 'rung'")} == {urgent, ids[2]}


def test_a_lost_message_is_rung_again_and_a_waiting_one_is_not(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record")
    ledger.sql("UPDATE jobs SET rung_at = now() - interval '1 hour'")
    assert relay.relay().rung_again == 0, "the message is still in the broker"
    redis.client().flushall()
    assert relay.relay().rung_again == 1
    assert ledger.messages() == 1
    assert relay.relay().rung_again == 0, "not again before its back-off"
    assert ledger.run(job_id) is None


def test_the_loss_of_redis_loses_no_job(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with unit_of_work() as uow:
        ids = submit_many(uow, [Submission("tests.record", {"note": str(n)}) for n in range(250)])
    redis.client().flushall()
    ledger.sql("UPDATE jobs SET rung_at = now() - interval '1 hour' WHERE state = 'rung'")
    done = relay.relay()
    assert (done.rung_again, done.rung) == (100, 150)
    assert ledger.messages() == 250
    for job_id in ids:
        ledger.run(job_id)
    assert len(ledger.effects()) == 250


def test_a_worker_that_fell_silent_loses_its_job_and_the_tries_are_counted(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.poison")
    for attempt in (1, 2):
        claimed = ledger.claim(job_id, by="doomed")
        assert claimed is not None
        assert claimed.attempt == attempt
        ledger.lapse(job_id)
        assert relay.relay().taken_back == 1
    job = ledger.get(job_id)
    assert job.state == JobState.DEAD
    assert job.error is not None
    assert "doomed stopped renewing" in job.error["message"]


def test_a_lease_that_just_ran_out_has_a_moments_grace(ledger: Ledger) -> None:
    job_id = ledger.submit("tests.record")
    ledger.claim(job_id)
    ledger.sql("UPDATE jobs SET lease_until = now() - interval '1 second'")
    assert relay.relay().taken_back == 0


def test_a_paused_queue_starts_nothing_until_it_is_resumed(ledger: Ledger) -> None:
    before = ledger.submit("tests.record", note="before")
    with unit_of_work() as uow:
        admin.pause_queue(uow, "default", who="a test", reason="upkeep")
    during = ledger.submit("tests.record", note="during")
    assert ledger.claim(before) is None
    assert relay.relay().rung == 0
    assert ledger.get(during).state == JobState.SCHEDULED
    with unit_of_work() as uow:
        admin.resume_queue(uow, "default")
    relay.relay()
    for job_id in (before, during):
        ledger.run(job_id)
    assert sorted(note for _, note in ledger.effects()) == ["before", "during"]


def test_purging_a_queue_cancels_what_waits_and_nothing_else(ledger: Ledger) -> None:
    running = ledger.submit("tests.record")
    ledger.claim(running)
    waiting = [ledger.submit("tests.record") for _ in range(3)]
    assert admin.purge_queue("default") == 3
    assert {ledger.get(job_id).state for job_id in waiting} == {JobState.CANCELLED}
    assert ledger.get(running).state == JobState.RUNNING
    assert ledger.messages() == 0


def test_a_broker_that_is_away_keeps_nothing_else_from_being_done(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = ledger.submit("tests.record")
    ledger.claim(job_id)
    ledger.lapse(job_id)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    redis.after_fork()
    queue.after_fork()
    done = relay.relay()
    assert (done.taken_back, done.rung) == (1, 0)
    assert ledger.get(job_id).state == JobState.SCHEDULED


def test_a_message_says_how_old_it_is(ledger: Ledger) -> None:
    ledger.submit("tests.record")
    oldest = queue.depths()["default"].oldest_seconds
    assert oldest is not None
    assert 0 <= oldest < 10


def test_after_an_outage_the_holders_of_leases_get_to_renew_first(ledger: Ledger) -> None:
    patience = relay.Patience(wait_seconds=60)
    patience.note_pass()
    assert not patience.is_over(), "a relay that just came has seen no renewal yet"
    patient = relay.Patience(wait_seconds=0)
    patient.note_pass()
    assert patient.is_over()


def test_one_job_that_cannot_be_moved_on_holds_up_no_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = ledger.submit("tests.poison"), ledger.submit("tests.record")
    for job_id in (bad, good):
        ledger.claim(job_id)
        ledger.lapse(job_id)
    fail = relay.ending.fail

    def fail_on_one(uow: UnitOfWork, job: Any, *rest: Any) -> None:
        if job.id == bad:
            uow.execute("SELECT 1 / 0")
        fail(uow, job, *rest)

    monkeypatch.setattr(relay.ending, "fail", fail_on_one)
    assert relay.relay().taken_back == 1
    assert ledger.get(good).state == JobState.RUNG
    assert ledger.get(bad).state == JobState.RUNNING


def test_newcomers_do_not_overtake_what_is_due_and_as_urgent(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_DOORBELLS_PER_QUEUE", "2")
    settings.cache_clear()
    first = [ledger.submit("tests.record") for _ in range(3)]
    ledger.run(first[0])
    newcomer = ledger.submit("tests.record")
    urgent = ledger.submit("tests.record", priority=Priority.HIGH)
    assert ledger.get(newcomer).state == JobState.SCHEDULED
    assert ledger.get(urgent).state == JobState.RUNG
    assert ledger.get(first[2]).state == JobState.SCHEDULED


def test_what_follows_a_commit_cannot_undo_it(ledger: Ledger) -> None:
    def explode() -> None:
        raise RuntimeError("after the fact")

    with unit_of_work() as uow:
        uow.execute("INSERT INTO notices (key, message) VALUES ('k', 'm')")
        uow.after_commit(explode)
    assert len(ledger.sql("SELECT 1 FROM notices")) == 1
