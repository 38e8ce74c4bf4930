"""How fast one destination may be told: a token bucket in Redis that all processes share, or one of our own without it.

A page never waits for Redis: while it is away each process keeps to the rate by itself.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from app import clock
from app.errors import SmmError
from app.infra import redis
from app.infra.http import MAX_RETRY_AFTER

LONGEST_SECONDS = MAX_RETRY_AFTER.total_seconds()
AWAY_SECONDS = 5.0
"""After Redis failed, how long it is not asked again: a frozen one costs a second each time."""

_SCRIPT = (Path(__file__).parent / "bucket.lua").read_text()
_MICRO = 1_000_000
_DESTINATIONS = 10_000


@dataclass(frozen=True, slots=True)
class Level:
    """A bucket: the monotonic moments at which it will be full again, and until which everybody is put off."""

    full: float = 0.0
    until: float = 0.0

    def taken(self, now: float, rate: float, burst: int) -> tuple[float, Level]:
        """Seconds to wait and the same bucket; or 0, and the bucket with one place taken."""
        interval = 1 / rate
        start = max(now, self.full, self.until + (burst - 1) * interval if self.until > 0 else 0)
        wait = start - (burst - 1) * interval - now
        return (wait, self) if wait > 0 else (0.0, Level(start + interval, self.until))

    def put_off(self, now: float, seconds: float) -> Level:
        """Everybody is put off for `seconds`, or for longer where that was so."""
        return Level(self.full, max(self.until, now + min(seconds, LONGEST_SECONDS)))


@dataclass(slots=True)
class _Own:
    """This process's buckets, for when Redis is away."""

    levels: dict[str, Level] = field(default_factory=dict)
    away_until: float = -math.inf
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str, rate: float, burst: int) -> float:
        with self.lock:
            wait, self.levels[key] = self.level(key).taken(clock.monotonic(), rate, burst)
            return wait

    def put_off(self, key: str, seconds: float) -> None:
        with self.lock:
            self.levels[key] = self.level(key).put_off(clock.monotonic(), seconds)

    def level(self, key: str) -> Level:
        if key not in self.levels and len(self.levels) >= _DESTINATIONS:
            now = clock.monotonic()
            self.levels = {name: level for name, level in self.levels.items() if max(level.full, level.until) > now}
        return self.levels.get(key, Level())


_own = _Own()


def take(destination: str, rate: float, burst: int) -> float:
    """Seconds to wait before this destination may be told again; 0: now, and a place is taken.

    `rate` is messages a second in the long run, `burst` how many may go at once. Never raises for Redis.
    """
    key = key_of(destination)
    answered = _ask(key, rate, burst, put_off=0.0)
    return _own.take(key, rate, burst) if answered is None else answered


def put_off(destination: str, seconds: float) -> None:
    """Let nobody tell this destination for `seconds` (at most an hour): the other side asked for it."""
    if seconds <= 0:
        return
    key = key_of(destination)
    _own.put_off(key, seconds)
    _ask(key, 1.0, 1, put_off=seconds)


def key_of(destination: str) -> str:
    """The bucket's key in Redis."""
    return f"{redis.PREFIX}notify:bucket:{hashlib.sha256(destination.encode('utf-8', 'replace')).hexdigest()[:24]}"


def forget() -> None:
    """Forget this process's own buckets, and that Redis was away."""
    global _own
    _own = _Own()


os.register_at_fork(after_in_child=forget)


def _ask(key: str, rate: float, burst: int, *, put_off: float) -> float | None:
    """What the shared bucket says, in seconds; None while Redis is away."""
    if clock.monotonic() < _own.away_until:
        return None
    amounts = [_MICRO / rate, burst, min(put_off, LONGEST_SECONDS) * _MICRO, LONGEST_SECONDS * _MICRO]
    try:
        with redis.transient_errors():
            script = redis.client().register_script(_SCRIPT)
            waited: int = script(keys=[key], args=[math.ceil(amount) for amount in amounts])
    except SmmError:
        _own.away_until = clock.monotonic() + AWAY_SECONDS
        return None
    return waited / _MICRO
