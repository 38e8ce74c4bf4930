"""Short questions to Postgres, all bounded by one deadline on our side.

A frozen server keeps its sockets open and enforces no time-out of its own, so a synchronous libpq call waits for ever;
the connection is therefore asynchronous, and every wait is a poll of ours.
"""

from __future__ import annotations

import select
from typing import Any

import psycopg2
from psycopg2 import extensions

from app.health.probing import Deadline, TimedOut
from app.health.results import ProbeError

# https://www.postgresql.org/docs/current/errcodes-appendix.html; before the session exists libpq gives a text only
_BY_CODE = {
    "28P01": ProbeError("auth", "the password is refused"),
    "28000": ProbeError("auth", "the login is refused"),
    "3D000": ProbeError("no_database", "the database does not exist"),
    "53300": ProbeError("too_many_connections", "every connection is taken"),
    "57P03": ProbeError("starting", "the server is starting, stopping or recovering"),
    "57P01": ProbeError("stopping", "the server closed the session: it is stopping"),
    "57014": ProbeError("timeout", "the server cancelled a question that took too long"),
}
_BY_TEXT = (
    ("onnection refused", ProbeError("refused", "connection refused")),
    ("No such file or directory", ProbeError("refused", "connection refused")),
    ("password authentication failed", _BY_CODE["28P01"]),
    ("no pg_hba.conf entry", _BY_CODE["28000"]),
    ("does not exist", _BY_CODE["3D000"]),
    ("too many clients", _BY_CODE["53300"]),
    ("too many connections", _BY_CODE["53300"]),
    ("remaining connection slots", _BY_CODE["53300"]),
    ("starting up", _BY_CODE["57P03"]),
    ("shutting down", _BY_CODE["57P03"]),
    ("recovery mode", _BY_CODE["57P03"]),
    ("could not translate host name", ProbeError("dns", "the host's name cannot be resolved")),
    ("server closed the connection", ProbeError("reset", "the server closed the connection")),
    ("SSL", ProbeError("tls", "TLS failed")),
    ("No route to host", ProbeError("unreachable", "no route to the host")),
)


class Session:
    """One connection for a few questions. Raises psycopg2.Error and TimedOut."""

    def __init__(self, url: str, deadline: Deadline) -> None:
        self._deadline = deadline
        deadline.remaining()
        dsn = url.replace("postgresql+psycopg2://", "postgresql://", 1)
        milliseconds = int(deadline.seconds * 1000)
        self._connection = psycopg2.connect(
            dsn,
            async_=1,
            application_name="smm-admin probe",
            options=f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} -c timezone=UTC",
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def row(self, statement: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """The first row of a question's answer."""
        return next(iter(self.rows(statement, parameters)), ())

    def rows(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Every row of a question's answer."""
        cursor = self._connection.cursor()
        cursor.execute(statement, parameters)
        self._wait()
        return cursor.fetchall()

    def _wait(self) -> None:
        while True:
            state = self._connection.poll()
            if state == extensions.POLL_OK:
                return
            poller = select.poll()
            poller.register(
                self._connection.fileno(), select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN
            )
            if not poller.poll(self._deadline.remaining() * 1000):
                raise TimedOut


def describe(error: Exception, seconds: float) -> ProbeError:
    """A failure in our own words: libpq's text may name the user, the host or parts of a broken address."""
    if isinstance(error, TimedOut):
        return ProbeError("timeout", f"no answer within {seconds:g} s")
    code = getattr(error, "pgcode", None)
    if code in _BY_CODE:
        return _BY_CODE[code]
    text = str(error)
    for part, known in _BY_TEXT:
        if part in text:
            return known
    return ProbeError("error", f"{type(error).__name__}{f' {code}' if code else ''}")
