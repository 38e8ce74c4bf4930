"""`python -m app.watchdog`: watch until told to stop."""

from __future__ import annotations

import signal
import sys

from app.config import settings
from app.errors import SmmError
from app.infra import db, dbwait, logging
from app.watchdog import deadman
from app.watchdog.deadman import Deadman
from app.watchdog.pager import Pager
from app.watchdog.pages import Book
from app.watchdog.recorder import Recorder
from app.watchdog.rounds import Rounds
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
    except SmmError as error:
        sys.stderr.write(f"watchdog: {error}\n")
        return 1
    db.use_pool_size(CONNECTIONS)
    dbwait.bound_waits(DATABASE_WAIT_SECONDS)
    spool = Spool(config.run_dir / "watchdog-spool.jsonl")
    book = Book(config.run_dir / "watchdog-pages.jsonl")
    recorder = Recorder(spool, book)
    pager = Pager(book, config.run_dir, recorder.wake)
    switch = Deadman(config)
    rounds = Rounds(config.run_dir, switch.call, deadman.EVERY_SECONDS)
    watchdog = Watchdog(config.run_dir, spool, recorder.wake, pager, switch.status)

    def stop(*_: object) -> None:
        watchdog.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the catalogue is followed without being told
    pager.start()
    recorder.start(pager)
    rounds.start()
    watchdog.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
