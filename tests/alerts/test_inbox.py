"""Accepting posts: durable, together, bounded in time and size, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from app import clock
from app.alerts import inbox
from app.alerts.inbox import Inbox, Post, pack, unpack
from app.errors import Transient
from app.infra.db import dispose, execute_once
from tests.fixtures.servers import Servers

WRITERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'smm-admin inbox' AND datname = current_database()"


def post(number: int = 0, *, size: int = 0) -> Post:
    alerts = [{"labels": {"alertname": f"A{number}"}, "annotations": {"noise": os.urandom(size // 2).hex()}}]
    return Post("api", clock.now(), len(alerts), pack(json.dumps(alerts).encode()))


async def put(box: Inbox, one: Post) -> None:
    await box.finish(box.begin(one))


def kept() -> list[str]:
    rows = execute_once("SELECT body FROM alert_inbox ORDER BY id")
    return [alert["labels"]["alertname"] for row in rows for alert in unpack(bytes(row.body))]


def run(work: Any) -> Any:
    """Run a coroutine function with an inbox of its own, closed at the end."""

    async def whole() -> Any:
        box = Inbox(patience_seconds=1.0)
        try:
            return await work(box)
        finally:
            await box.close()

    return asyncio.run(whole())


async def put_one(box: Inbox) -> None:
    await put(box, post(1))


async def refused(box: Inbox) -> float:
    """Seconds until a post was refused."""
    started = time.monotonic()
    with pytest.raises(Transient) as caught:
        await put(box, post(99))
    assert caught.value.retry_after is not None
    return time.monotonic() - started


def test_what_is_put_is_there_when_it_returns(database: str) -> None:
    async def work(box: Inbox) -> None:
        await put(box, post(1))
        assert await asyncio.to_thread(kept) == ["A1"]
        await put(box, post(2))

    run(work)
    assert kept() == ["A1", "A2"]


def test_what_comes_together_is_written_together(database: str) -> None:
    other = psycopg2.connect(database)

    async def work(box: Inbox) -> None:
        await put(box, post(0))
        other.cursor().execute("LOCK TABLE alert_inbox IN ACCESS EXCLUSIVE MODE")
        receipts = [box.begin(post(number)) for number in range(1, 200)]
        other.rollback()
        await asyncio.gather(*map(box.finish, receipts))

    run(work)
    other.close()
    assert sorted(kept()) == sorted(f"A{number}" for number in range(200))
    transactions = execute_once("SELECT count(DISTINCT xmin::text) AS writes FROM alert_inbox")[0].writes
    assert transactions == 2 + 199 // inbox.MOST_TOGETHER + 1


def test_a_statement_that_does_not_fit_into_the_socket_is_written_whole(database: str) -> None:
    async def work(box: Inbox) -> None:
        await asyncio.gather(*(put(box, post(number, size=900_000)) for number in range(20)))

    run(work)
    assert len(kept()) == 20


def test_a_connection_that_died_while_it_rested_is_replaced(database: str) -> None:
    async def work(box: Inbox) -> None:
        await put(box, post(1))
        await asyncio.to_thread(execute_once, f"SELECT pg_terminate_backend(pid) FROM ({WRITERS}) AS w")
        await put(box, post(2))

    run(work)
    assert kept() == ["A1", "A2"]


def test_a_sender_who_leaves_while_it_connects_stands_in_nobodys_way(database: str) -> None:
    async def work(box: Inbox) -> None:
        box.begin(post(1)).done.cancel()  # as patience that is over does
        while box._opening is not None:
            await asyncio.sleep(0)  # the next post comes at once, before Postgres could answer anything
        await put(box, post(2))

    run(work)
    assert kept() == ["A2"]


def test_without_a_database_a_post_is_refused_at_once_and_taken_when_it_is_back(
    database: str, servers: Servers
) -> None:
    name = database.rpartition("/")[2]

    async def work(box: Inbox) -> None:
        await put(box, post(1))
        servers.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        servers.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        assert await refused(box) < 1
        assert await refused(box) < 1
        servers.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await put(box, post(2))

    run(work)
    dispose()
    assert kept() == ["A1", "A2"]


def test_where_nobody_listens_a_post_is_refused_at_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/none")
    inbox.db.dispose()
    from app.config import settings

    settings.cache_clear()
    assert run(refused) < 1


def test_a_table_that_somebody_locks_refuses_posts_in_time(database: str) -> None:
    other = psycopg2.connect(database)

    async def work(box: Inbox) -> None:
        await put(box, post(1))
        other.cursor().execute("LOCK TABLE alert_inbox IN ACCESS EXCLUSIVE MODE")
        many = [asyncio.create_task(refused(box)) for _ in range(5)]
        assert max(await asyncio.gather(*many)) < 3
        other.rollback()
        await put(box, post(2))

    run(work)
    other.close()
    assert set(kept()) - {"A99"} == {"A1", "A2"}


@contextmanager
def frozen() -> Iterator[None]:
    """The server's side of the inbox does not move."""
    (writer,) = execute_once(WRITERS)
    os.kill(writer.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(writer.pid, signal.SIGCONT)


def test_a_server_that_freezes_refuses_posts_in_time(database: str) -> None:
    async def work(box: Inbox) -> None:
        await put(box, post(1))
        with frozen():
            assert await refused(box) < 2
            await put(box, post(2))  # by another connection

    run(work)
    assert set(kept()) - {"A99"} == {"A1", "A2"}


def test_more_than_can_wait_is_refused_at_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST_WAITING_BYTES", 200)

    async def work(box: Inbox) -> None:
        first = box.begin(post(1))
        with pytest.raises(Transient, match="too many"):
            for number in range(10):
                box.begin(post(number))
        await box.finish(first)
        await put(box, post(2))

    run(work)
    assert {"A1", "A2"} <= set(kept())


def test_what_is_under_way_at_the_end_is_written(database: str) -> None:
    async def work(box: Inbox) -> None:
        for number in range(5):
            box.begin(post(number))

    run(work)
    assert kept() == [f"A{number}" for number in range(5)]


def test_a_sender_that_went_away_harms_nobody(database: str) -> None:
    async def work(box: Inbox) -> None:
        await put(box, post(0))
        gone = asyncio.create_task(put(box, post(1)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(put(box, post(2)), put(box, post(3)))

    run(work)
    assert set(kept()) - {"A1"} == {"A0", "A2", "A3"}
