"""The copy of what the engine's tables say of repairs: read while Postgres answers, kept in part while it does not."""

from __future__ import annotations

import importlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app import catalog, clock, health
from app.config import settings
from app.health.core import State
from app.infra import db
from app.infra.db import unit_of_work
from app.recovery import control, store
from app.recovery.control import Stop
from app.recovery.core import Runner
from app.recovery.playbooks import Standing, plan
from app.recovery.taking import begun
from app.watchdog.copied import Copied, Copying
from tests.health import local
from tests.health.catalogs import use
from tests.watchdog.mending import PLAYBOOK, service_of


@pytest.fixture
def copying(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Copying:
    shipped = PLAYBOOK.replace("poke", "restart_container").replace("stare", "probe")
    use(monkeypatch, home, service_of("redis") + service_of("qdrant", watched_by='"engine"') + shipped)
    importlib.import_module("tasks.celery").compose()
    with unit_of_work() as uow:
        health.sync_catalog(uow, catalog.current())
    return again(home)


def again(home: Path) -> Copying:
    """The next process's."""
    return Copying(home / "watchdog-guards.json", control.stop_file())


def planned(service: str, runner: Runner) -> Any:
    current = catalog.current()
    standing = Standing(service, "tcp", State.DOWN, State.DOWN, severity="critical", runner=runner)
    return plan(current.playbooks["restart"], standing, current, clock.now())


def engine_at_work() -> Any:
    """The engine restarts Qdrant, as of now."""
    run = begun(planned("qdrant", Runner.ENGINE), 0, clock.now())
    with unit_of_work() as uow:
        store.save(uow, run)
        store.note_restart(uow, run, 0, clock.now())
    return run


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://smm@127.0.0.1:{local.closed_port()}/smm")
    settings.cache_clear()
    db.dispose()


def test_it_knows_what_the_engine_has_restarted_and_is_at(copying: Copying):
    run = engine_at_work()
    assert copying.copy()
    found = copying.copied()
    assert [(item.run, item.service) for item in found.restarts] == [(run.id, "qdrant")]
    assert [(item.service, item.critical) for item in found.at_work_now(clock.now())] == [("qdrant", True)]
    assert found.at_work_now(clock.now() + timedelta(minutes=2)) == ()
    assert found.asked == ()


def test_restarts_and_the_stop_count_over_a_restart_while_postgres_is_away(copying: Copying, home: Path, monkeypatch):
    run = engine_at_work()
    with unit_of_work() as uow:
        control.stop(uow, by="ann", reason="a move", now=clock.now())
    control.keep(None)  # as on another host
    assert copying.copy()
    away(monkeypatch)
    later = again(home)
    assert not later.copy()
    found = later.copied()
    assert [item.run for item in found.restarts] == [run.id]
    stopped = control.kept(control.stop_file())
    assert stopped is not None
    assert stopped.by == "ann"
    assert found.at_work_now(clock.now()) == ()


def test_what_people_began_and_what_they_want_to_end_is_asked(copying: Copying):
    with unit_of_work() as uow:
        run = planned("redis", Runner.WATCHDOG)
        store.save(uow, run)
        control.abort(uow, run.id, by="ann")
    assert copying.copy()
    assert [asked.id for asked in copying.copied().asked] == [run.id]
    assert copying.copied().aborts == {run.id: "ann"}


def test_a_stop_that_no_file_takes_counts_from_memory(copying: Copying):
    with unit_of_work() as uow:
        control.stop(uow, by="ann", reason="", now=clock.now())
    control.keep(None)
    control.stop_file().with_name("gone").symlink_to("/proc/nowhere")
    blind = Copying(control.stop_file().with_name("guards.json"), control.stop_file().with_name("gone") / "stop")
    assert blind.copy()
    stopped = blind.copied().stopped
    assert stopped is not None
    assert stopped.by == "ann"


def test_a_stop_lifted_on_another_host_is_lifted_here(copying: Copying):
    now = clock.now()
    with unit_of_work() as uow:
        control.stop(uow, by="ann", reason="", now=now)
    mine = control.kept(control.stop_file())
    with unit_of_work() as uow:
        control.resume(uow, by="bob", now=now)
    assert mine is not None
    control.keep(mine)  # what the other host could not take away
    assert copying.copy()
    assert control.kept(control.stop_file()) is None


def test_a_stop_that_only_the_file_knows_stays(copying: Copying):
    with unit_of_work() as uow:
        control.resume(uow, by="bob", now=clock.now())
    control.keep(Stop(clock.iso(clock.now() + timedelta(seconds=1)), "ann", "while Postgres was away"))
    assert copying.copy()
    assert control.kept(control.stop_file()) is not None


def test_a_damaged_copy_is_none(copying: Copying, home: Path):
    (home / "watchdog-guards.json").write_text("{")
    assert again(home).copied() == Copied()
