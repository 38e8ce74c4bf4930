import threading
from datetime import timedelta

import pytest

import celeryconfig
from app import clock, signals
from app.infra.db import read_only, unit_of_work
from app.signals import Signal
from tests.fixtures.ledger import Ledger


@pytest.fixture
def told(ledger: Ledger) -> Ledger:
    signals.configure({"thing.*": ("tests.heard",), "thing.up": ("tests.heard",)})
    yield ledger
    signals.configure(celeryconfig.SUBSCRIPTIONS)


def record(kind: str, subject: str = "x") -> Signal:
    with unit_of_work() as uow:
        return signals.record(uow, kind, subject, labels={"a": "b"}, facts={"n": 1})


def test_each_handler_is_told_once_by_a_job_in_the_same_transaction(told: Ledger) -> None:
    signal = record("thing.up")
    [row] = told.sql("SELECT kwargs FROM jobs WHERE task = 'tests.heard'")
    assert row.kwargs == {"signal_id": str(signal.id)}
    with read_only() as session:
        assert signals.load(session, signal.id) == signal
    record("other.up")
    assert len(told.sql("SELECT 1 FROM jobs WHERE task = 'tests.heard'")) == 1


def test_a_rolled_back_fact_never_was(told: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        signals.record(uow, "thing.up", "x")
        raise ZeroDivisionError
    assert record("thing.up").sequence == 1
    assert len(told.sql("SELECT 1 FROM jobs")) == 1


def test_sequences_of_one_subject_have_no_gaps_under_concurrency(ledger: Ledger) -> None:
    threads = [threading.Thread(target=record, args=("thing.up",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = ledger.sql("SELECT sequence FROM signals WHERE subject = 'x' ORDER BY sequence")
    assert [row.sequence for row in rows] == list(range(1, 9))


def test_what_arrives_late_is_no_news(ledger: Ledger) -> None:
    down, up = record("thing.down"), record("thing.up")
    with unit_of_work() as uow:
        assert signals.is_news(uow, "handler", up)
        assert not signals.is_news(uow, "handler", down)
        assert not signals.is_news(uow, "handler", up)
        assert signals.is_news(uow, "another", down)


def test_a_handler_whose_transaction_failed_has_not_seen_it(ledger: Ledger) -> None:
    signal = record("thing.up")
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        assert signals.is_news(uow, "handler", signal)
        raise ZeroDivisionError
    with unit_of_work() as uow:
        assert signals.is_news(uow, "handler", signal)


def test_the_timeline_is_newest_first_and_filtered(ledger: Ledger) -> None:
    first, second, other = record("thing.up"), record("thing_down"), record("thing.up", "y")
    with read_only() as session:
        assert signals.timeline(session) == [other, second, first]
        assert signals.timeline(session, subject="x") == [second, first]
        assert signals.timeline(session, kind="thing.*") == [other, first]
        assert signals.timeline(session, kind="thing_*") == [second]
        assert signals.timeline(session, before=second.id) == [first]
        assert signals.timeline(session, limit=1) == [other]
        assert signals.timeline(session, since=clock.now() + timedelta(hours=1)) == []
