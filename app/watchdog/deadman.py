"""The dead-man's switch: an outside service is called each minute while all is well, and misses it otherwise.

All is well only by the watchdog's own file (so a watch that hangs is noticed) and by an audit of the pipeline. The
address is a secret and appears nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from app import clock
from app.alerts import auditing
from app.config import Settings
from app.errors import SmmError
from app.health import statefile
from app.health.core import State
from app.infra import db, http
from app.infra.logging import get_logger

EVERY_SECONDS = 60.0
TIMEOUT_SECONDS = 10.0
FRESH = timedelta(seconds=30)
"""A watch that has written nothing for so long hangs."""
MOST_WAITING = 100
"""Results that may wait for Postgres: more, and it does not keep up."""

log = get_logger(__name__)


class Deadman:
    """Calls the configured address, or says why not. `status` is what the state file shows."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._path = statefile.path_in(config.run_dir)
        before = statefile.read(self._path)
        self._status = before.deadman if before is not None else None

    def status(self) -> statefile.Deadman | None:
        """When it was last called, and why not since; None where no address is configured."""
        return None if self._config.deadman_url is None else self._status or statefile.Deadman()

    def call(self) -> bool:
        """Call it if all is well; was it?"""
        if self._config.deadman_url is None:
            return False
        withheld = tuple(self._wrong(clock.now())) or self._call()
        told = self._status.withheld if self._status is not None else ()
        if withheld and withheld != told:
            log.warning("the dead-man's switch is not called", why=list(withheld))
        if told and not withheld:
            log.info("the dead-man's switch is called again")
        at = clock.now() if not withheld else self._status.called_at if self._status is not None else None
        self._status = statefile.Deadman(at, withheld)
        return not withheld

    def _wrong(self, now: datetime) -> Iterator[str]:
        yield from in_file(statefile.read(self._path), now)
        try:
            with db.read_only() as session:
                yield from auditing.audit(session, now).findings
        except SmmError as error:
            yield str(error)
        except Exception as error:  # whatever it is: what cannot be audited is not well
            yield f"the audit failed: {type(error).__name__}"

    def _call(self) -> tuple[str, ...]:
        """Why it did not arrive; nothing when it did."""
        url = self._config.deadman_url
        if url is None:
            return ()
        try:
            with http.guarded_client(allow=self._config.egress_allow, timeout_seconds=TIMEOUT_SECONDS) as client:
                http.exchange(client, "GET", url.get_secret_value(), max_body_bytes=http.MAX_BODY_BYTES)
        except SmmError as error:
            return (f"it does not answer: {_without_address(error)}",)
        return ()


def in_file(found: statefile.StateFile | None, now: datetime) -> Iterator[str]:
    """What the watchdog's file says against calling: a silent watch, a fallen service, pages or results that wait."""
    if found is None:
        yield "the watchdog has written nothing"
        return
    if now - found.written_at > FRESH:
        yield f"the watchdog has written nothing since {clock.iso(found.written_at)}"
    for name, service in sorted(found.services.items()):
        if service.state.state in (State.DOWN, State.UNKNOWN):
            yield f"{name} is {service.state.state}"
    if found.pages:
        yield f"{found.pages} pages have not arrived"
    if found.waiting > MOST_WAITING:
        yield f"{found.waiting} results wait for Postgres"


def _without_address(error: SmmError) -> str:
    """The error without the host that it begins with: even that may tell whose account it is."""
    return str(error).partition(": ")[2] or type(error).__name__
