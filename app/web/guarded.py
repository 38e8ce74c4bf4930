"""Reading what may hang, for pages that must not: bounded, shared, and left alone for a while after trouble."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from app import clock
from app.infra.logging import get_logger

T = TypeVar("T")

log = get_logger(__name__)


class Guarded(Generic[T]):
    """One reading at a time, shared by all who ask, kept for `fresh_seconds`.

    It runs in a thread of its own, never in the pool that endpoints share: a server that accepts connections and then
    says nothing would fill that pool. After a failure, or a reading that took longer than `patience_seconds`, nobody
    tries for `rest_seconds`; a reading that still hangs is not joined by a second one.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        *,
        patience_seconds: float = 2.5,
        rest_seconds: float = 5.0,
        fresh_seconds: float = 1.0,
    ) -> None:
        self.name = name
        self._read = read
        self._patience = patience_seconds
        self._rest = rest_seconds
        self._fresh = fresh_seconds
        self._pending: Future[T] | None = None
        self._started_at = 0.0
        self._rest_until = 0.0
        self._last: tuple[float, T] | None = None

    async def current(self) -> T | None:
        """What was read just now or at most `fresh_seconds` ago; None while that is not to be had."""
        now = clock.monotonic()
        if self._last is not None and now - self._last[0] < self._fresh:
            return self._last[1]
        if now < self._rest_until or self._hangs(now):
            return None
        if self._pending is None:
            self._pending = self._start()
            self._started_at = now
        return await self._await(self._pending)

    def _hangs(self, now: float) -> bool:
        if self._pending is None:
            return False
        if self._pending.done():
            self._pending = None
            return False
        return now - self._started_at > self._patience

    async def _await(self, pending: Future[T]) -> T | None:
        try:
            async with asyncio.timeout(self._patience):
                value = await asyncio.shield(asyncio.wrap_future(pending))
        except TimeoutError:
            self._rest_a_while("no answer in time")
            return None
        except Exception as error:
            self._pending = None
            self._rest_a_while(str(error) or type(error).__name__)
            return None
        self._pending = None
        self._last = (clock.monotonic(), value)
        return value

    def _rest_a_while(self, why: str) -> None:
        if clock.monotonic() >= self._rest_until:
            log.warning("not readable; the last known state is shown", source=self.name, why=why)
        self._rest_until = clock.monotonic() + self._rest

    def _start(self) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                value = self._read()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(value)

        threading.Thread(target=run, name=f"read-{self.name}", daemon=True).start()
        return future
