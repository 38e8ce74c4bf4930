"""A catalogue with limits of every kind, and a test that asks for decisions and keeps the counters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app import catalog
from app.catalog import RateLimit
from app.infra import redis
from app.limits import deciding, keys, rebuild, snapshots
from app.limits.core import Ask, Counting, Decision, Use, Verdict
from app.limits.plans import Plan
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use

SERVICES = """
[services.redis]
kind = "redis"
"""
CATALOG = """
[limits.calls]
platform = "demo"
capacity = 100
window = "calendar"
period = "month"

[limits.short]
platform = "demo"
capacity = 10
window = "calendar"
period = 1

[limits.rolling]
platform = "demo"
capacity = 200
window = "rolling"
period = "day"

[limits.brief]
platform = "demo"
capacity = 20
window = "rolling"
period = 1

[limits.spend]
currency = "usd"
per = "tenant"
capacity = 5
window = "calendar"
period = "month"

[operations.call]
consumes = {calls = 1, short = 1, rolling = 1, brief = 1}

[operations.post]
consumes = {short = 2}

[operations.think]
consumes = {spend = "estimate"}
"""


class Keeper:
    """What a test does to the limiter, and what is left of it in Redis and Postgres."""

    def __init__(self, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sql = ledger.sql
        self._home, self._monkeypatch = home, monkeypatch
        self.catalogue(CATALOG)

    def catalogue(self, text: str) -> None:
        """From now on this is the file."""
        use(self._monkeypatch, self._home, SERVICES + text)

    def limit(self, name: str) -> RateLimit:
        return catalog.current().limiting.limits[name]

    def ask(self, account: str, *limits: str, cost: int | None = 1, rank: int = 1, **more: Any) -> Ask:
        """For a decision about some limits. `account` is the whole subject where it has a colon."""
        uses = [Use(self.limit(name), 0, cost, self.limit(name).ceiling(rank)) for name in limits]
        subject = account if ":" in account else keys.account("demo", account)
        key = more.pop("key", None) or f"{subject} {uuid4()}"
        return Ask(Plan("call", rank, uses), key, (subject,), **more)

    def consume(self, account: str, *limits: str, times: int = 1, **more: Any) -> Decision:
        """So many decisions, of which each is allowed; the last one."""
        for _ in range(times):
            made = deciding.decide(self.ask(account, *limits, **more))
            assert made.verdict is Verdict.ALLOW, made
        return made

    def refused(self, account: str, *limits: str, **more: Any) -> Decision:
        made = deciding.decide(self.ask(account, *limits, **{"counting": Counting.NOW, **more}))
        assert made.verdict is Verdict.WAIT
        return made

    def used(self, account: str, limit: str) -> int:
        """As a decision would see it."""
        return deciding.peek(self.ask(account, limit)).readings[0].used

    def state(self, account: str) -> dict[str, Any]:
        text = redis.client().get(keys.STATE + keys.account("demo", account))
        return {} if text is None else dict(json.loads(text))

    def lose(self) -> None:
        """Redis forgets everything."""
        redis.client().flushall()

    def whole(self) -> None:
        """The background part of the rebuild, until it is done."""
        while not rebuild.fill():
            pass

    def epoch(self) -> str | None:
        found: str | None = redis.client().get(keys.EPOCH)
        return found

    def kept(self, account: str) -> dict[str, Any]:
        """The state as it is written down."""
        rows = self.sql("SELECT state FROM limit_states WHERE subject = :s", s=keys.account("demo", account))
        return {} if not rows else dict(json.loads(rows[0].state))

    def windows(self, account: str | None = None) -> list[Any]:
        """Open windows that are written down."""
        rows = self.sql("SELECT * FROM limit_windows ORDER BY subject, limit_name, start_at")
        return [row for row in rows if account is None or row.subject == keys.account("demo", account)]

    def closed(self) -> list[Any]:
        return list(self.sql("SELECT * FROM rate_limit_log ORDER BY start_at, subject, limit_name"))

    def signals(self, kind: str = "limits.%") -> list[Any]:
        query = "SELECT kind, subject, labels, facts FROM signals WHERE kind LIKE :kind ORDER BY id"
        return list(self.sql(query, kind=kind))

    def told(self, kind: str = "limits.crossed") -> list[tuple[str, str]]:
        """Limit and level of each crossing that became a signal."""
        return [(row.labels["limit"], row.labels.get("level", "")) for row in self.signals(kind)]

    def was_open(
        self, account: str, limit: str, start: datetime, length: timedelta = timedelta(hours=1), **figures: Any
    ) -> None:
        """A window as a snapshot wrote it down."""
        row = {"capacity": 100, "used": 0, "peak": 0, "refused": 0, "deferred": 0, "told_level": 0, **figures}
        names = ", ".join(row)
        self.sql(
            f"INSERT INTO limit_windows (subject, limit_name, start_at, end_at, share, version, taken_at, {names})"
            f" VALUES (:subject, :limit, :start, :end, 0, 1, :end, {', '.join(f':{name}' for name in row)})",
            subject=keys.account("demo", account),
            limit=limit,
            start=start,
            end=start + length,
            **row,
        )


@pytest.fixture
def keeper(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """An empty limiter that has begun."""
    made = Keeper(ledger, home, monkeypatch)
    made.whole()
    assert snapshots.take()
    return made


HOUR = datetime(2026, 3, 2, 12, tzinfo=UTC)


def hours(count: int) -> Sequence[datetime]:
    """The starts of so many hours in a row."""
    return [HOUR + timedelta(hours=place) for place in range(count)]
