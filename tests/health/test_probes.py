"""Each other kind of probe against the real thing: servers that answer, refuse, hang, or say no."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from app import clock
from app.health.probes import celery, disk, heartbeat, memory, postgres, redis, tcp
from app.health.probing import CannotTell, Outcome, Target
from app.infra import queue
from app.infra.db import unit_of_work
from app.infra.pool_size import SESSIONS
from app.infra.redis import WORKERS_KEY, connect
from tests.fixtures.servers import Servers
from tests.fixtures.waiting import until
from tests.health import local


def target(*, timeout: float = 2, **more: object) -> Target:
    return Target(name="it", timeout_seconds=timeout, home=Path("/"), **more)


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Stop these processes; let them go on afterwards."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username or ''}:{parts.password or ''}@127.0.0.1:{port}").geturl()


class TestPostgres:
    def probe(self, url: str, **more: object) -> Outcome:
        return postgres.probe(target(database_url=url, **more), postgres.Options())

    def read(self, url: str, options: postgres.Options) -> Mapping[str, Any]:
        outcome = postgres.probe(target(database_url=url), options)
        assert outcome.error is None
        return outcome.readings

    def test_reads_latency_connections_queries_and_size(self, database: str):
        others = [psycopg2.connect(database) for _ in range(3)]
        outcome = self.probe(database)
        for connection in others:
            connection.close()
        assert outcome.error is None
        assert outcome.latency_ms > 0
        readings = outcome.readings
        assert 3 <= readings["connections"] < readings["connections_allowed"]
        assert (readings["slow_queries"], readings["blocked_queries"]) == (0, 0)
        assert 0 < readings["size_mb"] < readings["size_budget_mb"] == 51_200
        assert "replication_lag_s" not in readings

    def test_sees_slow_and_blocked_queries(self, database: str):
        holder, waiter = psycopg2.connect(database), psycopg2.connect(database, async_=1)
        try:
            holder.cursor().execute("LOCK TABLE services")
            _wait(waiter)
            waiter.cursor().execute("SELECT count(*) FROM services")
            options = postgres.Options(slow_seconds=0.1)
            readings = until(lambda: found if (found := self.read(database, options))["slow_queries"] == 1 else None)
            assert readings["blocked_queries"] == 1
            assert readings["longest_query_s"] >= 0.1
            assert readings["longest_blocked_s"] >= 0.1
            assert readings["idle_in_transaction"] == 1
            assert readings["longest_idle_in_transaction_s"] >= 0
        finally:
            waiter.close()
            holder.close()
        assert self.read(database, options)["longest_blocked_s"] == 0

    def test_sees_how_the_web_processes_use_their_connections(self, database: str):
        idle = psycopg2.connect(database, application_name=SESSIONS)
        busy = psycopg2.connect(database, application_name=SESSIONS)
        busy.cursor().execute("SELECT 1")
        try:
            readings = self.read(database, postgres.Options())
            elsewhere = self.read(database, postgres.Options(url=database))
        finally:
            idle.close()
            busy.close()
        assert (readings["pool_connections"], readings["pool_in_use"]) == (2, 1)
        assert "pool_in_use" not in elsewhere

    def test_reads_the_size_no_more_often_than_asked(self, database: str):
        seldom, always = postgres.Options(deep_seconds=3600), postgres.Options(deep_seconds=0)
        before = self.read(database, seldom)["size_mb"]
        with psycopg2.connect(database) as connection:
            connection.cursor().execute(
                "CREATE TABLE big AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 9999) n"
            )
        assert self.read(database, seldom)["size_mb"] == before
        assert self.read(database, always)["size_mb"] > before + 5
        assert self.read(database, seldom)["size_mb"] > before + 5

    def test_reads_what_the_server_has_counted(self, database: str):
        readings = self.read(database, postgres.Options())
        assert readings["deadlocks"] == 0
        assert readings["replicas"] == 0
        assert 0 < until(lambda: self.read(database, postgres.Options()).get("cache_hit_rate")) <= 1

    def test_refused_wrong_password_and_missing_database_each_have_their_code(self, database: str):
        assert self.probe(with_port(database, local.closed_port())).error.code == "refused"
        wrong = database.replace(str(urlsplit(database).password), "wr0ng")
        assert self.probe(wrong).error.code == "auth"
        assert self.probe(database + "_not").error.code == "no_database"
        assert "wr0ng" not in repr(self.probe(wrong))

    def test_a_server_that_hangs_is_a_timeout_at_the_timeout(self, database: str, silent_port: int):
        started = time.monotonic()
        outcome = self.probe(with_port(database, silent_port), timeout=0.4)
        assert time.monotonic() - started < 0.8
        assert (outcome.error.code, outcome.error.text) == ("timeout", "no answer within 0.4 s")

    def test_a_server_that_hangs_in_mid_session_is_a_timeout_too(self, database: str):
        """The session's own backend is frozen by the query that it runs itself: no answer, and no closed socket."""
        from app.health.probes import _pg
        from app.health.probing import Deadline, TimedOut

        with _pg.Session(database, Deadline(0.8)) as session:
            (pid,) = session.row("SELECT pg_backend_pid()")
            with frozen([pid]), pytest.raises(TimedOut):
                session.row("SELECT 1")


