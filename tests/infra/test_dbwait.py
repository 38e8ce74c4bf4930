"""A frozen Postgres does not freeze who waits for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from app.errors import Transient
from app.infra import db, dbwait
from app.infra.db import read_only, unit_of_work

SECONDS = 4.0
"""Short, and longer than a loaded machine takes for a query."""


@pytest.fixture(autouse=True)
def bounded(database: str) -> Iterator[None]:
    dbwait.bound_waits(SECONDS)
    yield
    dbwait.unbound_waits()


def test_a_frozen_backend_is_given_up_and_a_fresh_one_answers(database: str) -> None:
    with unit_of_work() as uow:
        backend = int(uow.execute("SELECT pg_backend_pid()").scalar_one())
        os.kill(backend, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with (
                pytest.raises(Transient, match=f"no answer from the server within {SECONDS:g} s"),
                db.transient_errors(),
            ):
                uow.execute("SELECT 1")
            assert time.monotonic() - started < 3 * SECONDS
        finally:
            os.kill(backend, signal.SIGCONT)
        uow.session.close()
    with unit_of_work() as uow:
        assert uow.execute("SELECT 2").scalar_one() == 2


def test_a_long_answer_arrives_whole(database: str) -> None:
    with read_only() as session:
        from sqlalchemy import text

        rows = session.execute(text("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")).all()
    assert len(rows) == 20_000


def test_errors_of_statements_stay_what_they_are(database: str) -> None:
    from sqlalchemy.exc import ProgrammingError

    with pytest.raises(ProgrammingError), unit_of_work() as uow:
        uow.execute("SELECT * FROM nowhere")
