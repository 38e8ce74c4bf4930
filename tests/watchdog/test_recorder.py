"""Handing results to Postgres: when it is there, when it is away, and when it will never take one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app import clock
from app.config import settings
from app.health.results import ProbeResult
from app.infra import db
from app.infra.db import read_only
from app.watchdog.recorder import Recorder
from app.watchdog.spool import Spool
from tests.health import catalogs, local
from tests.health.catalogs import tcp

NOW = clock.now()


def result(second: int, latency_ms: float = 1.0) -> ProbeResult:
    at = NOW + timedelta(seconds=second - 60)
    return ProbeResult(ok=True, started_at=at, finished_at=at, latency_ms=latency_ms)


@pytest.fixture
def spool(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    catalogs.use(monkeypatch, home, tcp("port", watched_by='"watchdog"'))
    return Spool(home / "run" / "spool.jsonl")


def logged() -> list[float]:
    with read_only() as session:
        return list(session.execute(text("SELECT latency_ms FROM system_health_log ORDER BY id")).scalars())


def test_what_waits_is_stored_once_however_often_it_is_handed_over(spool: Spool):
    recorder = Recorder(spool)
    for _ in range(2):
        for second in range(3):
            spool.append("port", result(second, second), eventful=True)
        assert recorder.store_some()
        assert not recorder.store_some()
    assert logged() == [0, 1, 2]


def test_while_postgres_is_away_results_wait_in_the_file_and_are_stored_afterwards(spool: Spool, database, monkeypatch):
    recorder = Recorder(spool)
    spool.append("port", result(0), eventful=True)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://smm@127.0.0.1:{local.closed_port()}/smm")
    settings.cache_clear()
    db.dispose()
    assert not recorder.store_some()
    spool.append("port", result(1), eventful=True)
    assert len((settings().run_dir / "spool.jsonl").read_text().splitlines()) == 2
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    db.dispose()
    assert recorder.store_some()
    assert len(logged()) == 2
    assert not (settings().run_dir / "spool.jsonl").exists()


def test_a_result_that_postgres_will_never_take_is_dropped_and_holds_nothing_up(spool: Spool):
    recorder = Recorder(spool)
    for second, latency in enumerate((1.0, 1e300, 3.0)):
        spool.append("port", replace(result(second), latency_ms=latency), eventful=True)
    while len(spool):
        assert recorder.store_some()
    assert logged() == [1.0, 3.0]
