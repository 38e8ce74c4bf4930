"""How many database connections a web process keeps: its own setting, or more for as long as Redis says so.

The wish lies in Redis, because it is made when the database has no connection to spare. A process that cannot read it
keeps what it has; a wish that runs out or is withdrawn leads back to the setting.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from typing import Any

from app.config import settings
from app.errors import SmmError
from app.infra import db, redis
from app.infra.logging import get_logger

KEY = f"{redis.PREFIX}pool"
"""JSON with `size`, `by` (who wished it: a step's key) and `before`."""
SESSIONS = "smm-admin web"
"""How the database sees the sessions of such a process."""
LARGEST = 100
EVERY_SECONDS = 10.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """`size`: of each web process's pool, which under load may have as many connections again. `before`: its last."""

    size: int
    by: str
    before: int


def wish(client: Any, wanted: Wish, *, seconds: int) -> None:
    """Let every web process follow, for so long. Raises redis.RedisError."""
    client.set(KEY, json.dumps(asdict(wanted)), ex=seconds)


def withdraw(client: Any) -> bool:
    """Back to the setting; was there a wish? Raises redis.RedisError."""
    return bool(client.delete(KEY))


def wished(client: Any) -> Wish | None:
    """The wish in force; None without one, and for what is none. Raises redis.RedisError."""
    try:
        found = json.loads(client.get(KEY) or "null")
        size, by, before = int(found["size"]), str(found["by"]), int(found["before"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return Wish(size, by, before) if 0 < size <= LARGEST else None


class Follower:
    """Looks for the wish every ten seconds, in a thread of its own, and gives the process a pool of that size."""

    def __init__(self, *, every_seconds: float = EVERY_SECONDS) -> None:
        self._every = every_seconds
        self._size = settings().db_pool_size
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pool-size", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=3)

    def look(self) -> None:
        """Look once. Trouble with Redis changes nothing."""
        try:
            with redis.transient_errors():
                found = wished(redis.client())
        except SmmError as error:
            log.debug("the wished size of the pool could not be read", error=str(error))
            return
        own = settings().db_pool_size
        size = max(own, found.size) if found else own
        if size != self._size:
            db.resize_pool(size)
            log.info("the pool of database connections has another size", size=size, before=self._size)
            self._size = size

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:
                log.exception("the size of the pool could not be followed")
            self._stop.wait(self._every)
