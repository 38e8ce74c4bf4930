"""Stores the watchdog's results in Postgres from a thread of its own: a database that hangs must not hold the watch.

Pages go first, then repairs, then results: when the engine learns of a fall, or that a repair of it failed, it finds
that people were told, and what was done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from app import catalog, clock
from app.alerts.imported import Call, import_calls
from app.errors import SmmError
from app.health import record, sync_current_catalog
from app.health.checking import maintenance_of
from app.health.core import State
from app.health.specs import resolve_all
from app.infra.db import UnitOfWork, is_transient, unit_of_work
from app.infra.logging import get_logger
from app.recovery.core import Run
from app.recovery.imported import import_runs, link_incidents
from app.watchdog.spool import Item, Spool

SOURCE = "watchdog"
BATCH = 200
AGAIN_SECONDS = 2.0
SETTLE_SECONDS = 5.0
"""How long results wait until it is known who is called because of them."""

log = get_logger(__name__)


class Called(Protocol):
    """The book of calls, as the ledger sees it."""

    def unstored(self) -> list[Call]: ...

    def stored(self, calls: Sequence[Call], handed_over: set[UUID]) -> None: ...

    def services(self) -> set[str]: ...


class Journalled(Protocol):
    """The journal of repairs, as the tables see it."""

    def unstored(self) -> list[Run]: ...

    def stored(self, run: Run) -> None: ...


class Settling(Protocol):
    """Whoever decides whom to call."""

    def settle(self, seconds: float) -> bool: ...


class Recorder:
    """Empties the spool, oldest first. What could not be stored is tried again every two seconds, or with the next."""

    def __init__(self, spool: Spool, book: Called | None = None, journal: Journalled | None = None) -> None:
        self._spool = spool
        self._book = book
        self._journal = journal
        self._pager: Settling | None = None
        self._unfit: set[UUID] = set()
        self._wake = threading.Event()
        self._away = False
        self._count = BATCH
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self, pager: Settling | None = None) -> None:
        """Begin with what a run before this one left, in a thread that does not keep the process alive."""
        self._pager = pager
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """There is something to store."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(AGAIN_SECONDS if self._away else None)
            self._wake.clear()
            while self.store_some():
                pass

    def store_some(self) -> bool:
        """Store a batch; False when there was none or Postgres is away. A batch stored twice changes nothing."""
        batch, repairs = self._spool.first(self._count), self._repairs()
        if self._pager is not None:
            self._pager.settle(SETTLE_SECONDS)
        calls = self._calls()
        if not batch and not calls and not repairs:
            return False
        try:
            told_of = self._book.services() if self._book is not None else set()
            self._import(calls)
            self._import_repairs(repairs, told_of)
            self._store(batch)
        except (DataError, IntegrityError) as error:
            self._set_aside(batch, error)
            return True
        except Exception as error:  # whatever it is, the watch goes on and the results wait
            self._tell_away(error)
            if batch:
                self._spool.keep()
            return False
        self._spool.done(len(batch))
        self._count = BATCH
        if self._away:
            self._away = False
            log.info("results are stored again", stored=len(batch), waiting=len(self._spool))
        return bool(batch)

    def _calls(self) -> list[Call]:
        """Calls of which the ledger does not know all, and can."""
        found = self._book.unstored() if self._book is not None else []
        return [call for call in found if call.id not in self._unfit]

    def _repairs(self) -> list[Run]:
        """Repairs of which the tables do not know all, and can."""
        found = self._journal.unstored() if self._journal is not None else []
        return [run for run in found if run.id not in self._unfit]

    def _store(self, batch: Sequence[Item]) -> None:
        if not batch:
            return
        specs = resolve_all(catalog.current()).values()
        with unit_of_work() as uow:
            sync_current_catalog(uow)
            flips = record(uow, batch, source=SOURCE, in_maintenance=maintenance_of(specs))
            fallen = [name for name, flip in flips if flip.after is State.DOWN]
            if fallen and self._journal is not None:
                link_incidents(uow, fallen)

    def _import(self, calls: Sequence[Call]) -> None:
        """Take in whom the watchdog called."""
        if not calls:
            return
        with unit_of_work() as uow:
            for call in calls:
                self._take_in(uow, call)

    def _take_in(self, uow: UnitOfWork, call: Call) -> None:
        theirs: set[UUID] = set()

        def take() -> None:
            with uow.session.begin_nested():
                theirs.update(import_calls(uow, [call], clock.now()))

        if self._is_taken(take, call.id, call.service):
            uow.after_commit(partial(self._stored, call, theirs))

    def _import_repairs(self, repairs: Sequence[Run], told_of: set[str]) -> None:
        """Take in what the watchdog repaired, each in a transaction of its own: what it locks is held for a moment."""
        for run in repairs:

            def take(run: Run = run) -> None:
                with unit_of_work() as uow:
                    import_runs(uow, [run], clock.now(), told_of=told_of)

            if self._is_taken(take, run.id, run.service) and self._journal is not None:
                self._journal.stored(run)

    def _is_taken(self, take: Callable[[], None], key: UUID, service: str) -> bool:
        """Take in one thing; what cannot be, once and for all, must not hold the others. Raises what will pass."""
        try:
            take()
        except Exception as error:
            if isinstance(error, SmmError) or (isinstance(error, DBAPIError) and is_transient(error)):
                raise
            self._unfit.add(key)
            log.exception("what the watchdog did cannot be taken into the tables", service=service)
            return False
        return True

    def _stored(self, call: Call, theirs: set[UUID]) -> None:
        if self._book is not None:
            self._book.stored([call], theirs)

    def _set_aside(self, batch: Sequence[Item], error: Exception) -> None:
        """One result that Postgres will never take must not hold the others: find it, drop it, say so."""
        self._count = 1
        if len(batch) == 1:
            log.error("a result cannot be stored and is dropped", service=batch[0][0], error=type(error).__name__)
            self._spool.done(1)

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            known = isinstance(error, SmmError)
            log.warning("results wait to be stored", error=str(error) if known else type(error).__name__)