def _wait(connection: object) -> None:
    from psycopg2 import extras

    extras.wait_select(connection)


class TestRedis:
    def probe(self, url: str | None, **more: object) -> Outcome:
        return redis.probe(target(redis_url=url, **more), redis.Options())

    def test_reads_memory_hit_rate_clients_and_the_append_only_file(self, redis_server: str):
        client = connect(redis_server)
        client.config_resetstat()
        client.set("known", 1)
        for key in ("known", "known", "known", "unknown"):
            client.get(key)
        readings = self.probe(redis_server).readings
        assert readings["hit_rate"] == 0.75
        assert 0 < readings["memory_mb"] < readings["maxmemory_mb"]
        assert readings["memory_percent"] < 90
        assert readings["clients"] >= 1
        assert readings["evictions"] == 0
        assert (readings["aof"], readings["aof_last_rewrite"]) == ("ok", "ok")
        assert readings["maxmemory_policy"] == client.config_get("maxmemory-policy")["maxmemory-policy"]
        assert readings["keys"] == 1
        assert readings["fragmentation"] > 0
        assert readings["rdb_last_save_age_s"] >= 0
        assert (readings["replicas"], readings["rejected_connections"], readings["role"]) == (0, 0, "master")

    def test_sees_clients_that_wait_for_a_message(self, redis_server: str):
        waiting = connect(redis_server)
        thread = threading.Thread(target=waiting.blpop, args=("nothing-comes", 5))
        thread.start()
        until(lambda: self.probe(redis_server).readings["blocked_clients"] == 1)
        connect(redis_server).lpush("nothing-comes", "something")
        thread.join(5)

    def test_a_replica_that_lost_its_primary_is_degraded(self):
        outcome = redis._outcome({"role": "slave", "master_link_status": "down"}, 1.0)
        assert outcome.degraded == "replication is broken: this replica has lost its primary"
        assert outcome.readings["keys"] == 0

    def test_refused_wrong_password_and_no_address_each_have_their_code(self, redis_server: str):
        assert self.probe(with_port(redis_server, local.closed_port())).error.code == "refused"
        wrong = self.probe(redis_server.replace(str(urlsplit(redis_server).password), "wr0ng"))
        assert wrong.error.code == "auth"
        assert "wr0ng" not in repr(wrong)
        assert self.probe(None).error.code == "no_address"

    def test_a_server_that_hangs_is_a_timeout_at_the_timeout(self, redis_server: str, silent_port: int):
        started = time.monotonic()
        assert self.probe(with_port(redis_server, silent_port), timeout=0.3).error.code == "timeout"
        assert time.monotonic() - started < 0.8

    def test_a_frozen_server_is_a_timeout_and_answers_again_afterwards(self, redis_server: str, servers: Servers):
        pid = int(connect(redis_server).info("server")["process_id"])
        with frozen([pid]):
            assert self.probe(redis_server, timeout=0.3).error.code == "timeout"
        assert self.probe(redis_server).error is None


