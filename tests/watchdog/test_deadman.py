"""The dead-man's switch is called while all is well and only then; the address appears nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.config import settings
from app.health import statefile
from app.health.core import ServiceState, State
from app.infra.db import unit_of_work
from app.watchdog import deadman
from app.watchdog.deadman import Deadman, in_file
from tests.health import local

NOW = clock.now()
SECRET = "s3cret-part-of-the-address"


def watched(state: State) -> statefile.Watched:
    return statefile.Watched(
        kind="tcp",
        essential=True,
        severity="critical",
        depends_on=(),
        interval_seconds=15,
        state=ServiceState(state=state),
    )


def file_with(at: datetime = NOW, **more: Any) -> statefile.StateFile:
    services = {"redis": watched(State.UP), "disk": watched(State.DEGRADED)}
    return replace(statefile.StateFile(pid=1, host="h", written_at=at, services=services), **more)


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (file_with(), None),
        (None, "the watchdog has written nothing"),
        (file_with(NOW - timedelta(seconds=31)), "the watchdog has written nothing since"),
        (file_with(services={"redis": watched(State.DOWN)}), "redis is down"),
        (file_with(services={"redis": watched(State.UNKNOWN)}), "redis is unknown"),
        (file_with(pages=2), "2 pages have not arrived"),
        (file_with(waiting=101), "101 results wait for Postgres"),
    ],
)
def test_what_the_watchdogs_file_says_against_it(found: statefile.StateFile | None, wrong: str | None):
    reasons = list(in_file(found, NOW))
    assert reasons == [] if wrong is None else reasons[0].startswith(wrong)


@pytest.fixture
def web() -> Iterator[local.Web]:
    with local.web() as running:
        yield running


@pytest.fixture
def switch(database: str, home: Path, web: local.Web, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Deadman]:
    """A switch that ends at a path of a real server; the pipeline has just passed, and all is up."""
    with unit_of_work() as uow:
        uow.execute("UPDATE alert_clock SET passed_at = now()")
    statefile.write(statefile.path_in(settings().run_dir), file_with(clock.now()))

    def made(path: str = f"ok/{SECRET}", **more: str) -> Deadman:
        monkeypatch.setenv("SMM_DEADMAN_URL", f"{web.url}/{path}")
        monkeypatch.setenv("SMM_EGRESS_ALLOW", more.get("allow", '["127.0.0.0/8"]'))
        settings.cache_clear()
        return Deadman(settings())

    return made


def test_while_all_is_well_it_is_called(switch: Callable[..., Deadman], web: local.Web):
    called = switch()
    assert called.status() == statefile.Deadman()
    assert called.call()
    assert [path for path, _ in web.seen] == [f"/ok/{SECRET}"]
    status = called.status()
    assert status is not None
    assert status.called_at is not None
    assert status.withheld == ()


def test_when_something_is_wrong_it_is_not_and_the_reason_is_kept_and_logged_once(
    switch: Callable[..., Deadman], web: local.Web, caplog: pytest.LogCaptureFixture
):
    called = switch()
    assert called.call()
    before = called.status()
    with unit_of_work() as uow:
        uow.execute("UPDATE alert_clock SET passed_at = now() - interval '45 s'")
    for _ in range(3):
        assert not called.call()
    status = called.status()
    assert status is not None
    assert before is not None
    assert status.called_at == before.called_at
    assert status.withheld[0].startswith("the last alert tick ran 45 s ago")
    assert len(web.seen) == 1
    assert sum("is not called" in record.message for record in caplog.records) == 1


def test_without_postgres_it_is_not_called(
    switch: Callable[..., Deadman], web: local.Web, monkeypatch: pytest.MonkeyPatch
):
    from app.infra import db

    called = switch()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://smm@127.0.0.1:{local.closed_port()}/smm")
    settings.cache_clear()
    db.dispose()
    assert not called.call()
    assert web.seen == []


@pytest.mark.parametrize("path", ["error", "redirect", "hang", "drip"])
def test_an_address_that_does_not_answer_is_told_without_naming_it(
    switch: Callable[..., Deadman], path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deadman, "TIMEOUT_SECONDS", 0.5)
    called = switch(f"{path}/{SECRET}")
    assert not called.call()
    status = called.status()
    assert status is not None
    (why,) = status.withheld
    assert why.startswith("it does not answer: ")
    for text in (why, repr(status), *(record.getMessage() for record in caplog.records)):
        assert SECRET not in text
        assert "127.0.0.1" not in text


def test_a_private_address_is_called_only_where_that_is_allowed(switch: Callable[..., Deadman], web: local.Web):
    called = switch(allow="[]")
    assert not called.call()
    assert web.seen == []


def test_without_an_address_nothing_is_asked_and_nothing_is_shown(home: Path):
    called = Deadman(settings())
    assert not called.call()
    assert called.status() is None


def test_a_restart_remembers_when_it_was_last_called(switch: Callable[..., Deadman]):
    called = switch()
    called.call()
    path = statefile.path_in(settings().run_dir)
    statefile.write(path, file_with(clock.now(), deadman=called.status()))
    assert switch().status() == called.status()
