"""Accepting posted alerts: durable in Postgres before the sender has its answer, and nearly as quick as memory.

Whatever waits is written in one statement, so that senders who come together share one flush of the disk. The
connection is of the inbox alone, so that readers who hold the pool cannot hold up alerts, and it is served by the event
loop itself: a thread would cost each post two changes of thread, and under load waits for the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg2
from psycopg2 import extensions

from app.errors import Transient
from app.infra import db
from app.infra.logging import get_logger

log = get_logger(__name__)

PATIENCE_SECONDS = 5.0
"""A sender that was not served in this time is told to come again; Prometheus waits 10 s."""
MOST_WAITING_BYTES = 64 << 20
MOST_TOGETHER = 64
"""Posts in one statement."""
_COME_AGAIN = timedelta(seconds=5)
_COLUMNS = "(%s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Post:
    """The alerts of one request: how many, and their JSON, packed. `source`: api, webhook."""

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


@dataclass(slots=True, eq=False)
class Receipt:
    """A post on its way; `done` once it is durable."""

    post: Post
    done: asyncio.Future[None]
    tries: int = 0


class Inbox:
    """The way into the table `alert_inbox`, of one event loop."""

    def __init__(self, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience = patience_seconds
        self._waiting: deque[Receipt] = deque()
        self._waiting_bytes = 0
        self._writing: list[Receipt] = []
        self._connection: Any = None
        self._cursor: Any = None  # psycopg2 loses the answer when the cursor is gone before it
        self._descriptor = -1
        self._watches_writing = False
        self._opening: asyncio.Task[None] | None = None

    def begin(self, post: Post) -> Receipt:
        """Begin to write; what its handler does meanwhile costs no time. Raises Transient when too much waits."""
        if self._waiting_bytes + len(post.body) > MOST_WAITING_BYTES:
            raise Transient("too many posted alerts wait to be stored", retry_after=_COME_AGAIN)
        receipt = Receipt(post, asyncio.get_running_loop().create_future())
        self._waiting.append(receipt)
        self._waiting_bytes += len(post.body)
        self._go_on()
        return receipt

    async def finish(self, receipt: Receipt) -> None:
        """Returns once the post is durable. Raises Transient when that could not be done in time; then it may still be.

        Merging a post twice changes nothing, so whoever sends it again does no harm.
        """
        try:
            async with asyncio.timeout(self._patience):
                await receipt.done
        except TimeoutError:
            if receipt in self._writing:
                self._hang_up()
                self._go_on()
            message = f"posted alerts could not be stored within {self._patience:g} s"
            raise Transient(message, retry_after=_COME_AGAIN) from None

    async def close(self) -> None:
        """Let what is being written be written, and let go of the connection."""
        under_way = [waiting.done for waiting in (*self._writing, *self._waiting)]
        if under_way:
            await asyncio.wait(under_way, timeout=self._patience)
        if self._opening is not None:
            self._opening.cancel()
        self._hang_up()

    def _go_on(self) -> None:
        """Write what waits, unless a write is under way."""
        if self._writing or not self._waiting:
            return
        if self._connection is None:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            return
        self._writing = self._next()
        if not self._writing:
            return
        values: list[object] = []
        for waiting in self._writing:
            post = waiting.post
            waiting.tries += 1
            values += (post.received_at, post.source, post.alerts, psycopg2.Binary(post.body))
        places = ",".join([_COLUMNS] * len(self._writing))
        try:
            self._cursor.execute(f"INSERT INTO alert_inbox (received_at, source, alerts, body) VALUES {places}", values)
        except psycopg2.Error as error:
            self._failed(error)
        else:
            self._look()

    def _next(self) -> list[Receipt]:
        """The oldest whose senders still wait."""
        found: list[Receipt] = []
        while self._waiting and len(found) < MOST_TOGETHER:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= len(waiting.post.body)
            if not waiting.done.done():
                found.append(waiting)
        return found

    def _look(self) -> None:
        """See how far the connection is. Called by the event loop when something moves there."""
        connection = self._connection
        if connection is None:
            return
        try:
            state = connection.poll()
        except psycopg2.Error as error:
            self._failed(error)
            return
        self._watch_writing(state == extensions.POLL_WRITE)
        if state == extensions.POLL_OK and self._writing:
            written, self._writing = self._writing, []
            for waiting in written:
                if not waiting.done.done():
                    waiting.done.set_result(None)
            self._go_on()

    def _watch_writing(self, wanted: bool) -> None:
        """A large statement does not fit into the socket at once: come back when there is room."""
        if wanted == self._watches_writing:
            return
        self._watches_writing = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_writer(self._descriptor, self._look)
        else:
            loop.remove_writer(self._descriptor)

    def _failed(self, error: psycopg2.Error) -> None:
        """The connection is replaced. A first try on one that had died while it rested is repeated."""
        unwritten, self._writing = self._writing, []
        self._hang_up()
        is_connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        again = [waiting for waiting in unwritten if is_connection and waiting.tries == 1]
        self._refuse((waiting for waiting in unwritten if waiting not in again), _said(error))
        self._waiting.extendleft(reversed(again))
        self._waiting_bytes += sum(len(waiting.post.body) for waiting in again)
        self._go_on()

    def _refuse(self, unserved: Iterable[Receipt], why: str) -> None:
        left = [waiting for waiting in unserved if not waiting.done.done()]
        if left:
            log.warning("posted alerts could not be stored", error=why, posts=len(left))
        for waiting in left:
            waiting.done.set_exception(Transient(f"database: {why}", retry_after=_COME_AGAIN))

    async def _open(self) -> None:
        """Connect, then write what waits; or refuse all of it."""
        connection: Any = None
        try:
            async with asyncio.timeout(self._patience):
                # Looking up the server's name may take its time.
                connection = await asyncio.get_running_loop().run_in_executor(None, _connect)
                while (state := connection.poll()) != extensions.POLL_OK:
                    await _moved(connection.fileno(), state)
        except Exception as error:
            if connection is not None:
                connection.close()
            everyone, self._waiting, self._waiting_bytes = list(self._waiting), deque(), 0
            self._refuse(everyone, _said(error))
        else:
            self._connection, self._cursor = connection, connection.cursor()
            self._descriptor = connection.fileno()
            asyncio.get_running_loop().add_reader(self._descriptor, self._look)
        finally:
            self._opening = None
        self._go_on()

    def _hang_up(self) -> None:
        """Close the connection; the senders of what was being written are left to their own patience."""
        connection, self._connection, self._cursor = self._connection, None, None
        self._writing, self._watches_writing = [], False
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        # Of a lost connection libpq has closed the socket: its number must not stay behind for the next one.
        loop.remove_reader(self._descriptor)
        loop.remove_writer(self._descriptor)
        connection.close()


def _connect() -> Any:
    """Begin to connect to the database of this process, with the bounds that its other connections have."""
    engine = db.engine()
    _, parameters = engine.dialect.create_connect_args(engine.url)
    bounds = {
        "application_name": "smm-admin inbox",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": f"-c statement_timeout={int(PATIENCE_SECONDS * 1000)} -c timezone=UTC",
    }
    return psycopg2.connect(**{**parameters, **bounds}, async_=True)


async def _moved(descriptor: int, state: int) -> None:
    """Until the connection can be read, or written."""
    loop = asyncio.get_running_loop()
    moved = loop.create_future()
    reading = state == extensions.POLL_READ

    def tell() -> None:
        if not moved.done():
            moved.set_result(None)

    (loop.add_reader if reading else loop.add_writer)(descriptor, tell)
    try:
        await moved
    finally:
        (loop.remove_reader if reading else loop.remove_writer)(descriptor)


def _said(error: Exception) -> str:
    """The first line of what went wrong: never the statement, never its parameters."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