class TestCelery:
    @pytest.fixture(autouse=True)
    def _queues(self) -> Iterator[None]:
        before = queue.names()
        queue.configure(["tick", "default"])
        yield
        queue.configure(before)

    def workers(self, url: str) -> Outcome | CannotTell:
        return celery.probe(target(redis_url=url), celery.Options(part="workers"))

    def write(self, url: str, name: str, queues: list[str], age: float = 0) -> None:
        entry = {"at": time.time() - age, "queues": queues, "pid": 1, "host": "h", "concurrency": 1, "version": "0"}
        connect(url).hset(WORKERS_KEY, name, json.dumps(entry))

    def test_every_queue_with_a_live_worker_is_fine_and_depths_are_read(self, redis_server: str):
        self.write(redis_server, "tick@h", ["tick"])
        self.write(redis_server, "default@h", ["default"], age=29)
        message = json.dumps({"headers": {queue.SENT_AT: time.time() - 7}})
        connect(redis_server).lpush("smm:default", message)
        outcome = self.workers(redis_server)
        assert outcome.error is None
        assert outcome.readings["alive"] == ["default@h", "tick@h"]
        assert outcome.readings["queued"] == 1
        assert 7 <= outcome.readings["oldest_seconds"] < 10
        assert outcome.readings["queues"]["tick"] == {"depth": 0, "oldest_seconds": None, "workers": 1}

    def test_a_queue_whose_worker_is_silent_for_half_a_minute_is_named(self, redis_server: str):
        self.write(redis_server, "tick@h", ["tick"])
        self.write(redis_server, "default@h", ["default"], age=31)
        connect(redis_server).hset(WORKERS_KEY, "broken@h", "{")
        error = self.workers(redis_server).error
        assert (error.code, error.text) == ("queue_without_worker", "no live worker serves default")

    def test_no_worker_at_all_is_said_plainly(self, redis_server: str):
        assert self.workers(redis_server).error.code == "no_workers"

    def test_beside_a_watcher_that_has_just_started_the_engine_may_be_still_starting(self, redis_server: str):
        options = celery.Options(part="workers")
        for age, verdict in ((59, CannotTell), (61, Outcome)):
            since = clock.now() - timedelta(seconds=age)
            told = celery.probe(target(redis_url=redis_server, watched_since=since), options)
            assert isinstance(told, verdict)
        self.write(redis_server, "all@h", ["tick", "default"])
        well = celery.probe(target(redis_url=redis_server, watched_since=clock.now()), options)
        assert well.error is None

    def test_without_redis_nothing_is_claimed_about_workers(self, redis_server: str):
        verdict = self.workers(with_port(redis_server, local.closed_port()))
        assert isinstance(verdict, CannotTell)

    def test_beat_is_alive_while_ticks_run(self, database: str):
        options = celery.Options(part="beat")
        assert celery.probe(target(database_url=database), options).error.text == "the timetable has never run"
        for age, code in ((3, None), (40, "silent")):
            with unit_of_work() as uow:
                uow.execute(
                    "INSERT INTO schedule (name, last_run_at) VALUES ('job-relay', now() - make_interval(secs => :age))"
                    " ON CONFLICT (name) DO UPDATE SET last_run_at = excluded.last_run_at",
                    age=age,
                )
            outcome = celery.probe(target(database_url=database), options)
            assert (outcome.error.code if outcome.error else None) == code
            assert age <= outcome.readings["last_tick_seconds"] < age + 2

    @pytest.mark.parametrize("part", ["beat", "alerts"])
    def test_without_postgres_nothing_is_claimed_about_what_is_told_there(self, part: str, database: str):
        url = with_port(database, local.closed_port())
        assert isinstance(celery.probe(target(database_url=url), celery.Options(part=part)), CannotTell)


class TestTcp:
    def test_a_listening_port_is_up_and_a_closed_one_is_refused(self, silent_port: int):
        assert tcp.probe(target(), tcp.Options(host="127.0.0.1", port=silent_port)).latency_ms > 0
        closed = tcp.Options(host="127.0.0.1", port=local.closed_port())
        assert tcp.probe(target(), closed).error.code == "refused"

    def test_the_first_of_several_addresses_that_answers_counts(self, silent_port: int):
        assert tcp.probe(target(), tcp.Options(host="localhost", port=silent_port)).error is None

    def test_an_unknown_name_is_a_dns_failure(self):
        assert tcp.probe(target(), tcp.Options(host="no-such-host.invalid", port=1)).error.code == "dns"

    def test_the_answer_to_what_is_sent_must_contain_what_is_expected(self, web: local.Web, silent_port: int):
        ask = {"host": "127.0.0.1", "send": "GET /ok HTTP/1.0\r\n\r\n"}
        assert tcp.probe(target(), tcp.Options(port=web.port, expect="all is well", **ask)).error is None
        assert tcp.probe(target(), tcp.Options(port=web.port, expect="SSH-2", **ask)).error.code == "unexpected_answer"
        hanging = tcp.probe(target(timeout=0.3), tcp.Options(port=silent_port, expect="x", **ask))
        assert hanging.error.code == "timeout"


class TestThisHost:
    def test_disk_reads_the_file_system_of_a_path(self, tmp_path: Path):
        readings = disk.probe(target(), disk.Options(path=tmp_path)).readings
        assert 0 <= readings["used_percent"] <= 100
        assert 0 < readings["free_gb"] <= readings["total_gb"]

    def test_a_missing_path_is_a_failure(self, tmp_path: Path):
        outcome = disk.probe(target(), disk.Options(path=tmp_path / "not"))
        assert (outcome.error.code, outcome.error.text) == (
            "missing",
            "the path cannot be read: No such file or directory",
        )

    def test_memory_is_read_in_percent(self):
        readings = memory.probe(target(), memory.Options()).readings
        assert 0 < readings["used_percent"] <= 100
        assert 0 < readings["available_mb"] <= readings["total_mb"]


class TestHeartbeat:
    options = heartbeat.Options(period_seconds=60)

    def test_silence_past_the_period_is_a_failure(self):
        now = clock.now()
        heard = heartbeat.probe(target(last_heartbeat_at=now - timedelta(seconds=30)), self.options)
        assert heard.error is None
        assert 30 <= heard.readings["last_seen_seconds"] < 32
        silent = heartbeat.probe(target(last_heartbeat_at=now - timedelta(seconds=61)), self.options)
        assert (silent.error.code, silent.error.text) == ("silent", "silent for 61 s; expected every 60 s")

    def test_one_that_never_called_has_a_period_to_do_so(self):
        young = target(registered_at=clock.now() - timedelta(seconds=59))
        assert isinstance(heartbeat.probe(young, self.options), CannotTell)
        old = target(registered_at=clock.now() - timedelta(seconds=65))
        assert heartbeat.probe(old, self.options).error.text == "never called in 65 s; expected every 60 s"
