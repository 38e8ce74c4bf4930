"""Accepting posted alerts: durable in Postgres before the sender has its answer, and as quick as memory.

One thread a process writes whatever waits in one statement, so that senders who come together share one flush of the
disk. Its connection is its own: readers that hold the pool cannot hold up alerts.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg2
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.errors import Transient
from app.infra import db
from app.infra.logging import get_logger

log = get_logger(__name__)

PATIENCE_SECONDS = 5.0
"""A sender that was not served in this time is told to come again: Prometheus waits 10 s."""
STATEMENT_SECONDS = 4
MOST_WAITING_BYTES = 64 << 20
MOST_TOGETHER = 64
"""Posts in one statement."""
_COME_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Post:
    """Checked alerts of one request: how many, and their JSON, packed. `source`: api, webhook."""

    source: str
    received_at: datetime
    alerts: int
    body: bytes


def pack(alerts: bytes) -> bytes:
    """A JSON list of alerts as the table keeps it. Alerts repeat themselves: a twentieth is left, in 20 µs."""
    return zlib.compress(alerts, 1)


def unpack(body: bytes) -> list[Any]:
    """What `pack` was given, parsed."""
    found: list[Any] = json.loads(zlib.decompress(body))
    return found


@dataclass(slots=True)
class _Waiting:
    post: Post
    done: asyncio.Future[None]
    abandoned: bool = False


class Inbox:
    """The way into the table `alert_inbox` for one event loop. `close` lets what waits be written."""

    def __init__(self, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience = patience_seconds
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._engine: Engine | None = None

    async def put(self, post: Post) -> None:
        """Returns once the post is durable. Raises Transient when it could not be made so in time."""
        waiting = _Waiting(post, asyncio.get_running_loop().create_future())
        self._enter(waiting)
        try:
            async with asyncio.timeout(self._patience):
                await waiting.done
        except TimeoutError:
            waiting.abandoned = True
            message = f"the alerts could not be stored within {self._patience:g} s"
            raise Transient(message, retry_after=_COME_AGAIN) from None

    def close(self) -> None:
        """Write what waits, and let go of the connection."""
        thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join(self._patience)

    def _enter(self, waiting: _Waiting) -> None:
        size = len(waiting.post.body)
        with self._lock:
            if self._waiting_bytes + size > MOST_WAITING_BYTES:
                raise Transient("too many posted alerts wait to be stored", retry_after=_COME_AGAIN)
            self._waiting_bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="alert-inbox", daemon=True)
                self._thread.start()
        self._queue.put(waiting)

    def _run(self) -> None:
        open_ = True
        while open_:
            together = [self._queue.get()]
            while len(together) < MOST_TOGETHER and not self._queue.empty():
                together.append(self._queue.get())
            open_ = None not in together
            self._serve([waiting for waiting in together if waiting is not None])
        self._hang_up()

    def _serve(self, together: list[_Waiting]) -> None:
        """Write those whose senders still wait, and tell them."""
        wanted = [waiting for waiting in together if not waiting.abandoned]
        failure = ""
        try:
            if wanted:
                self._write([waiting.post for waiting in wanted])
        except Exception as error:
            log.warning("posted alerts could not be stored", error=_said(error), posts=len(wanted))
            failure = _said(error)
        with self._lock:
            self._waiting_bytes -= sum(len(waiting.post.body) for waiting in together)
        if wanted:
            _tell(wanted, failure)

    def _write(self, posts: Sequence[Post]) -> None:
        """One statement, which is a transaction by itself. A connection that died while it rested is replaced.

        What was written and not confirmed may so be written twice: merging it twice changes nothing.
        """
        rested = self._connection is not None and self._engine is db.engine()
        try:
            self._insert(posts)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self._hang_up()
            if not rested:
                raise
            self._insert(posts)
        except Exception:
            self._hang_up()
            raise

    def _insert(self, posts: Sequence[Post]) -> None:
        connection = self._connected()
        values = [(post.received_at, post.source, post.alerts, psycopg2.Binary(post.body)) for post in posts]
        places = ",".join(["(%s, %s, %s, %s)"] * len(values))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO alert_inbox (received_at, source, alerts, body) VALUES {places}",
                [value for row in values for value in row],
            )

    def _connected(self) -> Any:
        """The connection, of the engine of the moment."""
        if self._connection is None or self._engine is not db.engine():
            self._hang_up()
            self._engine = db.engine()
            raw = self._engine.raw_connection()
            connection: Any = raw.driver_connection
            raw.detach()
            connection.rollback()
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
            self._connection = connection
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _tell(waiting: Sequence[_Waiting], failure: str) -> None:
    """To the event loop's thread; a loop that is gone has nobody who waits."""

    def tell() -> None:
        for one in waiting:
            if one.done.done():
                continue
            if failure:
                one.done.set_exception(Transient(f"database: {failure}", retry_after=_COME_AGAIN))
            else:
                one.done.set_result(None)

    loop = waiting[0].done.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(tell)


def _said(error: Exception) -> str:
    """The first line of what went wrong: never the statement, never its parameters."""
    if isinstance(error, DBAPIError):
        return db.describe(error)
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
