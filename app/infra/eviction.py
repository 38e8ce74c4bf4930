"""Evicts the longest unused keys under a prefix until a Redis server uses no more than a share of its maxmemory.

The names of a million keys are never held. A round first looks at a sample: SCAN walks the keys in the order of their
hashes, which has nothing to do with their age, so the first few thousand under the prefix stand for all. From their
idle times and sizes follows the idle time at which the keys that are older make up what is to be freed. Then the whole
keyspace is walked, and what has rested at least that long is unlinked, batch by batch, with a look at the memory after
each and a pause in which the server answers others. If that was not enough, another round follows with a lower age; the
last one takes everything that has rested for the least idle time. Within a round the order is the server's own.

UNLINK and scripts that only unlink are taken by a server that refuses all writes because its memory is full.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from app import clock
from app.errors import Permanent

SAMPLE = 10_000
"""Keys whose idle time is asked for in a round."""
SIZED_OF_SAMPLE = 20
"""One in so many of them is also asked for its size."""
MOST_ROUNDS = 50
_WALK = 5
"""Places of the hash table looked at in a step of the walk, as a multiple of the batch."""
_CAUTION, _END_GAME_PERCENT, _GENEROSITY = 0.9, 2.0, 1.1
"""A round aims at a little less than what is to be freed, so that a key goes before one that has rested longer only in
the last round: the one that begins within so many per cent of the target, and aims at a little more."""
_FREEING_SECONDS = 1.0
"""Longest wait for the server's thread that frees large values."""

_SCRIPT = Path(__file__).with_name("eviction.lua").read_text()


class Ended(StrEnum):
    """Why an eviction stopped."""

    TARGET = "target"  # memory is at the target
    EXHAUSTED = "exhausted"  # no key under the prefix has rested long enough
    MOST_KEYS = "most_keys"
    TIME = "time"  # to be continued


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may go and when it is enough. `batch`: names the server is asked for at once."""

    prefix: str
    target_percent: float = 80.0
    min_idle_seconds: int = 60
    most_keys: int = 1_000_000
    batch: int = 200
    pause_seconds: float = 0.002


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; JSON-ready by `as_dict`, so that another process can go on.

    `cutoff`: of the round under way, seconds since 1970 by the server's clock; keys not used since then go. `of_round`:
    keys that it has unlinked. `takes_all`: its cutoff is the least idle time, and none is lower.
    """

    unlinked: int = 0
    rounds: int = 0
    cursor: int = 0
    cutoff: float | None = None
    of_round: int = 0
    takes_all: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Memory:
    """A server's memory in bytes; `policy`: what it evicts by itself."""

    used: int
    ceiling: int
    policy: str = "noeviction"
    freeing: int = 0
    machine: int = 0

    @property
    def percent(self) -> float:
        """Of the ceiling; of an unset one, 0."""
        return self.used / self.ceiling * 100 if self.ceiling else 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """Idle times of some of the keys, about how many bytes all of them use, and whether some are all."""

    idle: list[int]
    bytes: float
    whole: bool


@dataclass(frozen=True, slots=True)
class Eviction:
    """What came of it."""

    ended: Ended
    progress: Progress
    memory: Memory


def memory_of(client: Any) -> Memory:
    """What INFO says. `client` is a redis-py client of either kind."""
    info = client.info("memory")
    return Memory(
        used=int(info.get("used_memory", 0)),
        ceiling=int(info.get("maxmemory", 0)),
        policy=str(info.get("maxmemory_policy", "noeviction")),
        freeing=int(info.get("lazyfree_pending_objects", 0)),
        machine=int(info.get("total_system_memory", 0)),
    )


def evict(client: Any, wanted: Wanted, *, seconds: float, progress: Progress | None = None) -> Eviction:
    """Evict for at most `seconds`, going on from `progress`. `client` speaks bytes.

    Raises Permanent where the server has no ceiling or counts uses instead of idle time; redis.RedisError.
    """
    work = _Work(client, wanted, ends_at=clock.monotonic() + seconds)
    memory = memory_of(client)
    if not memory.ceiling:
        raise Permanent("its maxmemory is not set, so there is no share of it to come down to")
    if "lfu" in memory.policy:
        raise Permanent(f"its policy is {memory.policy}: it does not know for how long a key was not used")
    return work.run(progress or Progress(), memory)


