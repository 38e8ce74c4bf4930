"""`python -m app.watchdog`: watch until told to stop."""

from __future__ import annotations

import gc
import signal
import sys

from app.config import settings
from app.errors import SmmError
from app.infra import db, dbwait, logging
from app.recovery import control, imported
from app.watchdog import deadman
from app.watchdog.copied import Copying
from app.watchdog.deadman import Deadman
from app.watchdog.journal import Journal
from app.watchdog.medic import Medic
from app.watchdog.pager import Pager
from app.watchdog.pages import Book
from app.watchdog.recorder import Recorder
from app.watchdog.rounds import Rounds
from app.watchdog.sights import Sights
from app.watchdog.spool import Spool
from app.watchdog.watch import Watchdog
from tasks.celery import compose

DATABASE_WAIT_SECONDS = 5.0
CONNECTIONS = 2
"""The recorder's and one for questions; for a moment there may be as many again."""


def main() -> int:
    """0 when stopped by a signal, 1 when the installation does not let it start."""
    try:
        config = settings()
        logging.configure("watchdog", config)
        compose()
        gc.freeze()
    except SmmError as error:
        sys.stderr.write(f"watchdog: {error}\n")
        return 1
    db.use_pool_size(CONNECTIONS)
    dbwait.bound_waits(DATABASE_WAIT_SECONDS)
    spool = Spool(config.run_dir / "watchdog-spool.jsonl")
    book = Book(config.run_dir / "watchdog-pages.jsonl")
    # What the run directory holds may be lost at a restart of the host; what a repair has begun, and budgets, may not.
    journal = Journal(imported.journal_in(config.home))
    copying = Copying(config.home / "watchdog-guards.json", control.stop_file())
    recorder = Recorder(spool, book, journal)
    pager = Pager(book, config.run_dir, recorder.wake, taken=journal.lines)
    sights = Sights()
    medic = Medic(
        sights,
        journal,
        copying.copied,
        stop_file=control.stop_file(),
        changed=recorder.wake,
        pages=pager,
        lease_seconds=config.lease_seconds,
    )
    switch = Deadman(config)
    rounds = Rounds(config.run_dir, switch.call, deadman.EVERY_SECONDS)
    watchdog = Watchdog(config.run_dir, spool, recorder.wake, pager, switch.status, repairs=sights)

    def stop(*_: object) -> None:
        medic.stop()
        watchdog.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the catalogue is followed without being told
    pager.start()
    recorder.start(pager)
    rounds.start()
    sights.use(watchdog.ask)
    if config.watchdog_repairs:
        copying.start(sights.wake)
        medic.start()
    watchdog.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
