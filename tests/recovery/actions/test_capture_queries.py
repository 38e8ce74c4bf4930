"""What a slow Postgres and a slow Redis are busy with, on real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import extras

from app.infra.redis import connect
from app.recovery.acting import Done, Failed
from app.recovery.actions._queries import LONGEST_QUERY, blocking, shown
from tests.fixtures.servers import Servers
from tests.fixtures.waiting import until
from tests.health import local
from tests.recovery.actions.working import act, service_of, work_of

POSTGRES = service_of("postgres")
REDIS = service_of("redis")


@contextmanager
def session(url: str, name: str) -> Iterator[Any]:
    """A connection that does not wait for its answers."""
    connection = psycopg2.connect(url, async_=1, application_name=name)
    extras.wait_select(connection)
    try:
        yield connection
    finally:
        connection.close()


def captured(url: str, **options: Any) -> Done:
    result = act("capture_queries", work_of(POSTGRES, database_url=url), **options)
    assert isinstance(result, Done), result
    return result


class TestPostgres:
    def test_a_blocking_transaction_is_found_with_all_who_wait_for_it(self, database: str):
        with psycopg2.connect(database, application_name="the holder") as holder:
            holder.cursor().execute("LOCK TABLE services")
            with session(database, "first") as first, session(database, "second") as second:
                first.cursor().execute("DELETE FROM services WHERE name = 'a secret of somebody''s'")
                second.cursor().execute("SELECT count(*) FROM services")
                result = until(
                    lambda: (
                        found if len((found := captured(database, slow_seconds=0)).detail["sessions"]) == 3 else None
                    )
                )
                pid = holder.info.backend_pid
                waiting = [first.info.backend_pid, second.info.backend_pid]
        by_pid = {one["pid"]: one for one in result.detail["sessions"]}
        assert set(by_pid) == {pid, *waiting}
        assert by_pid[pid]["application"] == "the holder"
        assert by_pid[pid]["state"] == "idle in transaction"
        assert by_pid[pid]["query"] == "LOCK TABLE services"
        assert by_pid[waiting[0]]["query"] == "DELETE FROM services WHERE name = '...'"
        assert by_pid[waiting[0]]["blocked_by"] == [pid]
        assert by_pid[waiting[0]]["waits_for"] == "Lock:relation"
        [root] = result.detail["blocking"]
        assert root["pid"] == pid
        assert "2 blocked ones; session " in result.text
        assert result.text.startswith("recorded 1 slow or blocking session and ")
        assert f"session {pid} (idle in transaction for " in result.text
        assert result.text.endswith("blocks 2")

    def test_a_slow_query_is_found_and_a_quick_one_is_not(self, database: str):
        with session(database, "sleeper") as sleeper:
            sleeper.cursor().execute("SELECT pg_sleep(60), 'my data'")
            assert captured(database, slow_seconds=60).detail["sessions"] == []
            [found] = until(lambda: captured(database, slow_seconds=0.1).detail["sessions"])
            sleeper.close()
        assert found["query"] == "SELECT pg_sleep(60), '...'"
        assert found["seconds"] >= 0.1
        assert found["blocked_by"] == []

    def test_says_who_holds_the_connections(self, database: str):
        others = [psycopg2.connect(database, application_name="greedy") for _ in range(4)]
        holders = captured(database).detail["connections"]
        user = others[0].info.user
        for connection in others:
            connection.close()
        assert {"application": "greedy", "user": user, "state": "idle", "count": 4} in holders

    def test_what_is_kept_is_bounded(self, database: str):
        long = "SELECT pg_sleep(60) /* " + "x" * 900 + " */, " + "1 + " * 2000 + "1"
        with session(database, "a") as one:
            one.cursor().execute(long)
            [found] = until(lambda: captured(database, slow_seconds=0, rows=1).detail["sessions"])
            one.close()
        assert len(found["query"]) <= LONGEST_QUERY
        with pytest.raises(ValueError, match="less than or equal to 50"):
            act("capture_queries", work_of(POSTGRES), rows=51)

    def test_when_every_connection_is_taken_the_last_probe_has_the_word(self, servers: Servers, database: str):
        role, readings = "crowded", {"connections": 97, "latency_ms": 812}
        servers.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'word' CONNECTION LIMIT 0")
        try:
            url = f"postgresql://{role}:word@{database.partition('@')[2]}"
            work = work_of(POSTGRES, database_url=url, values={"facts": {"readings": readings}})
            result = act("capture_queries", work)
        finally:
            servers.sql(f"DROP ROLE {role}")
        assert result == Failed(
            "nothing could be recorded: Postgres: every connection is taken", {"readings_of_last_probe": readings}
        )

    def test_refused_and_silent_servers_are_failures_in_words(self, database: str):
        closed = f"postgresql://u:p@127.0.0.1:{local.closed_port()}/x"
        result = act("capture_queries", work_of(POSTGRES, database_url=closed))
        assert result == Failed("nothing could be recorded: Postgres: connection refused")
        with local.silent_port() as port:
            silent = work_of(POSTGRES, database_url=f"postgresql://u:p@127.0.0.1:{port}/x", timeout_seconds=0.5)
            assert act("capture_queries", silent).text == "nothing could be recorded: Postgres: no answer within 0.4 s"


class TestWhatIsShownOfAQuery:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 'it''s me', \"it's a column\", 'x'", "SELECT '...', \"it's a column\", '...'"),
            (r"SELECT E'a\'b secret', 'c\', 'secret'", "SELECT '...', '...', '...'"),
            ("SELECT $$secret$$, $a$it's $$ secret$a$ FROM t", "SELECT , FROM t"),
            ("SELECT 1 -- it's a secret\n, 2 /* secret ' */", "SELECT 1 , 2"),
            ("INSERT INTO t VALUES ('cut off in the middle of a sec", "INSERT INTO t VALUES ('...'"),
            (None, ""),
        ],
    )
    def test_nothing_that_stands_in_quotes_or_comments(self, query: str | None, expected: str):
        assert shown(query) == expected

    @given(st.text(alphabet=st.characters(exclude_characters="'\\$\"-/*"), max_size=50))
    def test_no_literal_gets_through(self, secret: str):
        assert shown(f"SELECT 'hush{secret}' FROM \"T\"") == "SELECT '...' FROM \"T\""


class TestWhoBlocksWhom:
    def sessions(self, **blocked_by: list[int]) -> list[dict[str, Any]]:
        return [{"pid": int(pid[1:]), "blocked_by": blockers} for pid, blockers in blocked_by.items()]

    def test_is_a_tree_with_the_cause_at_its_top(self):
        tree = blocking(self.sessions(p1=[], p2=[1], p3=[2], p4=[1], p5=[]))
        assert tree == [
            {"pid": 1, "blocks": [{"pid": 2, "blocks": [{"pid": 3, "blocks": []}]}, {"pid": 4, "blocks": []}]}
        ]

    def test_a_circle_is_shown_once(self):
        assert blocking(self.sessions(p1=[2], p2=[1])) == [{"pid": 1, "blocks": [{"pid": 2, "blocks": []}]}]

    def test_a_blocker_that_is_no_session_is_shown_too(self):
        assert blocking(self.sessions(p2=[0])) == [{"pid": 0, "blocks": [{"pid": 2, "blocks": []}]}]


class TestRedis:
    def test_slow_commands_and_clients_are_kept_without_what_was_written(self, redis_server: str):
        client = connect(redis_server)
        before = client.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"]
        client.config_set("slowlog-log-slower-than", 0)
        client.client_setname("the-writer")
        try:
            client.set("session:1", "s3cret-value")
            client.set(b"\xff\x00key", "s3cret-value")
        finally:
            client.config_set("slowlog-log-slower-than", before)
        result = act("capture_queries", work_of(REDIS, redis_url=redis_server))
        assert isinstance(result, Done), result
        assert result.text.startswith("recorded ")
        commands = [one["command"] for one in result.detail["slow_commands"]]
        assert "SET session:1 ..." in commands
        assert {one["client"] for one in result.detail["slow_commands"]} >= {"the-writer"}
        assert result.detail["clients"]["count"] >= 2
        assert result.detail["clients"]["by_name_or_address"]["the-writer"] == 1
        assert any(one["command"] == "set" for one in result.detail["commands"]) or len(result.detail["commands"]) == 10
        assert "s3cret" not in json.dumps(result.detail)
        client.slowlog_reset()
        client.close()

    def test_what_the_server_does_not_let_us_see_is_left_out(self, small: Any, small_server: str):
        small.execute_command("ACL", "SETUSER", "tenant", "on", ">word", "~*", "+@all", "-slowlog", "-client|list")
        try:
            url = f"redis://tenant:word@{small_server.partition('@')[2]}"
            result = act("capture_queries", work_of(REDIS, redis_url=url))
        finally:
            small.execute_command("ACL", "DELUSER", "tenant")
        assert isinstance(result, Done), result
        assert (result.detail["slow_commands"], result.detail["clients"]) == (None, None)
        assert result.detail["maxmemory_mb"] == 32
