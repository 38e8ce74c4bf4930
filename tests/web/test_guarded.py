"""Reading what may hang: bounded, shared, and left alone after trouble."""

from __future__ import annotations

import asyncio
import threading
import time

from app.web.guarded import Guarded


class Source:
    """Something to read whose mood can be set."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def read(self) -> int:
        self.reads += 1
        self.open.wait(10)
        if self.error is not None:
            raise self.error
        return self.reads


def guarded(source: Source, **times: float) -> Guarded[int]:
    return Guarded("test", source.read, **{"patience_seconds": 0.2, "rest_seconds": 0.3, "fresh_seconds": 0.1, **times})


def test_many_who_ask_at_once_share_one_reading() -> None:
    source = Source()

    async def ask() -> list[int | None]:
        reader = guarded(source, patience_seconds=5)
        source.open.clear()
        asked = [asyncio.create_task(reader.current()) for _ in range(50)]
        await asyncio.sleep(0.05)
        source.open.set()
        return await asyncio.gather(*asked)

    assert set(asyncio.run(ask())) == {1}
    assert source.reads == 1


def test_a_fresh_value_is_given_again_and_an_old_one_read_anew() -> None:
    source = Source()

    async def ask() -> list[int | None]:
        reader = guarded(source, fresh_seconds=0.05)
        first, again = await reader.current(), await reader.current()
        await asyncio.sleep(0.06)
        return [first, again, await reader.current()]

    assert asyncio.run(ask()) == [1, 1, 2]


def test_after_a_failure_nobody_tries_until_it_has_rested() -> None:
    source = Source()
    source.error = RuntimeError("refused")

    async def ask() -> None:
        reader = guarded(source)
        assert await reader.current() is None
        source.error = None
        assert await reader.current() is None
        assert source.reads == 1
        await asyncio.sleep(0.35)
        assert await reader.current() == 2

    asyncio.run(ask())


def test_a_reading_that_hangs_holds_nobody_and_is_not_joined_by_a_second() -> None:
    source = Source()
    source.open.clear()

    async def ask() -> None:
        reader = guarded(source, rest_seconds=0.05)
        started = time.monotonic()
        assert await reader.current() is None
        assert time.monotonic() - started < 1
        await asyncio.sleep(0.1)
        started = time.monotonic()
        assert [await reader.current() for _ in range(5)] == [None] * 5
        assert time.monotonic() - started < 0.1
        assert source.reads == 1
        source.open.set()
        deadline = time.monotonic() + 5
        while await reader.current() is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(ask())


def test_it_may_be_asked_from_one_loop_after_another() -> None:
    reader = guarded(Source(), fresh_seconds=0)
    assert [asyncio.run(reader.current()) for _ in range(3)] == [1, 2, 3]
