"""The pool of the web process: wished through Redis, followed while it works, within what the server allows."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from app.infra import db, pool_size, redis
from app.infra.pool_size import Follower, Wish
from app.recovery.acting import Done, Failed, Work
from tests.fixtures.waiting import until
from tests.health import local
from tests.recovery.actions.working import act, service_of, work_of

SERVICE = service_of("postgres")


@pytest.fixture
def work(database: str, redis_server: str) -> Work:
    return work_of(SERVICE, database_url=database, redis_url=redis_server)


def wished() -> Wish | None:
    return pool_size.wished(redis.client())


def test_grows_step_by_step_up_to_its_ceiling_and_no_further(work: Work):
    sizes = []
    for place in range(4):
        result = act("grow_pool", replace(work, place=place), up_to=18)
        sizes.append(wished().size)
    assert sizes == [10, 15, 18, 18]
    assert isinstance(result, Failed)
    assert result.text.startswith("the pool is at its ceiling of 18 connections")


def test_says_what_it_did(work: Work):
    result = act("grow_pool", work)
    assert isinstance(result, Done)
    assert result.text == "grew the web process's pool from 5 to 10 connections, for 24 h 0 min"
    assert (result.detail["before"], result.detail["after"]) == (5, 10)
    assert 0 < redis.client().ttl(pool_size.KEY) <= 24 * 3600


def test_a_try_that_is_repeated_does_not_grow_it_twice(work: Work):
    act("grow_pool", work)
    result = act("grow_pool", replace(work, interrupted_at=work.now, tries=2))
    assert isinstance(result, Done)
    assert result.text.startswith("grew the web process's pool from 5 to 10")
    assert wished().size == 10


def test_never_takes_what_the_server_has_not_to_give(work: Work, database: str):
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        [others] = cursor.fetchone()
        allowed = int(connection.info.parameter_status("max_connections") or 97)
        result = act("grow_pool", work, reserve=allowed - others - 14)
        assert isinstance(result, Done), result
        assert result.detail["after"] == 7  # twice as many under load
        refused = act("grow_pool", replace(work, place=1), reserve=allowed)
    assert isinstance(refused, Failed)
    assert refused.text.endswith("there is no room")
    assert refused.detail["connections_allowed"] == 97


def test_reset_gives_it_its_own_size_again(work: Work):
    act("grow_pool", work)
    assert act("grow_pool", work, reset=True) == Done("the pool has its own size again")
    assert wished() is None
    assert act("grow_pool", work, reset=True) == Done("the pool had its own size")


def test_another_database_has_no_pool(work: Work, database: str):
    other = service_of("postgres", options={"url": database + "_other"})
    result = act("grow_pool", work_of(other, database_url=database, redis_url=work.target.redis_url))
    assert isinstance(result, Failed)
    assert "is not the product's own database" in result.text
    same = service_of("postgres", options={"url": database})
    assert isinstance(act("grow_pool", work_of(same, database_url=database, redis_url=work.target.redis_url)), Done)


def test_without_redis_or_postgres_it_fails_in_words(work: Work):
    gone = f"redis://127.0.0.1:{local.closed_port()}"
    no_redis = act("grow_pool", replace(work, target=replace(work.target, redis_url=gone)))
    assert no_redis == Failed("Redis refuses connections")
    closed = f"postgresql://u:p@127.0.0.1:{local.closed_port()}/x"
    no_postgres = act("grow_pool", replace(work, target=replace(work.target, database_url=closed)))
    assert no_postgres == Failed("Postgres: connection refused")
    assert wished() is None


class TestTheWebProcess:
    @pytest.fixture
    def follower(self, work: Work) -> Follower:
        return Follower()

    def pool(self) -> int:
        pool: Any = db.engine().pool
        return int(pool.size())

    def test_follows_the_wish_and_goes_back_when_it_is_over(self, follower: Follower, work: Work):
        follower.look()
        assert self.pool() == 5
        act("grow_pool", work)
        follower.look()
        assert self.pool() == 10
        assert db.execute_once("SELECT 1")[0][0] == 1
        redis.client().delete(pool_size.KEY)
        follower.look()
        assert self.pool() == 5

    def test_keeps_what_it_has_while_redis_is_away_and_takes_no_nonsense(
        self, follower: Follower, work: Work, monkeypatch: pytest.MonkeyPatch
    ):
        act("grow_pool", work)
        follower.look()
        with monkeypatch.context() as away:
            away.setenv("REDIS_URL", f"redis://127.0.0.1:{local.closed_port()}")
            from app.config import settings

            settings.cache_clear()
            redis.client.cache_clear()
            follower.look()
            assert self.pool() == 10
        settings.cache_clear()
        redis.client.cache_clear()
        endless = '{"size": 1e999, "by": "x", "before": 5}'
        deep = "[" * 100_000
        for nonsense in (
            "",
            "x",
            "[]",
            "7",
            '{"size": "many"}',
            '{"size": 1000000, "by": "x", "before": 5}',
            endless,
            deep,
        ):
            redis.client().set(pool_size.KEY, nonsense)
            follower.look()
            assert self.pool() == 5, nonsense

    def test_a_wish_smaller_than_the_setting_changes_nothing(self, follower: Follower):
        pool_size.wish(redis.client(), Wish(2, "x", 5), seconds=60)
        follower.look()
        assert self.pool() == 5

    def test_changes_its_pool_while_it_works(self, work: Work):
        stop, errors, rounds = threading.Event(), [], [0]

        def ask() -> None:
            while not stop.is_set():
                try:
                    db.execute_once("SELECT pg_sleep(0.005)")
                    rounds[0] += 1
                except Exception as error:
                    errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for size in (10, 5, 20, 5) * 5:
            before = rounds[0]
            db.resize_pool(size)
            until(lambda before=before: rounds[0] > before + 8)
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []
        name = "smm-admin"
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
        until(lambda: db.execute_once(count, name=name)[0][0] <= 5, what="old connections to be closed")

    def test_starts_and_stops(self, work: Work):
        follower = Follower(every_seconds=0.01)
        follower.start()
        act("grow_pool", work)
        until(lambda: self.pool() == 10)
        follower.stop()
