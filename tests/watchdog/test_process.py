"""The watchdog as it runs: a process of its own, with servers that fall, hang and come back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from app.config import settings
from app.health import statefile
from app.health.core import State
from tests.health import local
from tests.health.catalogs import tcp
from tests.notify.servers import Scripted, channel_server
from tests.watchdog.paging import RULES, service, webhook
from tests.watchdog.processes import QUICK, frozen_postgres, listening, rows, until, watched

pytestmark = pytest.mark.slow


def test_it_stores_what_it_sees_and_says_that_it_lives(start, database):
    port = local.closed_port()
    with listening(port):
        running = start(watched(port))
        until(lambda: running.states() == {"postgres": State.UP, "port": State.UP})
        until(lambda: len(rows("SELECT DISTINCT service FROM system_health_log WHERE source = 'watchdog'")) == 2)
    heartbeat = running.home / "run" / "watchdog.heartbeat"
    touched = heartbeat.stat().st_mtime
    until(lambda: heartbeat.stat().st_mtime > touched, seconds=10)
    assert rows("SELECT readings->>'version' FROM system_health_log WHERE service = 'postgres'")[0][0].startswith("18")


def test_while_postgres_hangs_it_watches_on_and_afterwards_tells_the_true_times(start, database):
    port = local.closed_port()
    with listening(port):
        running = start(watched(port))
        until(lambda: rows("SELECT 1 FROM services WHERE name = 'port' AND state = 'up'"))
    before = clock.now()
    with frozen_postgres(database):
        until(lambda: running.states() == {"postgres": State.DOWN, "port": State.DOWN})
        fell_by = clock.now()
        with listening(port):
            until(lambda: running.states()["port"] is State.UP)
        rose_by = clock.now()
    until(lambda: len(rows("SELECT 1 FROM incidents WHERE recovered_at IS NOT NULL")) == 2)
    for incident in rows("SELECT * FROM incidents"):
        assert (
            before - timedelta(seconds=2) < incident.started_at < incident.detected_at <= fell_by + timedelta(seconds=1)
        )
        assert incident.outcome == "recovered"
    (port_incident,) = rows("SELECT * FROM incidents WHERE service = 'port'")
    assert fell_by < port_incident.recovered_at <= rose_by
    (postgres,) = rows("SELECT * FROM incidents WHERE service = 'postgres'")
    assert postgres.error_code == "timeout"
    until(lambda: not (running.home / "run" / "watchdog-spool.jsonl").exists())


def test_sigterm_stops_it_soon_whatever_hangs(start, silent_port):
    running = start(tcp("port", silent_port, expect='"x"', timeout=60, watched_by='"watchdog"'))
    until((running.home / "run" / "watchdog.heartbeat").exists)
    assert running.stop() < 3
    assert running.process.returncode == 0


def test_after_a_crash_it_goes_on_where_it_was(start, database):
    running = start(watched(local.closed_port()))
    until(lambda: running.states().get("port") is State.DOWN)
    (incident,) = until(lambda: rows("SELECT * FROM incidents"))
    running.process.kill()
    running.process.wait(10)
    file = statefile.path_in(settings().run_dir)
    left = statefile.read(file)
    again = start(watched(local.closed_port()))
    until(lambda: statefile.read(file).pid == again.process.pid)
    found = until(lambda: statefile.read(file).services["port"])
    assert found.state.since == left.services["port"].state.since
    assert found.state.failures >= left.services["port"].state.failures
    assert [row.id for row in rows("SELECT * FROM incidents")] == [incident.id]


def test_it_starts_without_postgres_and_stores_later_what_it_saw_meanwhile(start, database):
    with frozen_postgres(database):
        running = start(watched(local.closed_port()))
        until(lambda: running.states().get("port") is State.DOWN and running.states().get("postgres") is State.DOWN)
        until((running.home / "run" / "watchdog-spool.jsonl").exists)
        running.process.kill()
        running.process.wait(10)
    again = start(watched(local.closed_port()))
    until(lambda: len(rows("SELECT 1 FROM incidents")) == 2)
    assert again.process.poll() is None
    (postgres,) = rows("SELECT * FROM incidents WHERE service = 'postgres'")
    assert postgres.detected_at - postgres.started_at < timedelta(seconds=15)


def test_two_watchdogs_of_one_stack_do_not_confuse_it(start, database):
    port = local.closed_port()
    with listening(port):
        start(watched(port))
        start(watched(port))
        until(lambda: rows("SELECT 1 FROM services WHERE name = 'port' AND state = 'up'"))
    until(lambda: rows("SELECT 1 FROM services WHERE name = 'port' AND state = 'down'"))
    assert len(rows("SELECT 1 FROM incidents WHERE service = 'port'")) == 1


def test_a_wrong_setting_is_refused_in_one_line_that_names_it(home: Path):
    command = [sys.executable, "-m", "app.watchdog"]
    environment = {**os.environ, "SMM_LEASE_SECONDS": "soon"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("watchdog: environment: SMM_LEASE_SECONDS")
    assert ended.stderr.count("\n") == 1


def test_it_pages_what_falls_once_over_a_crash_of_its_own_and_the_ledger_knows(start, database):
    port = local.closed_port()
    with channel_server() as server:
        content = service("broker", port=port) + webhook(server.base) + RULES
        with listening(port):
            running = start(content)
            until(lambda: running.states() == {"broker": State.UP})
        (request,) = until(lambda: server.requests)
        assert request.json["alerts"][0]["labels"]["service"] == "broker"
        until(lambda: rows("SELECT 1 FROM notifications WHERE state = 'delivered' AND source = 'watchdog'"))
        running.process.kill()
        running.process.wait(10)
        again = start(content)
        until(lambda: rows("SELECT 1 FROM system_health_log WHERE NOT ok AND started_at > now() - interval '1 s'"))
        assert again.states() == {"broker": State.DOWN}
        assert len(server.requests) == 1
        (told,) = rows("SELECT * FROM notifications")
        assert str(told.id) == request.headers["idempotency-key"]


def test_it_pages_while_postgres_hangs_and_the_page_is_in_the_ledger_afterwards(start, database):
    with channel_server() as server:
        postgres = f"[services.postgres]\nkind = 'postgres'\nseverity = 'critical'\n{QUICK}"
        running = start(postgres + webhook(server.base) + RULES)
        until(lambda: running.states() == {"postgres": State.UP})
        with frozen_postgres(database):
            frozen = time.monotonic()
            until(lambda: server.requests)
            assert time.monotonic() - frozen < 15
            assert (running.home / "run" / "watchdog-pages.jsonl").exists()
        until(lambda: rows("SELECT 1 FROM notifications WHERE state = 'delivered' AND source = 'watchdog'"))
        until(lambda: rows("SELECT 1 FROM incidents WHERE recovered_at IS NOT NULL"))
        until(lambda: (running.home / "run" / "watchdog-pages.jsonl").read_bytes() == b"")
        assert len(server.requests) == 1


def test_sigterm_stops_it_soon_although_a_page_hangs(start, database):
    with channel_server() as server:
        server.always = Scripted(how="hang")
        running = start(service("broker", port=local.closed_port()) + webhook(server.base) + RULES)
        until(lambda: server.requests)
        assert running.stop() < 3
        assert running.process.returncode == 0
