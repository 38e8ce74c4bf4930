"""The keys that are good, as one process knows them: read whole, a few seconds old at most.

Whoever guesses keys costs one short query each quarter of a second, however many guess. While Postgres is away, what
was read last counts on: admissions go on then, and nobody can revoke a key that cannot be written.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from app import clock
from app.access import keys, store
from app.access.callers import Role
from app.access.keys import Key
from app.errors import Transient
from app.infra.db import read_within, unit_of_work
from app.infra.logging import get_logger

FRESH_SECONDS = 4.0
"""How old it may be for a key that is in it: a key that was revoked is refused within this time and a moment."""
MISSED_SECONDS = 0.25
"""And for a key that is not: one that was made just now is known after this."""
GRACE_SECONDS = 600.0
"""And while Postgres cannot be asked."""
WAIT_SECONDS = 1.0
REST_SECONDS = 5.0
LONGEST_KEY = 200

T = TypeVar("T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Keys by their SHA-256, and when they were read (monotonic)."""

    keys: Mapping[bytes, Key]
    read_at: float

    def is_fresh(self, digest: bytes) -> bool:
        """Is it young enough to answer for this key?"""
        return clock.monotonic() - self.read_at < (FRESH_SECONDS if digest in self.keys else MISSED_SECONDS)


def read() -> Mapping[bytes, Key]:
    """All keys that are good now. One of a role that only a newer version knows is not among them. Raises Transient."""
    with read_within(WAIT_SECONDS * 2) as session:
        rows = store.read(session, in_use_at=clock.now())
    return {bytes(row.hash): keys.of_row(row) for row in rows if row.role in list(Role)}


def note_use(key_id: UUID) -> None:
    """Write down that a key was used. Raises Transient."""
    with unit_of_work() as uow:
        store.touch(uow, key_id, clock.now())


@dataclass
class Directory:
    """Finds keys without holding up an event loop. What runs in it may be used from several loops."""

    read: Callable[[], Mapping[bytes, Key]] = read
    note_use: Callable[[UUID], None] = note_use
    _found: Found | None = None
    _reading: Future[Found] | None = None
    _changes: int = 0
    _rest_until: float = 0.0
    _used: dict[UUID, float] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    async def find(self, given: str) -> Key | None:
        """What is known of a key; None for one that is not known, has expired or was revoked.

        Raises Transient where nobody can tell, because Postgres is away.
        """
        if not given.startswith(keys.PREFIX) or len(given) > LONGEST_KEY:
            return None
        digest = keys.digest(given)
        found = self._found
        if found is None or not found.is_fresh(digest):
            found = await self._renewed(digest, found)
        key = found.keys.get(digest)
        if key is None or key.expires_at <= clock.now():
            return None
        await self._note(key)
        return key

    def forget(self) -> None:
        """Read anew before the next answer: this process has changed a key."""
        with self._turn:
            self._found, self._reading = None, None
            self._changes += 1

    async def _renewed(self, digest: bytes, stale: Found | None) -> Found:
        """What is read now; where that cannot be had in time, what was read before, of a key that was in it."""
        if clock.monotonic() >= self._rest_until:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    return await asyncio.wrap_future(self._started())
            except (TimeoutError, Transient) as error:
                self._rest(str(error) or "no answer in time")
            except Exception:
                log.exception("API keys cannot be read")
                self._rest("see above")
        if stale is not None and digest in stale.keys and clock.monotonic() - stale.read_at < GRACE_SECONDS:
            return stale
        raise Transient("API keys cannot be looked up now")

    def _started(self) -> Future[Found]:
        """The reading that goes on, or a new one: two only where a key was changed meanwhile."""
        with self._turn:
            if self._reading is None or self._reading.done():
                changes = self._changes
                self._reading = _in_a_thread(lambda: self._read_now(changes), "keys")
            return self._reading

    def _read_now(self, changes: int) -> Found:
        began = clock.monotonic()
        found = Found(self.read(), began)
        with self._turn:
            if changes == self._changes:  # else a key was changed since it was asked for
                self._found = found
        for gone in self._used.keys() - {key.id for key in found.keys.values()}:
            self._used.pop(gone, None)
        return found

    def _rest(self, why: str) -> None:
        if clock.monotonic() >= self._rest_until:
            log.warning("API keys are not readable: those that were known go on", why=why)
        self._rest_until = clock.monotonic() + REST_SECONDS

    async def _note(self, key: Key) -> None:
        """Once a minute; a moment is waited for it, and its failure is nobody's trouble."""
        now = clock.monotonic()
        if now - self._used.get(key.id, -store.USED_SECONDS) < store.USED_SECONDS or now < self._rest_until:
            return
        self._used[key.id] = now
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await asyncio.wrap_future(_in_a_thread(lambda: self.note_use(key.id), "key-use"))
        except (TimeoutError, Transient) as error:
            log.warning("a key's use is not written down", key=key.name, why=str(error) or "no answer in time")


def _in_a_thread(work: Callable[[], T], name: str) -> Future[T]:
    """In a thread of its own: a server that accepts connections and then says nothing holds nobody else's."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from now on: who stops waiting does not cancel it for the others

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
