"""Pages over real HTTP: each fall once to each address, until it arrives or the service is back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.alerts import raising
from app.alerts.imported import Call, Page, PageState
from app.infra import redis
from app.infra.db import unit_of_work
from app.notify import bucket
from app.watchdog import known, planning
from app.watchdog.known import Known
from app.watchdog.pager import Pager
from app.watchdog.pages import Book
from tests.fixtures.servers import forget
from tests.fixtures.waiting import until
from tests.health.catalogs import use
from tests.notify.servers import ChannelServer, Scripted, channel_server
from tests.watchdog import paging
from tests.watchdog.paging import RULES, service, webhook
from tests.watchdog.test_planning import silence

QUICK = (0.05, 0.05, 0.1)


class Paging:
    """A pager whose channels end at one server."""

    def __init__(self, home: Path, server: ChannelServer) -> None:
        self.home = home
        self.server = server
        self.changes = 0
        self.taken: dict[str, str] = {}
        self.path = home / "run" / "watchdog-pages.jsonl"
        self.begun: list[tuple[Book, Pager]] = []
        self.begin()

    def begin(self) -> None:
        self.book = Book(self.path)
        self.pager = Pager(
            self.book,
            self.home / "run",
            self._changed,
            pauses=QUICK,
            held_seconds=0.1,
            taken=lambda service, _now: self.taken.get(service, ""),
        )
        self.begun.append((self.book, self.pager))
        self.pager.start()

    def restart(self) -> None:
        """What another process would find; the pages of this one that are under way go on, as they would not."""
        assert self.book._turn is not None
        os.close(self.book._turn)
        self.begin()

    def _changed(self) -> None:
        self.changes += 1

    def falls(self, name: str = "redis") -> Any:
        fallen = paging.fall(name)
        self.pager.fallen(fallen)
        assert self.pager.settle(10)
        return fallen

    def pages(self, channel: str = "ops") -> list[Page]:
        return [page for call in self.book.calls() for page in call.pages if page.channel == channel]

    def page(self, channel: str = "ops") -> Page:
        (found,) = self.pages(channel)
        return found

    def until_state(self, state: PageState, channel: str = "ops") -> None:
        until(lambda: [page.state for page in self.pages(channel)] == [state], what=f"{channel} is {state}")

    def end(self) -> None:
        """Its threads must not page for the next test."""
        for book, pager in self.begun:
            for call in book.calls():
                pager.mended(call.fall)

    def call(self) -> Call:
        (found,) = self.book.calls()
        return found

    def paths(self) -> list[str]:
        return [request.path for request in self.server.requests]


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    with channel_server() as running:
        yield running


@pytest.fixture
def start(home: Path, server: ChannelServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Paging]]:
    """Begin with these parts in the catalogue; neither Redis nor Postgres is there."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://smm@127.0.0.1:1/smm")
    redis.client.cache_clear()
    bucket.forget()

    begun: list[Paging] = []

    def begin(*parts: str, rules: str = RULES) -> Paging:
        channels = "\n".join(parts or (webhook(server.base),))
        use(monkeypatch, home, channels + service() + service("postgres") + rules)
        begun.append(Paging(home, server))
        return begun[-1]

    yield begin
    for each in begun:
        each.end()
    redis.client.cache_clear()
    bucket.forget()


def test_a_fall_is_paged_once_however_often_it_is_told(start: Callable[..., Paging]):
    watch = start()
    fallen = watch.falls()
    (request,) = watch.server.got()
    for _ in range(20):
        watch.pager.fallen(fallen)
    watch.until_state(PageState.DELIVERED)
    assert len(watch.server.requests) == 1
    assert request.headers["idempotency-key"] == str(watch.page().id)
    assert request.json["status"] == "firing"
    assert request.json["alerts"][0]["labels"]["service"] == "redis"
    assert watch.pager.waiting() == 0
    assert watch.changes >= 1


def test_after_a_restart_what_arrived_is_not_sent_again(start: Callable[..., Paging]):
    watch = start()
    fallen = watch.falls()
    watch.until_state(PageState.DELIVERED)
    watch.restart()
    watch.pager.fallen(fallen)
    assert watch.pager.settle(10)
    watch.falls("postgres")
    watch.server.got(2)
    assert [request.json["alerts"][0]["labels"]["service"] for request in watch.server.requests] == [
        "redis",
        "postgres",
    ]


