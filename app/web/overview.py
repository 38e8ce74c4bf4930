"""What the health pages show, read without hanging: of Postgres, or of the watchdog's file while that is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app import clock
from app.admission import limit_reading
from app.admission.limit_reading import Account
from app.alerts import reading
from app.config import Settings
from app.costs import lag, today
from app.errors import Transient
from app.health import incidents
from app.health.availability import figures
from app.health.availability.budgets import WINDOW
from app.infra import db
from app.infra.plain import plain
from app.jobs import queues
from app.limits import live, spending
from app.limits.live import Sight
from app.recovery import status
from app.web.guarded import Guarded

CONNECT_SECONDS = 2
STATEMENT_SECONDS = 2.0
LEDGER_SECONDS = 1.5
LEDGER_STATEMENT_MS = 1000
REDIS_SECONDS = 1.2
OPEN_INCIDENTS = 50
RECENT_INCIDENTS = 8
OPEN_ALERTS = 200
READ_SECONDS = 2.5
UPTIME_SECONDS = 30.0
COSTS_SECONDS = 3.0

T = TypeVar("T")


class Counters(StrEnum):
    """How it stands with the counters of limits."""

    WHOLE = "whole"
    FILLING = "filling"
    AWAY = "away"


FILLING = "Redis lost its memory: counters of limits are coming back from the last snapshot"


@dataclass(frozen=True, slots=True)
class Overview:
    """The status document and what the console shows around it.

    `is_stored` is false while Postgres is away, `queues` None while its ledger does not answer in time.
    """

    document: dict[str, Any]
    open_incidents: tuple[dict[str, Any], ...] = ()
    recent_incidents: tuple[dict[str, Any], ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    more_alerts: bool = False
    queues: dict[str, Any] | None = None
    is_stored: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Calls in the stream, which are counted in budgets and not in sums yet: since how long, and how many batches."""

    seconds: float
    entries: int


class Overviews:
    """Where health pages get their facts. Keeps a few connections of its own, with short time-outs."""

    def __init__(self, config: Settings) -> None:
        self._config = config.model_copy(
            update={
                "db_connect_timeout_seconds": CONNECT_SECONDS,
                "db_statement_timeout_seconds": STATEMENT_SECONDS,
                "db_lock_timeout_seconds": 1.0,
            }
        )
        self._engine: Engine | None = None
        self._making = threading.Lock()
        # Threads of their own: a silent server would fill the pool that all endpoints share.
        self._few = ThreadPoolExecutor(2, thread_name_prefix="read-page")
        self._stored = Guarded("postgres", self._read)
        # Apart from the status: a ledger of millions, or one that is locked, takes nothing but its own section away.
        self._ledger = Guarded("ledger", self._read_ledger, patience_seconds=LEDGER_SECONDS)
        self._uptimes = Guarded(
            "uptimes", self._read_uptimes, patience_seconds=LEDGER_SECONDS, fresh_seconds=UPTIME_SECONDS
        )
        self._costs = Guarded("costs", self._read_costs, patience_seconds=LEDGER_SECONDS, fresh_seconds=COSTS_SECONDS)
        self._messages = Guarded("redis", queues.read_messages, patience_seconds=REDIS_SECONDS)
        self._waiting = Guarded("stream", _waiting, patience_seconds=REDIS_SECONDS)
        self._filling = Guarded("counters", live.is_filling, patience_seconds=REDIS_SECONDS)

    async def current(self) -> Overview:
        """The stored overview, at most a second old; the watchdog's while Postgres does not answer within 2.5 s."""
        costing = asyncio.ensure_future(self._costs.current())
        stored, held, messages, filling = await asyncio.gather(
            self._stored.current(), self._ledger.current(), self._messages.current(), self._filling.current()
        )
        costs = await costing
        if stored is None:
            return Overview(plain(status.fallback(self._config, clock.now())))
        stored = replace(stored, document=stored.document | (costs or today.UNKNOWN))
        known = messages or queues.Messages(problem="Redis does not answer")
        if filling:
            stored = replace(stored, document={**stored.document, "notices": [*stored.document["notices"], FILLING]})
        return replace(stored, queues=None if held is None else plain(queues.document(held, known)))

    async def uptimes(self) -> Mapping[str, float | None]:
        """Percent of 30 days by service, at most half a minute old; None: nothing is known. Empty: not to be had."""
        return await self._uptimes.current() or {}

    async def counters(self) -> Counters:
        """Whether Redis has the counters, at most a second old."""
        match await self._filling.current():
            case None:
                return Counters.AWAY
            case filling:
                return Counters.FILLING if filling else Counters.WHOLE

    async def waiting_costs(self) -> Waiting | None:
        """Calls that wait to be written down, at most a second old; None while Redis does not answer in time."""
        return await self._waiting.current()

    async def sight(self, account: Account) -> Sight | None:
        """The live counters of an account; None while Redis does not answer in time, or has none."""
        if await self.counters() is Counters.AWAY:
            return None
        looking = asyncio.get_running_loop().run_in_executor(self._few, limit_reading.look_at, account)
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                return await looking
        except TimeoutError:
            return None

    async def stored(self, reader: Callable[[Session, datetime], T]) -> T | None:
        """What Postgres has; None while it does not answer, which the status page has found out for all."""
        if not (await self.current()).is_stored:
            return None
        try:
            return await self.read(reader)
        except Transient:
            return None

    async def read(self, reader: Callable[[Session, datetime], T]) -> T:
        """What one page shows, read in a thread of few. Raises what `reader` does, Transient when it takes too long."""
        reading_it = asyncio.get_running_loop().run_in_executor(self._few, self._read_one, reader)
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await reading_it
        except TimeoutError:
            raise Transient("the database does not answer in time") from None

    def _read_one(self, reader: Callable[[Session, datetime], T]) -> T:
        with self._session() as session:
            return reader(session, clock.now())

    def close(self) -> None:
        """Close the connection."""
        self._few.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.dispose()

    def _read(self) -> Overview:
        with self._session() as session:
            recent = incidents.list_incidents(session, open=False, limit=RECENT_INCIDENTS)
            alerts = reading.list_episodes(session, now=clock.now(), open_only=True, limit=OPEN_ALERTS)
            return Overview(
                document=plain(status.document(session, clock.now())),
                alerts=alerts.items,
                more_alerts=alerts.next is not None,
                open_incidents=tuple(
                    item.as_dict() for item in incidents.list_incidents(session, open=True, limit=OPEN_INCIDENTS)
                ),
                recent_incidents=tuple(item.as_dict() for item in recent),
                is_stored=True,
            )

    def _read_uptimes(self) -> dict[str, float | None]:
        with self._session() as session:
            return {name: found[WINDOW].percent for name, found in figures.uptimes(session, clock.now()).items()}

    def _read_ledger(self) -> queues.Ledger:
        with self._session() as session:
            session.execute(text(f"SET LOCAL statement_timeout = {LEDGER_STATEMENT_MS}"))
            return queues.ledger(session)

    def _read_costs(self) -> dict[str, Any]:
        with self._session() as session:
            return today.figures(session, clock.now())

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._making:
            if self._engine is None:
                self._engine = db.make_engine(self._config, pool_size=3, application_name="smm-admin status")
        with db.transient_errors(), Session(self._engine) as session:
            yield session


def _waiting() -> Waiting:
    found = spending.backlog()
    return Waiting(lag.seconds_of(found), found.entries)


def overviews(request: Request) -> Overviews:
    """The application's own."""
    found: Overviews = request.app.state.overviews
    return found


HealthSource = Annotated[Overviews, Depends(overviews)]
