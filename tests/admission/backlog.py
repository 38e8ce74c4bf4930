"""Accounts whose operations wait, under a catalogue whose limits a test makes larger and smaller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.admission import deferring, operations, releasing
from app.admission.deferring import Deferred, Wanted
from app.errors import Invalid
from app.infra import queue, redis
from app.infra.db import unit_of_work
from app.limits import deciding, keys
from app.limits.core import Counting, Decision
from app.limits.spending import Who
from tests.benchmarks.release import names_in_broker
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use

ACCOUNT = "instagram/ann"


def catalogue(*, calls: int = 1, posts: int = 1, extra: str = "", window: str = "rolling") -> str:
    """Limits of so much in a month: they do not come back while a test runs."""
    more = "spread = 0\nreserve = 0\nceilings = {}" if window == "calendar" else "reserve = 0\nceilings = {}"
    return f"""
[services.n8n]
kind = "tcp"
host = "127.0.0.1"
port = 1

[limits.calls]
capacity = {calls}
window = "{window}"
period = "month"
{more}

[limits.posts]
capacity = {posts}
window = "{window}"
period = "month"
{more}

[operations.call]
platform = "instagram"
consumes = {{calls = 1}}

[operations.answer]
platform = "instagram"
class = "interactive"
consumes = {{calls = 1}}

[operations.look]
platform = "instagram"
class = "background"
consumes = {{calls = 1}}

[operations.post]
platform = "instagram"
consumes = {{posts = 1}}

[operations.both]
platform = "instagram"
consumes = {{calls = 1, posts = 1}}

[operations.serial]
platform = "instagram"
consumes = {{calls = 1}}
one_at_a_time = true
{extra}"""


class Backlog:
    """What a test does to queues: let operations wait, let time come, look who went on."""

    def __init__(self, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger, self._home, self._monkeypatch = ledger, home, monkeypatch

    def limits(self, **wanted: Any) -> None:
        """From now on these are the limits."""
        use(self._monkeypatch, self._home, catalogue(**wanted))

    def wanted(self, request_id: str, operation: str = "call", account: str = ACCOUNT, **more: Any) -> Wanted:
        rank = operations.known(operation).plan.rank if operation in operations.every() else 2
        given: dict[str, Any] = {
            "account": account,
            "tenant": None,
            "operation": operation,
            "rank": rank,
            "request_id": request_id,
            "estimate": 0,
            "task": {"task": "tests.record", "kwargs": {"note": request_id}},
            "caller": "tests",
            "expires_at": clock.now() + timedelta(hours=1),
        }
        return Wanted(**given | more)

    def ask(self, request_id: str, operation: str = "call", account: str = ACCOUNT) -> Decision:
        """As admission asks."""
        known = operations.known(operation)
        name = account.partition("/")[2]
        question = operations.ask(known, account=name, who=Who(), request_id=request_id, counting=Counting.DEFER)
        return deciding.decide(question)

    def defer(self, request_id: str, operation: str = "call", account: str = ACCOUNT, **more: Any) -> Deferred:
        """Ask, and wait; in a transaction of its own."""
        decision = self.ask(request_id, operation, account)
        with unit_of_work() as uow:
            return deferring.defer(uow, self.wanted(request_id, operation, account, **more), decision)

    def defer_all(self, wanted: Sequence[Wanted]) -> list[Deferred | Invalid]:
        """Many in one transaction, of which nothing is known."""
        with unit_of_work() as uow:
            return deferring.defer_many(uow, wanted, [None] * len(wanted))

    def due(self) -> None:
        """The time of every queue has come."""
        self.ledger.sql("UPDATE deferral_queues SET next_try_at = now() - interval '1 second'")

    def release(self) -> releasing.Released:
        """All queues are looked at, until none is due."""
        self.due()
        return releasing.release_due(seconds=20)

    def rung(self, name: str = "default") -> list[str]:
        """What jobs of a queue will run, in the order of their messages."""
        notes = {row.id: row.note for row in self.ledger.sql("SELECT id, kwargs ->> 'note' AS note FROM jobs")}
        return [notes[job] for job in names_in_broker(name)]

    def states(self) -> dict[str, str]:
        """Each id with what became of it, in order."""
        rows = self.ledger.sql("SELECT request_id, state FROM deferred_operations ORDER BY seq")
        return {row.request_id: row.state for row in rows}

    def waiting(self) -> list[str]:
        return [name for name, state in self.states().items() if state == "waiting"]

    def queue(self, account: str = ACCOUNT) -> Any | None:
        rows = self.ledger.sql("SELECT * FROM deferral_queues WHERE account = :account", account=account)
        return rows[0] if rows else None

    def next_try_at(self, account: str = ACCOUNT) -> datetime:
        row = self.queue(account)
        assert row is not None
        at: datetime = row.next_try_at
        return at

    def signals(self, kind: str) -> list[Any]:
        return list(self.ledger.sql("SELECT subject, labels, facts FROM signals WHERE kind = :kind", kind=kind))

    def lose_redis(self) -> None:
        """Redis is empty; its counters are known to be zero."""
        redis.client().flushall()
        redis.client().set(keys.EPOCH, "whole:2")
        queue.after_fork()


@pytest.fixture
def backlog(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Backlog:
    """One call, one post a month; counters that are whole."""
    made = Backlog(ledger, home, monkeypatch)
    made.limits()
    redis.client().set(keys.EPOCH, "whole:1")
    return made