def test_after_a_restart_what_was_in_doubt_is_sent_under_the_same_key_and_says_so(
    start: Callable[..., Paging], server: ChannelServer
):
    chat = (
        "[channels.ops]\nkind = 'slack'\nallow = ['127.0.0.0/8']\ntimeout = 9\n"
        f"webhook_url = '{server.base}/services/T/B/secret'\n"
    )
    watch = start(chat)
    server.will(Scripted(how="hang"))
    watch.falls()
    server.got()
    key = watch.page().id
    watch.restart()
    watch.until_state(PageState.DELIVERED)
    assert watch.page().id == key
    assert "repeat" not in server.requests[0].body.decode()
    assert "repeat" in server.requests[1].body.decode()


def actions_in(request: Any) -> list[str]:
    """The annotation of each alert that a message was about."""
    return [alert["annotations"].get("actions_taken", "") for alert in request.json["alerts"]]


def test_a_page_says_what_was_done_before_it(start: Callable[..., Paging]):
    watch = start()
    watch.taken["redis"] = "12:00:01 restarted container claw-redis"
    watch.falls()
    (request,) = watch.server.got()
    assert actions_in(request) == ["12:00:01 restarted container claw-redis"]


def test_who_was_paged_is_told_in_the_same_thread_what_was_done_since(start: Callable[..., Paging]):
    watch = start()
    watch.falls()
    watch.until_state(PageState.DELIVERED)
    watch.taken["redis"] = "12:00:01 restarted container claw-redis"
    watch.pager.acted("redis")
    first, second = watch.server.got(2)
    assert first.json["groupKey"] == second.json["groupKey"]
    assert actions_in(second) == ["12:00:01 restarted container claw-redis"]
    assert [call.thread for call in watch.book.calls()] == [watch.book.calls()[0].thread] * 2
    until(lambda: [page.state for page in watch.pages()] == [PageState.DELIVERED] * 2, what="both have arrived")
    watch.pager.acted("redis")
    assert watch.pager.settle(10)
    assert len(watch.server.requests) == 2
    watch.pager.risen("redis")
    assert {call.over for call in watch.book.calls()} == {True}


def test_what_has_not_arrived_yet_says_by_then_what_was_done(start: Callable[..., Paging], server: ChannelServer):
    watch = start()
    calm, server.always = server.always, Scripted(status=503)
    watch.falls()
    server.got()
    watch.taken["redis"] = "12:00:01 restarted container claw-redis"
    watch.pager.acted("redis")
    assert watch.pager.settle(10)
    server.always = calm
    until(lambda: not watch.pager.waiting(), what="all have arrived")
    assert actions_in(server.requests[-1]) == ["12:00:01 restarted container claw-redis"]


def test_what_was_done_about_a_service_of_which_nobody_was_told_is_told_to_nobody(start: Callable[..., Paging]):
    watch = start()
    watch.taken["redis"] = "12:00:01 restarted container claw-redis"
    watch.pager.acted("redis")
    assert watch.pager.settle(10)
    assert watch.book.calls() == []


def test_a_repair_that_failed_is_paged_once_and_is_over_by_its_own_end(start: Callable[..., Paging]):
    watch = start()
    trouble = paging.failure()
    for _ in range(3):
        watch.pager.fallen(trouble)
        assert watch.pager.settle(10)
    (request,) = watch.server.got()
    (alert,) = request.json["alerts"]
    assert alert["labels"]["alertname"] == "SMM_RecoveryFailed"
    assert alert["annotations"]["summary"].startswith("redis could not be repaired: every step")
    watch.until_state(PageState.DELIVERED)
    watch.pager.risen("redis")
    assert not watch.call().over
    watch.pager.mended(trouble.key)
    assert [call.over for call in watch.book.calls()] in ([], [True])
    assert len(watch.server.requests) == 1


def test_a_second_fall_of_the_same_service_is_another_page(start: Callable[..., Paging]):
    watch = start()
    watch.falls()
    watch.until_state(PageState.DELIVERED)
    watch.pager.risen("redis")
    watch.falls()
    first, second = watch.server.got(2)
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_what_fails_is_tried_again_until_it_arrives(start: Callable[..., Paging]):
    watch = start()
    watch.server.will(Scripted(500), Scripted(how="close"), Scripted(503))
    watch.falls()
    watch.until_state(PageState.DELIVERED)
    assert watch.page().attempts > 1
    assert len(watch.server.requests) == 4
    assert {request.headers["idempotency-key"] for request in watch.server.requests} == {str(watch.page().id)}


def test_when_the_service_is_back_nothing_more_is_tried(start: Callable[..., Paging]):
    watch = start()
    watch.server.always = Scripted(500)
    watch.falls()
    watch.server.got(2)
    watch.pager.risen("redis")
    until(lambda: watch.pager.waiting() == 0)
    watch.server.always = None
    seen = len(watch.server.requests)
    watch.falls("postgres")
    until(lambda: any("postgres" in request.body.decode() for request in watch.server.requests))
    later = [request for request in watch.server.requests[seen + 1 :] if "postgres" not in request.body.decode()]
    assert later == []


