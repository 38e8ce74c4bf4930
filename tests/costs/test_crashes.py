"""Events that come twice, shuffled, from several processes that are killed at random, add up to the micro-dollar.

COST_EVENTS=1000000 python -m pytest tests/costs/test_crashes.py   # the same with a million of them
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from random import Random
from typing import Any

from app import clock
from app.costs import draining, recomputing, recording
from app.costs.calls import Call
from app.errors import Transient
from app.infra import db, redis
from app.limits import spending
from tests.costs.conftest import Drain, added_up
from tests.costs.sent import call

EVENTS = int(os.environ.get("COST_EVENTS", "10000"))
WRITERS, BATCH, REPLAYS, KILLS = 4, 500, 2, 8
SECONDS = 60 + EVENTS / 500

Batch = tuple[int, Sequence[Call]]


def made(random: Random) -> list[Call]:
    """Calls of the last three days by some tenants, users, agents and models."""
    pattern, now = call(cost=0.01), clock.now()
    return [
        pattern._replace(
            id=(one := call_id(random, now))[0],
            at=one[1],
            tenant=f"tenant {(tenant := random.randrange(5))}",
            user=f"user {tenant} {random.randrange(4)}",
            agent=random.choice(("", "writer", "reader")),
            skill=random.choice(("content", "engage")),
            model=random.choice(("small", "large")),
            input_tokens=random.randrange(5000),
            output_tokens=random.randrange(900),
            cost_micro_usd=random.choice((None, 0, 1, random.randrange(10_000_000))),
            latency_ms=random.choice((None, random.randrange(9000))),
            outcome=random.choice(("ok", "ok", "ok", "timeout")),
        )
        for _ in range(EVENTS)
    ]


def call_id(random: Random, now: datetime) -> tuple[str, float]:
    """An id and its time."""
    millis = int((now - timedelta(seconds=random.randrange(3 * 86_400))).timestamp() * 1000)
    digits = (
        f"{millis:012x}7{random.getrandbits(12):03x}{0x8000 | random.getrandbits(14):04x}{random.getrandbits(48):012x}"
    )
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])), millis / 1000


def write(batches: Sequence[Batch], told: Connection) -> None:
    """By turns durably and through the stream, which it drains as well; it tells what is done, and what failed."""
    db.after_fork(pool_size=2)
    redis.client.cache_clear()
    for number, calls in batches:
        while True:
            try:
                recording.record(calls, durable=number % 2 == 0, source="test")
                if number % 3 == 0:
                    draining.drain(0.1)
                break
            except Transient as error:
                told.send(str(error))
        told.send(number)
    told.send(None)


class Writers:
    """Processes with their shares; one that is killed is followed by one that sends again whatever was not answered."""

    def __init__(self, shares: Sequence[Sequence[Batch]]) -> None:
        self._fork = multiprocessing.get_context("fork")
        self.left = [dict(share) for share in shares]
        self.failures: list[str] = []
        self.kills = 0
        self._running: list[tuple[Any, Connection]] = [self._start(place) for place in range(len(shares))]

    def _start(self, place: int) -> tuple[Any, Connection]:
        ours, theirs = self._fork.Pipe(duplex=False)
        process = self._fork.Process(target=write, args=(list(self.left[place].items()), theirs), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def listen(self) -> bool:
        """Take what they say; False when all are done."""
        for place, (_, told) in enumerate(self._running):
            try:
                while told.poll():
                    word = told.recv()
                    if isinstance(word, str):
                        self.failures.append(word)
                    else:
                        self.left[place].pop(word, None)
            except EOFError:
                continue
        return any(self.left)

    def kill(self, place: int) -> None:
        """Without warning, at whatever it is doing; another one goes on."""
        process, told = self._running[place]
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        self.listen()
        told.close()
        self.kills += 1
        self._running[place] = self._start(place)

    def end(self) -> None:
        for process, _ in self._running:
            process.kill()
            process.join()


def test_what_is_sent_again_and_again_by_writers_that_are_killed_is_counted_once(drain: Drain) -> None:
    random = Random(20261121)
    calls = made(random)
    sent = [*calls, *random.sample(calls, EVENTS // 10)] * REPLAYS
    random.shuffle(sent)
    batches = [(start // BATCH, sent[start : start + BATCH]) for start in range(0, len(sent), BATCH)]
    db.dispose()
    writers = Writers([batches[place::WRITERS] for place in range(WRITERS)])
    ends, pause = time.monotonic() + SECONDS, len(sent) / 100_000
    try:
        next_kill = time.monotonic() + 0.3
        while writers.listen():
            assert time.monotonic() < ends, f"not done: {[len(left) for left in writers.left]}, {writers.failures[:5]}"
            if writers.kills < KILLS and time.monotonic() > next_kill:
                writers.kill(random.choice([place for place, left in enumerate(writers.left) if left]))
                next_kill = time.monotonic() + random.uniform(0.3, 1) * pause
            time.sleep(0.01)
    finally:
        writers.end()
    while spending.backlog().entries:
        draining.drain()
    assert [failure for failure in writers.failures if "deadlock" in failure] == []
    assert drain.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0].deadlocks == 0
    assert writers.kills >= 2
    assert drain.count() == EVENTS
    assert drain.rollups() == added_up(calls)
    assert drain.rollups("days") == added_up(calls, hours=False)
    assert drain.set_aside() == []
    now = clock.now()
    assert {recomputing.recompute((now - timedelta(days=days)).astimezone(UTC).date(), now) for days in range(4)} == {0}
