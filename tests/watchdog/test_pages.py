"""The book of calls: written before a try and after it, over restarts, whatever the disk does, by one watchdog only."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from app import clock
from app.alerts.imported import Call, Page, PageState
from app.infra import ids
from app.watchdog import planning
from app.watchdog.pages import MOST, Book
from tests.health.catalogs import use
from tests.watchdog import paging
from tests.watchdog.paging import RULES, service, webhook


@pytest.fixture
def call(home: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    use(monkeypatch, home, service() + webhook() + RULES)
    (made,) = planning.plan(paging.fall(), paging.look()).calls
    return made


@pytest.fixture
def path(home: Path) -> Path:
    return home / "run" / "watchdog-pages.jsonl"


def opened(path: Path) -> Book:
    book = Book(path)
    assert book.take_over()
    return book


def trying(page: Page) -> Page:
    return replace(page, state=PageState.SENDING, attempts=page.attempts + 1, sent_at=clock.now())


def arrived(page: Page) -> Page:
    return replace(page, state=PageState.DELIVERED, attempts=1, http_status=200)


def after_a_restart(book: Book, path: Path) -> Book:
    """The next process's book; the lock of this one ends with it."""
    assert book._turn is not None
    os.close(book._turn)
    return opened(path)


def test_a_restart_finds_every_call_as_it_was_and_knows_what_is_in_doubt(call: Call, path: Path):
    book = opened(path)
    book.add([call])
    book.change(call.pages[0].id, trying)
    again = after_a_restart(book, path)
    (found,) = again.calls()
    assert found == book.calls()[0]
    assert found.pages[0].in_doubt
    again.change(call.pages[0].id, arrived)
    (found,) = after_a_restart(again, path).calls()
    assert (found.pages[0].state, found.pages[0].in_doubt) == (PageState.DELIVERED, False)


def test_its_owner_alone_may_read_it(call: Call, path: Path):
    opened(path).add([call])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_watchdog_does_not_get_it(call: Call, path: Path):
    first, second = opened(path), Book(path)
    first.add([call])
    assert not second.take_over()
    assert second.calls() == []


def test_a_line_that_was_cut_off_costs_that_call_only(call: Call, path: Path):
    book = opened(path)
    book.add([call, replace(call, id=ids.uuid7(), service="postgres")])
    path.write_bytes(path.read_bytes()[:-30])
    assert [found.service for found in after_a_restart(book, path).calls()] == ["redis"]


def test_what_the_ledger_does_not_have_is_told_until_it_has_it(call: Call, path: Path):
    book = opened(path)
    book.add([call])
    assert book.unstored() == [call]
    book.stored([call], set())
    assert book.unstored() == []
    book.change(call.pages[0].id, trying)
    assert len(book.unstored()) == 1
    assert len(after_a_restart(book, path).unstored()) == 1


def test_a_page_that_the_engine_took_over_is_nobodys_here_any_more(call: Call, path: Path):
    book = opened(path)
    book.add([call])
    assert book.waiting() == 1
    book.stored([call], {call.pages[0].id})
    assert book.waiting() == 0
    assert book.unstored() == []
    found = book.page(call.pages[0].id)
    assert found is not None
    assert found[1].state is PageState.HANDED_OVER


def test_when_the_service_is_back_it_is_forgotten_as_soon_as_nothing_is_left_to_say(call: Call, path: Path):
    book = opened(path)
    book.add([call])
    book.change(call.pages[0].id, arrived)
    book.over("redis ")
    (found,) = book.unstored()
    assert found.over
    book.stored([found], set())
    assert book.calls() == []
    assert path.read_bytes() == b""


def test_a_try_under_way_is_waited_for_although_the_service_is_back(call: Call, path: Path):
    book = opened(path)
    book.add([call])
    book.change(call.pages[0].id, trying)
    book.over("redis ")
    book.stored(book.unstored(), set())
    assert len(book.calls()) == 1
    book.change(call.pages[0].id, arrived)
    book.stored(book.unstored(), set())
    assert book.calls() == []


def test_what_nobody_was_called_for_yet_is_dropped_when_the_service_is_back(call: Call, path: Path):
    book = opened(path)
    book.add([call])
    book.over("redis ")
    assert book.calls() == []


def test_it_is_bounded(call: Call, path: Path):
    book = opened(path)
    book.add(replace(call, id=ids.uuid7()) for _ in range(MOST + 5))
    assert len(book.calls()) == MOST


def test_a_disk_that_takes_nothing_costs_the_memory_over_a_restart_and_no_page(call: Call):
    book = opened(Path("/dev/null/not-a-directory/pages.jsonl"))
    book.add([call])
    changed = book.change(call.pages[0].id, trying)
    assert changed is not None
    assert changed.attempts == 1


def test_it_holds_no_secret_of_a_channel(call: Call, path: Path):
    book = opened(path)
    book.add([call])
    for line in path.read_text().splitlines():
        assert "url" not in json.loads(line)["pages"][0]
        assert "127.0.0.1:9" not in line