def test_a_refusal_goes_another_way_at_once_and_is_not_tried_again(start: Callable[..., Paging], server: ChannelServer):
    watch = start(webhook(server.base, more="fallback = ['second']\n"), webhook(server.base, "second"))
    server.will(Scripted(404))
    watch.falls()
    watch.until_state(PageState.DELIVERED, "second")
    assert watch.paths() == ["/ops", "/second"]
    assert watch.page().state is PageState.GIVEN_UP
    assert watch.page("second").fallback_of == watch.page().id


def test_after_two_tries_a_page_also_goes_another_way(start: Callable[..., Paging], server: ChannelServer):
    dead = webhook("http://127.0.0.1:9", more="fallback = ['second']\n")
    watch = start(dead, webhook(server.base, "second"))
    watch.falls()
    watch.until_state(PageState.DELIVERED, "second")
    assert watch.page().state in (PageState.WAITING, PageState.SENDING)
    assert watch.page().attempts >= 2
    assert watch.paths() == ["/second"]


def test_a_channel_that_hangs_holds_up_neither_the_watch_nor_another_channel(
    start: Callable[..., Paging], server: ChannelServer
):
    rules = RULES.replace("[receivers.everybody]\nnotify = [", '[receivers.everybody]\nnotify = ["channel:slow", ')
    with channel_server() as slow:
        slow.always = Scripted(how="hang")
        watch = start(webhook(server.base), webhook(slow.base, "slow"), rules=rules)
        fallen = paging.fall()
        started = time.monotonic()
        watch.pager.fallen(fallen)
        assert time.monotonic() - started < 0.1
        watch.until_state(PageState.DELIVERED)
        assert time.monotonic() - started < 2
        slow.got()
        assert watch.page("slow").state is PageState.SENDING


def test_a_silence_that_was_copied_holds_a_page_until_it_ends(start: Callable[..., Paging]):
    watch = start()
    path = known.path_in(watch.home / "run")
    known.keep(path, Known((silence(service="redis"),)))
    fallen = watch.falls()
    watch.falls("postgres")
    watch.server.got()
    assert "postgres" in watch.server.requests[0].body.decode()
    known.keep(path, Known())

    def told() -> bool:
        watch.pager.fallen(fallen)
        return len(watch.server.requests) == 2

    until(told)
    assert "redis" in watch.server.requests[1].body.decode()


def test_many_falls_at_once_are_each_paged_once(start: Callable[..., Paging], server: ChannelServer):
    names = [f"service-{number}" for number in range(30)]
    watch = start(webhook(server.base, more="burst = 100\n"), *(service(name) for name in names))
    falls = [paging.fall(name) for name in names]
    threads = [threading.Thread(target=lambda: [watch.pager.fallen(fallen) for fallen in falls]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.got(30)
    until(lambda: watch.pager.waiting() == 0)
    told = [request.json["alerts"][0]["labels"]["service"] for request in server.requests]
    assert sorted(told) == sorted(names)


def test_a_broken_catalogue_and_a_missing_key_cost_a_log_entry_and_another_look(start: Callable[..., Paging]):
    watch = start()
    key = watch.home / "admin.key"
    key.unlink(missing_ok=True)
    key.mkdir()
    fallen = watch.falls()
    assert watch.book.calls() == []
    key.rmdir()

    def told() -> bool:
        watch.pager.fallen(fallen)
        return bool(watch.server.requests)

    until(told)


def test_the_clock_of_a_page_is_the_falls(start: Callable[..., Paging]):
    watch = start()
    before = clock.now()
    watch.falls()
    watch.until_state(PageState.DELIVERED)
    assert before <= watch.call().told_at <= watch.page().sent_at <= watch.page().finished_at <= clock.now()


def test_what_the_engine_has_told_since_the_fall_is_not_paged(
    start: Callable[..., Paging], database: str, monkeypatch: pytest.MonkeyPatch
):
    watch = start()
    monkeypatch.setenv("DATABASE_URL", database)
    forget()
    fallen = paging.fall()
    (call,) = planning.plan(fallen, paging.look()).calls
    with unit_of_work() as uow:
        raising.raise_now(uow, call.raised[0], clock.now(), source="signal")
        uow.execute("UPDATE alert_episodes SET told_at = now()")
    watch.pager.fallen(fallen)
    assert watch.pager.settle(10)
    watch.falls("postgres")
    (request,) = watch.server.got()
    assert request.json["alerts"][0]["labels"]["service"] == "postgres"