class _Work:
    """One call of `evict`."""

    def __init__(self, client: Any, wanted: Wanted, *, ends_at: float) -> None:
        self._client = client
        self._wanted = wanted
        self._ends_at = ends_at
        self._prefix = wanted.prefix.encode()
        self._pattern = _literal(self._prefix) + b"*"
        self._unlink = client.register_script(_SCRIPT)
        seconds, micros = client.time()
        self._ahead = float(seconds) + float(micros) / 1_000_000 - clock.monotonic()

    def run(self, progress: Progress, memory: Memory) -> Eviction:
        while (ended := self._why_end(progress, memory)) is None:
            if progress.cutoff is None:
                progress = self._next_round(progress, memory)
                if progress.cutoff is None:
                    return Eviction(Ended.EXHAUSTED, progress, memory)
                continue
            before = progress.unlinked
            progress = self._step(progress)
            if progress.unlinked > before:
                memory = self._settled()
        return Eviction(ended, progress, memory)

    def _why_end(self, progress: Progress, memory: Memory) -> Ended | None:
        if memory.percent <= self._wanted.target_percent:
            return Ended.TARGET
        if progress.unlinked >= self._wanted.most_keys:
            return Ended.MOST_KEYS
        return Ended.TIME if clock.monotonic() >= self._ends_at else None

    def _next_round(self, progress: Progress, memory: Memory) -> Progress:
        """The next round with its cutoff; without one when nothing is left that has rested long enough."""
        least = self._wanted.min_idle_seconds
        in_vain = progress.rounds > 0 and progress.of_round == 0
        sample = self._sample()
        old = sorted((seconds for seconds in sample.idle if seconds >= least), reverse=True)
        if (not old and sample.whole) or (in_vain and progress.takes_all) or progress.rounds >= MOST_ROUNDS:
            return progress
        age = least if in_vain or not old else _age(old, round(self._share(memory, sample) * len(sample.idle)))
        return replace(
            progress,
            rounds=progress.rounds + 1,
            cursor=0,
            cutoff=self._now() - age,
            of_round=0,
            takes_all=age == least,
        )

    def _share(self, memory: Memory, sample: _Sample) -> float:
        """Of the keys under the prefix, how much is to go in this round."""
        above = memory.percent - self._wanted.target_percent
        aim = _CAUTION if above > _END_GAME_PERCENT else _GENEROSITY
        return above / 100 * memory.ceiling * aim / sample.bytes if sample.bytes > 0 else 1.0

    def _sample(self) -> _Sample:
        """Bounded in number, and by half of the time that is left."""
        now = clock.monotonic()
        ends_at = now + (self._ends_at - now) / 2
        idle: list[int] = []
        sizes: list[int] = []
        cursor, looked, whole = 0, 0, False
        while not whole and len(idle) < SAMPLE and clock.monotonic() < ends_at:
            cursor, keys = self._scan(cursor)
            looked += _WALK * self._wanted.batch
            whole = cursor == 0
            for some in _parts(keys, self._wanted.batch):
                rested, used = self._ask(some, after=len(idle))
                idle += rested
                sizes += used
                self._pause()
        share = 1.0 if whole else min(1.0, looked / max(1, int(self._client.dbsize())))
        return _Sample(idle, sum(sizes) / len(sizes) * len(idle) / share if sizes else 0.0, whole=whole)

    def _ask(self, keys: list[bytes], *, after: int) -> tuple[list[int], list[int]]:
        """Idle times of these keys, and sizes of a few; keys that are gone meanwhile are left out."""
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.execute_command("OBJECT", "IDLETIME", key)
        for key in [key for place, key in enumerate(keys, after) if place % SIZED_OF_SAMPLE == 0]:
            pipe.execute_command("MEMORY", "USAGE", key)
        answers = pipe.execute(raise_on_error=False)
        numbers = [answer if isinstance(answer, int) else None for answer in answers]
        idle, sizes = numbers[: len(keys)], numbers[len(keys) :]
        return [seconds for seconds in idle if seconds is not None], [size for size in sizes if size is not None]

    def _step(self, progress: Progress) -> Progress:
        """One step of the walk; after the last one the round is over."""
        cursor, keys = self._scan(progress.cursor)
        gone = 0
        for some in _parts(keys[: self._wanted.most_keys - progress.unlinked], self._wanted.batch):
            idle = max(self._wanted.min_idle_seconds, int(self._now() - (progress.cutoff or 0)))
            gone += int(self._unlink(keys=some, args=[self._prefix, idle]))
            self._pause()
        moved = replace(progress, cursor=cursor, unlinked=progress.unlinked + gone, of_round=progress.of_round + gone)
        return moved if cursor else replace(moved, cutoff=None)

    def _scan(self, cursor: int) -> tuple[int, list[bytes]]:
        """The next names; whatever the server's idea of the pattern is, only those under the prefix."""
        following, names = self._client.scan(cursor, match=self._pattern, count=_WALK * self._wanted.batch)
        return int(following), [name for name in names if name.startswith(self._prefix)]

    def _settled(self) -> Memory:
        """The memory once what was unlinked is freed, which large values are by a thread of the server."""
        waits_until = clock.monotonic() + _FREEING_SECONDS
        while (memory := memory_of(self._client)).freeing and clock.monotonic() < waits_until:
            time.sleep(0.005)
        return memory

    def _pause(self) -> None:
        time.sleep(self._wanted.pause_seconds)

    def _now(self) -> float:
        """Seconds since 1970 by the server's clock."""
        return clock.monotonic() + self._ahead


def _age(old: list[int], count: int) -> int:
    """The age from which on there are about `count` keys in `old`, the oldest first: rather fewer than many more."""
    age = old[min(len(old), max(1, count)) - 1]
    older = [seconds for seconds in old if seconds > age]
    too_many = len(older) + old.count(age) > 1.2 * count
    return older[-1] if older and too_many else age


def _parts(keys: list[bytes], size: int) -> Iterator[list[bytes]]:
    """SCAN may answer with more than it was asked for; the server is kept with no more than a batch at once."""
    for first in range(0, len(keys), size):
        yield keys[first : first + size]


def _literal(prefix: bytes) -> bytes:
    """The prefix as a pattern that matches nothing else."""
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\^-" else bytes([byte]) for byte in prefix)
