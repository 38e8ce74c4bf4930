"""A process that waits for its broker is alive; real workers and beat, whose broker never answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import settings
from app.infra import heartbeat
from app.infra.heartbeat import BrokerVigil, Heartbeat, path_of
from tests.fixtures.waiting import until
from tests.health.local import closed_port

PROGRAMS = {
    "worker": ("worker", "-n", "tick@%h", "-Q", "tick", "-c", "1", "--without-mingle", "--without-gossip"),
    "beat": ("beat", "--pidfile=", "--loglevel", "WARNING"),
}


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_process_whose_broker_is_away_stays_seen(database: str, home: Path, program: str) -> None:
    environment = {**os.environ, "SMM_PROCESS": "thing", "REDIS_URL": f"redis://127.0.0.1:{closed_port()}/0"}
    file = home / "run" / "thing.heartbeat"
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "tasks", *PROGRAMS[program]]
    with (home / "said").open("wb") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
    try:
        until(file.exists, seconds=60, what="the first heartbeat")
        last = file.stat().st_mtime_ns
        for _ in range(2):
            last = until(lambda last=last: newer(file, last), seconds=20, what="one more heartbeat")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_while_the_broker_answers_the_vigil_keeps_silent(
    redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_SECONDS", 0.05)
    vigil = BrokerVigil(Heartbeat("thing"))
    vigil.start()
    pings = calls("ping")
    until(lambda: calls("ping") >= pings + 3, what="three pings")
    assert not path_of("thing").exists()
    vigil.stop()
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{closed_port()}/0")
    settings.cache_clear()
    away = BrokerVigil(Heartbeat("thing"))
    away.start()
    until(path_of("thing").exists, what="a touch while the broker is away")
    away.stop()


def newer(file: Path, last: int) -> int:
    """The file's time stamp when it is another than `last`, else 0."""
    stamp = file.stat().st_mtime_ns
    return stamp if stamp != last else 0


def calls(command: str) -> int:
    """How often the session's server was given a command."""
    found = heartbeat.redis.client().info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(found["calls"])
