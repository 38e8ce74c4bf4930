"""Bounds every wait for Postgres on our side of the wire.

`statement_timeout` is kept by the server, and a server that is frozen keeps nothing: its kernel still acknowledges what
is sent, so neither keepalives nor `tcp_user_timeout` end the wait. psycopg2 lets the waiting be done by a callback
(https://www.psycopg.org/docs/advanced.html#support-for-coroutine-libraries), and a callback can look at a clock.
COPY is not possible with one: for processes that answer people, not for those that load data.
"""

from __future__ import annotations

import select
from typing import Any

import psycopg2
from psycopg2 import extensions

from app import clock


def bound_waits(seconds: float) -> None:
    """From now on, in this process: a wait longer than `seconds` closes the connection and raises OperationalError."""

    def wait(connection: Any) -> None:
        deadline = clock.monotonic() + seconds
        while (state := connection.poll()) != extensions.POLL_OK:
            ready = select.poll()
            ready.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
            if not ready.poll(max(0.0, deadline - clock.monotonic()) * 1000):
                raise psycopg2.OperationalError(f"no answer from the server within {seconds:g} s")

    extensions.set_wait_callback(wait)


def unbound_waits() -> None:
    """Back to libpq's own waiting."""
    extensions.set_wait_callback(None)
