"""Handing results to Postgres: when it is there, when it is away, and when it will never take one."""

from __future__ import annotations

import importlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from app import clock
from app.alerts import pipeline
from app.alerts.imported import Call, PageState
from app.config import settings
from app.health.results import ProbeResult
from app.infra import db, ids
from app.infra.db import read_only
from app.recovery.core import Done, Run, Runner, Verdict
from app.recovery.taking import begun, ended
from app.watchdog import planning
from app.watchdog.journal import Journal
from app.watchdog.pages import Book
from app.watchdog.recorder import Recorder
from app.watchdog.spool import Spool
from tests.health import catalogs, local
from tests.health.catalogs import tcp
from tests.recovery.runs import run_of, step
from tests.watchdog import paging
from tests.watchdog.paging import RULES, service, webhook

NOW = clock.now()


def result(second: int, latency_ms: float = 1.0) -> ProbeResult:
    at = NOW + timedelta(seconds=second - 60)
    return ProbeResult(ok=True, started_at=at, finished_at=at, latency_ms=latency_ms)


@pytest.fixture
def spool(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    catalogs.use(monkeypatch, home, tcp("port", watched_by='"watchdog"'))
    return Spool(home / "run" / "spool.jsonl")


def logged() -> list[float]:
    with read_only() as session:
        return list(session.execute(text("SELECT latency_ms FROM system_health_log ORDER BY id")).scalars())


def test_what_waits_is_stored_once_however_often_it_is_handed_over(spool: Spool):
    recorder = Recorder(spool)
    for _ in range(2):
        for second in range(3):
            spool.append("port", result(second, second), eventful=True)
        assert recorder.store_some()
        assert not recorder.store_some()
    assert logged() == [0, 1, 2]


def test_while_postgres_is_away_results_wait_in_the_file_and_are_stored_afterwards(spool: Spool, database, monkeypatch):
    recorder = Recorder(spool)
    spool.append("port", result(0), eventful=True)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://smm@127.0.0.1:{local.closed_port()}/smm")
    settings.cache_clear()
    db.dispose()
    assert not recorder.store_some()
    spool.append("port", result(1), eventful=True)
    assert len((settings().run_dir / "spool.jsonl").read_text().splitlines()) == 2
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    db.dispose()
    assert recorder.store_some()
    assert len(logged()) == 2
    assert not (settings().run_dir / "spool.jsonl").exists()


def test_a_result_that_postgres_will_never_take_is_dropped_and_holds_nothing_up(spool: Spool):
    recorder = Recorder(spool)
    for second, latency in enumerate((1.0, 1e300, 3.0)):
        spool.append("port", replace(result(second), latency_ms=latency), eventful=True)
    while len(spool):
        assert recorder.store_some()
    assert logged() == [1.0, 3.0]


class Settling:
    """A pager that decides when the recorder waits for it, and not before."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.planned: list[Call] = []

    def settle(self, seconds: float) -> bool:
        self.book.add(self.planned)
        self.planned = []
        return True


@pytest.fixture
def book(spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    catalogs.use(monkeypatch, home, service() + webhook() + RULES)
    importlib.import_module("tasks.celery").compose()
    made = Book(home / "run" / "watchdog-pages.jsonl")
    assert made.take_over()
    return made


def notifications() -> list[tuple[UUID, str, str]]:
    with read_only() as session:
        rows = session.execute(text("SELECT id, state, source FROM notifications ORDER BY id"))
        return [(row.id, row.state, row.source) for row in rows]


def test_whom_the_watchdog_calls_is_in_the_ledger_before_the_engine_learns_of_the_fall(spool: Spool, book: Book):
    fallen = paging.fall()
    settling = Settling(book)
    settling.planned = list(planning.plan(fallen, paging.look()).calls)
    recorder = Recorder(spool, book)
    recorder._pager = settling
    for name, item in paging.results_of(fallen):
        spool.append(name, item, eventful=True)
    assert recorder.store_some()
    (page,) = book.calls()[0].pages
    assert notifications() == [(page.id, "waiting", "watchdog")]
    assert book.unstored() == []
    pipeline.run()
    assert len(notifications()) == 1


def test_what_becomes_of_a_page_is_stored_although_no_result_waits(spool: Spool, book: Book):
    (call,) = planning.plan(paging.fall(), paging.look()).calls
    book.add([call])
    recorder = Recorder(spool, book)
    assert not recorder.store_some()
    (page,) = call.pages
    assert notifications() == [(page.id, "waiting", "watchdog")]
    book.change(page.id, lambda page: replace(page, state=PageState.DELIVERED, attempts=1, sent_at=clock.now()))
    assert not recorder.store_some()
    assert notifications() == [(page.id, "delivered", "watchdog")]
    assert not recorder.store_some()


def test_a_page_that_the_engine_delivers_is_not_tried_here_again(spool: Spool, book: Book):
    (call,) = planning.plan(paging.fall(), paging.look()).calls
    book.add([call])
    book.change(call.pages[0].id, lambda page: replace(page, state=PageState.GIVEN_UP, attempts=2))
    Recorder(spool, book).store_some()
    assert book.calls()[0].pages[0].state is PageState.HANDED_OVER
    assert notifications() == [(call.pages[0].id, "waiting", "engine")]


def failed_repair() -> Run:
    """A repair of Redis that did not help."""
    now = clock.now()
    made = replace(run_of(step(), service="redis"), runner=Runner.WATCHDOG, created_at=now, since=None)
    return ended_in_vain(ended(begun(made, 0, now), 0, Done("restarted it"), now))


def ended_in_vain(run: Run) -> Run:
    now = clock.now()
    return replace(run, verdict=Verdict.ESCALATED, why="it did not help", ended_at=now, due_at=None)


def kinds() -> list[str]:
    with read_only() as session:
        return list(session.execute(text("SELECT kind FROM signals ORDER BY id")).scalars())


def test_repairs_are_stored_after_pages_and_before_the_results(spool: Spool, book: Book, home: Path):
    journal = Journal(home / "repairs.jsonl")
    assert journal.take_over()
    run = failed_repair()
    journal.keep(run)
    fallen = paging.fall()
    book.add(planning.plan(fallen, paging.look()).calls)
    for name, item in paging.results_of(fallen):
        spool.append(name, item, eventful=True)
    assert Recorder(spool, book, journal).store_some()
    assert kinds() == ["recovery.started", "recovery.acted", "recovery.escalated", "health.down"]
    assert journal.unstored() == []
    with read_only() as session:
        (told,) = session.execute(text("SELECT annotations FROM alert_episodes")).scalars()
    assert told["actions_taken"].splitlines()[0].endswith(" restarted it")
    with read_only() as session:
        assert session.execute(text("SELECT acted_at FROM alert_group_members")).scalars().all() == [None]


def test_what_was_told_of_an_action_is_in_the_ledger_and_the_engine_does_not_tell_it_again(spool: Spool, book: Book):
    (call,) = planning.plan(paging.fall(), paging.look()).calls
    told = {"state": PageState.DELIVERED, "attempts": 1, "sent_at": clock.now(), "http_status": 200}
    book.add([replace(call, pages=tuple(replace(page, **told) for page in call.pages))])
    update = planning.acted(book.standing("redis"), replace(paging.look(), taken="12:00:01 restarted it"))
    assert update is not None
    book.add([replace(update, pages=tuple(replace(page, **told) for page in update.pages))])
    Recorder(spool, book).store_some()
    pipeline.run()
    with read_only() as session:
        rows = session.execute(text("SELECT reason, event, state, source FROM notifications ORDER BY id")).all()
        annotations = session.execute(text("SELECT annotations FROM alert_episodes")).scalar_one()
    assert [tuple(row) for row in rows] == [
        ("first", "firing", "delivered", "watchdog"),
        ("acted-2", "updated", "delivered", "watchdog"),
    ]
    assert annotations["actions_taken"] == "12:00:01 restarted it"


def test_a_move_of_a_repair_is_stored_although_nothing_else_is_new(spool: Spool, book: Book, home: Path):
    journal = Journal(home / "repairs.jsonl")
    recorder = Recorder(spool, book, journal)
    run = failed_repair()
    journal.keep(run)
    assert not recorder.store_some()
    journal.keep(replace(run, over_at=clock.now()))
    assert not recorder.store_some()
    with read_only() as session:
        assert session.execute(text("SELECT over_at FROM recovery_runs")).scalar_one() is not None
    assert kinds() == ["recovery.started", "recovery.acted", "recovery.escalated", "recovery.over"]


def test_repairs_made_while_postgres_was_away_are_stored_afterwards(spool: Spool, book, home, database, monkeypatch):
    journal = Journal(home / "repairs.jsonl")
    recorder = Recorder(spool, book, journal)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://smm@127.0.0.1:{local.closed_port()}/smm")
    settings.cache_clear()
    db.dispose()
    journal.keep(failed_repair())
    assert not recorder.store_some()
    assert len(journal.unstored()) == 1
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    db.dispose()
    recorder.store_some()
    assert kinds() == ["recovery.started", "recovery.acted", "recovery.escalated"]


def test_a_repair_that_postgres_will_never_take_holds_nothing_up(spool: Spool, book: Book, home: Path):
    journal = Journal(home / "repairs.jsonl")
    good, bad = failed_repair(), failed_repair()
    journal.keep(replace(bad, id=ids.uuid7(), why="\x00", steps=(replace(bad.steps[0], tries=10**12),)))
    journal.keep(replace(good, id=ids.uuid7()))
    spool.append("redis", paging.well(clock.now()), eventful=True)
    assert Recorder(spool, book, journal).store_some()
    assert len(logged()) == 1
    with read_only() as session:
        assert session.execute(text("SELECT count(*) FROM recovery_runs")).scalar_one() == 1


def test_a_call_that_postgres_will_never_take_holds_neither_results_nor_other_calls(spool: Spool, book: Book):
    (good,) = planning.plan(paging.fall(), paging.look()).calls
    (bad,) = planning.plan(paging.fall(), paging.look()).calls
    spoilt = replace(bad, group={**bad.group, "labels": {"a": "\x00"}, "thread": "t", "id": "no uuid"})
    book.add([spoilt, good])
    at = clock.now()
    spool.append("redis", paging.well(at), eventful=True)
    recorder = Recorder(spool, book)
    assert recorder.store_some()
    assert [key for key, *_ in notifications()] == [good.pages[0].id]
    assert len(logged()) == 1
    spool.append("redis", paging.well(at + timedelta(seconds=1)), eventful=True)
    assert recorder.store_some()
    assert len(logged()) == 2
