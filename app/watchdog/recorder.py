"""Stores the watchdog's results in Postgres from a thread of its own: a database that hangs must not hold the watch."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sqlalchemy.exc import DataError, IntegrityError

from app import catalog
from app.errors import SmmError
from app.health import record, sync_current_catalog
from app.health.checking import maintenance_of
from app.health.specs import resolve_all
from app.infra.db import unit_of_work
from app.infra.logging import get_logger
from app.watchdog.spool import Item, Spool

SOURCE = "watchdog"
BATCH = 200
AGAIN_SECONDS = 2.0

log = get_logger(__name__)


class Recorder:
    """Empties the spool, oldest first. What could not be stored is tried again every two seconds, or with the next."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._wake = threading.Event()
        self._away = False
        self._count = BATCH
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin with what a run before this one left, in a thread that does not keep the process alive."""
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
        batch = self._spool.first(self._count)
        if not batch:
            return False
        try:
            self._store(batch)
        except (DataError, IntegrityError) as error:
            self._set_aside(batch, error)
            return True
        except Exception as error:  # whatever it is, the watch goes on and the results wait
            self._tell_away(error)
            self._spool.keep()
            return False
        self._spool.done(len(batch))
        self._count = BATCH
        if self._away:
            self._away = False
            log.info("results are stored again", stored=len(batch), waiting=len(self._spool))
        return True

    def _store(self, batch: Sequence[Item]) -> None:
        specs = resolve_all(catalog.current()).values()
        with unit_of_work() as uow:
            sync_current_catalog(uow)
            record(uow, batch, source=SOURCE, in_maintenance=maintenance_of(specs))

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
