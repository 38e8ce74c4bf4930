import pytest

from app.errors import Invalid
from app.infra.db import unit_of_work
from app.jobs import intake
from tests.fixtures.ledger import Ledger


def problems(body: object) -> str:
    with pytest.raises(Invalid) as caught:
        intake.submission(intake.parse(body), caller="someone")
    return str(caught.value)


def accept(body: dict[str, object], key: str | None = None) -> intake.Accepted:
    with unit_of_work() as uow:
        request = intake.parse(body)
        digest = intake.body_hash(body)
        return intake.accept(uow, request, caller="someone", idempotency_key=key, body_hash=digest)


def test_only_published_tasks_may_be_named(ledger: Ledger) -> None:
    assert "task: no published task is named tests.marked" in problems(
        {"task": "tests.marked", "kwargs": {"seconds": 1}}
    )
    assert "task: no published task is named nope" in problems({"task": "nope"})


def test_every_wrong_field_is_named(ledger: Ledger) -> None:
    text = problems({"task": "", "kwargs": [], "priority": "urgent", "colour": 1, "not_before": "2026-01-01T00:00:00"})
    for field in ("task", "kwargs", "priority", "colour", "not_before"):
        assert f"{field}: " in text
    assert "kwargs.seconds" in problems({"task": "tests.record", "kwargs": {"seconds": "x"}})
    assert "queue: tests.record may run in: default, bulk" in problems({"task": "tests.record", "queue": "tick"})
    assert "body" in problems("no object")


def test_a_callback_is_checked_before_the_job_is_taken(ledger: Ledger) -> None:
    assert "callback.url" in problems({"task": "tests.record", "callback": {"url": "not an address"}})
    assert "callback.task" in problems({"task": "tests.record", "callback": {"task": "tests.marked"}})
    bad = {"task": "tests.record", "callback": {"task": "tests.record", "kwargs": {"x": 1}}}
    assert "callback.kwargs.x" in problems(bad)


def test_an_expiry_must_follow_the_start(ledger: Ledger) -> None:
    body = {"task": "tests.record", "not_before": "2027-01-02T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}
    assert "expires_at: must be later than not_before" in problems(body)


def test_a_key_is_answered_once_per_caller_and_body(ledger: Ledger) -> None:
    body: dict[str, object] = {"task": "tests.record", "kwargs": {"note": "a"}}
    first = accept(body, key="k1")
    again = accept(body, key="k1")
    assert (again.id, again.replayed) == (first.id, True)
    assert accept(body, key="k2").id != first.id
    assert accept(body).id != first.id
    with pytest.raises(intake.IdempotencyMismatch):
        accept({"task": "tests.record", "kwargs": {"note": "b"}}, key="k1")


def test_a_batch_keeps_the_good_and_reports_the_bad_at_their_places(ledger: Ledger) -> None:
    items: list[object] = [{"task": "tests.record"}, {"task": "nope"}, 7, {"task": "tests.record", "key": "same"}]
    with unit_of_work() as uow:
        answers = intake.accept_batch(uow, items, caller="someone")
    assert [type(answer) for answer in answers] == [intake.Accepted, Invalid, Invalid, intake.Accepted]
    [row] = ledger.sql("SELECT count(*) AS n FROM jobs WHERE caller = 'someone'")
    assert row.n == 2
