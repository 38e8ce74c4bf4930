"""`python -m app.watchdog`: watch until told to stop."""

from __future__ import annotations

import signal
import sys

from app.config import settings
from app.errors import SmmError
from app.infra import db, dbwait, logging
from app.watchdog.recorder import Recorder
from app.watchdog.spool import Spool
from app.watchdog.watch import Watchdog
from tasks.celery import compose

DATABASE_WAIT_SECONDS = 5.0


def main() -> int:
    """0 when stopped by a signal, 1 when the installation does not let it start."""
    try:
        config = settings()
        logging.configure("watchdog", config)
        compose()
    except SmmError as error:
        sys.stderr.write(f"watchdog: {error}\n")
        return 1
    db.use_pool_size(1)
    dbwait.bound_waits(DATABASE_WAIT_SECONDS)
    spool = Spool(config.run_dir / "watchdog-spool.jsonl")
    recorder = Recorder(spool)
    watchdog = Watchdog(config.run_dir, spool, recorder.wake)

    def stop(*_: object) -> None:
        watchdog.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the catalogue is followed without being told
    recorder.start()
    watchdog.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
