"""The heartbeat that keeps a running job ours: one thread a process, renewing at a third of the lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from app.config import settings
from app.errors import SmmError
from app.infra.db import unit_of_work
from app.infra.logging import get_logger
from app.jobs import store

log = get_logger(__name__)

_RETRY_SECONDS = 1.0


class LeaseKeeper:
    """Renews the lease of the one job this process runs. A renewal that failed is tried again each second."""

    def __init__(self) -> None:
        self._held: tuple[UUID, int] | None = None
        self._thread: threading.Thread | None = None
        self.cancel_requested = False
        self.lost = False

    @contextmanager
    def keeping(self, job_id: UUID, attempt: int) -> Iterator[None]:
        """Keep the lease for the length of the block."""
        self.cancel_requested = self.lost = False
        self._held = (job_id, attempt)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._held = None

    def _run(self) -> None:
        every = settings().lease_seconds / 3
        pause = every
        while True:
            time.sleep(pause)
            held = self._held
            pause = every if held is None or self._renew(*held) else _RETRY_SECONDS

    def _renew(self, job_id: UUID, attempt: int) -> bool:
        """Renew once; False when the database did not answer."""
        try:
            with unit_of_work() as uow:
                row = store.renew(uow, job_id, attempt=attempt, lease_seconds=settings().lease_seconds)
                held = row is not None or store.is_held(uow, job_id, attempt=attempt)
        except SmmError as error:
            log.warning("lease not renewed; trying again", job=str(job_id), error=str(error))
            return False
        if self._held == (job_id, attempt):
            self.lost = not held
            self.cancel_requested = self.cancel_requested or bool(row is not None and row.cancel_requested)
        return True


keeper = LeaseKeeper()


def after_fork() -> None:
    """In a forked child: the thread did not come along."""
    keeper.__init__()  # type: ignore[misc]
