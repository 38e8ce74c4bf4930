"""Eviction on a real Valkey: the cache and nothing else, the oldest first, also when no write is taken any more."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.infra import eviction
from app.infra.eviction import Ended, Progress, Wanted, memory_of
from app.recovery.acting import Again, Done, Failed
from tests.health import local
from tests.recovery.actions.filling import fill, is_full, put
from tests.recovery.actions.working import act, again, catalog_of, forbidden, service_of, to_the_end, work_of

SERVICE = service_of("redis")


def names(client: Any, pattern: bytes | str = "*") -> set[bytes]:
    return set(client.scan_iter(match=pattern, count=1000))


def gone(client: Any, wanted: Wanted, seconds: float = 10) -> eviction.Eviction:
    return eviction.evict(client, wanted, seconds=seconds)


class TestOnARealServer:
    def test_comes_down_to_the_target_and_not_much_further(self, small: Any, small_server: str):
        before = fill(small, 95)
        result = to_the_end("evict_keys", work_of(SERVICE, redis_url=small_server), prefix="cache:")
        assert isinstance(result, Done), result
        assert 70 < memory_of(small).percent <= 80
        evicted = before - len(names(small, "cache:*"))
        assert result.text.startswith(f"evicted {evicted:,} keys under cache:, memory went from 9")
        assert result.detail["ended"] == "target"
        assert result.detail["percent_before"] > 94
        assert result.detail["percent_after"] <= 80

    def test_works_when_the_server_refuses_every_write(self, small: Any, small_server: str):
        fill(small, 101)
        assert is_full(small)
        result = to_the_end("evict_keys", work_of(SERVICE, redis_url=small_server), prefix="cache:")
        assert isinstance(result, Done), result
        assert memory_of(small).percent <= 80
        assert not is_full(small)

    def test_the_oldest_go_first(self, small: Any):
        put(small, [(f"cache:{hours}:{number}", hours * 3600) for hours in range(1, 11) for number in range(1500)])
        percent = memory_of(small).percent
        put(small, [(f"queue:{number}", 99_999) for number in range(500)])
        done = gone(small, Wanted("cache:", target_percent=percent * 0.75))
        left = {hours: len(names(small, f"cache:{hours}:*")) for hours in range(1, 11)}
        assert done.ended is Ended.TARGET
        assert left[10] == left[9] == 0
        assert left[1] == left[2] == left[3] == left[4] == 1500
        assert len(names(small, "queue:*")) == 500

    def test_keys_used_lately_stay_although_the_target_is_missed(self, small: Any, small_server: str):
        put(small, [(f"cache:old:{number}", 300) for number in range(1000)])
        put(small, [(f"cache:new:{number}", 30) for number in range(1000)])
        result = to_the_end("evict_keys", work_of(SERVICE, redis_url=small_server), prefix="cache:", target_percent=0.1)
        assert isinstance(result, Done)
        assert "evicted 1,000 keys under cache:" in result.text
        assert result.text.endswith("no other has rested for 1 min 0 s")
        assert names(small) == {b"cache:new:%d" % number for number in range(1000)}

    def test_a_key_that_is_used_during_the_eviction_stays(self, small: Any, small_server: str):
        put(small, [(f"cache:{number}", 3600) for number in range(20_000)], size=300)
        used = [f"cache:{number}" for number in range(0, 20_000, 1000)]
        for key in used:
            small.get(key)
        stop = threading.Event()

        def use() -> None:
            from app.infra.redis import connect

            other = connect(small_server, timeout_seconds=5)
            while not stop.is_set():
                other.mget(used)
            other.close()

        thread = threading.Thread(target=use)
        thread.start()
        try:
            gone(small, Wanted("cache:", target_percent=0.1))
        finally:
            stop.set()
            thread.join()
        assert names(small) == {key.encode() for key in used}

    def test_names_that_are_no_text_and_names_that_look_like_patterns_are_told_apart(self, small: Any):
        mine = [b"cache:\xff\x00\xfe", b"cache:*", b"cache:[a]", b"cache:\n'\"", "cache:\u00fc".encode(), b"cache:"]
        others = [
            b"Cache:x",
            b"xcache:",
            b"cache",
            b"cache\xff",
            b"smm:cache:1",
            b" cache:",
            b"\x00cache:",
            b"smm:jobs",
        ]
        put(small, [(key, 9999) for key in (*mine, *others)])
        done = gone(small, Wanted("cache:", target_percent=0.1))
        assert done.ended is Ended.EXHAUSTED
        assert names(small) == set(others)

    def test_values_of_every_type_go(self, small: Any):
        small.rpush("cache:list", *range(1000))
        small.hset("cache:hash", mapping={str(n): n for n in range(1000)})
        small.xadd("cache:stream", {"a": 1})
        for key in ("cache:list", "cache:hash", "cache:stream"):
            small.execute_command("RESTORE", key, 0, small.dump(key), "REPLACE", "IDLETIME", 500)
        gone(small, Wanted("cache:", target_percent=0.1))
        assert names(small) == set()

    def test_no_more_keys_go_than_it_may_take(self, small: Any):
        put(small, [(f"cache:{number}", 3600) for number in range(5000)])
        done = gone(small, Wanted("cache:", target_percent=0.1, most_keys=1234))
        assert (done.ended, done.progress.unlinked) == (Ended.MOST_KEYS, 1234)
        assert len(names(small)) == 5000 - 1234

    def test_goes_on_where_another_process_stopped(self, small: Any):
        put(small, [(f"cache:{number}", 3600) for number in range(20_000)], size=100)
        wanted = Wanted("cache:", target_percent=0.1, pause_seconds=0.01)
        progress, calls = Progress(), 0
        while (done := eviction.evict(small, wanted, seconds=0.3, progress=progress)).ended is Ended.TIME:
            assert done.progress.as_dict() == Progress(**done.progress.as_dict()).as_dict()
            progress, calls = done.progress, calls + 1
        assert calls > 1
        assert done.progress.unlinked == 20_000
        assert names(small) == set()

    def test_work_longer_than_a_try_is_cut_and_goes_on(self, small: Any, small_server: str):
        put(small, [(f"cache:{number}", 3600) for number in range(10_000)])
        work = work_of(SERVICE, redis_url=small_server, timeout_seconds=0.4)
        options = {"prefix": "cache:", "target_percent": 5, "pause_ms": 20}
        first = act("evict_keys", work, **options)
        assert isinstance(first, Again)
        assert first.text.endswith("so far")
        last = to_the_end("evict_keys", again(work, first), **options)
        assert isinstance(last, Done)
        assert last.detail["percent_before"] == first.detail["percent_before"]
        assert last.detail["evicted"] > first.detail["evicted"]

    def test_its_time_is_bounded(self, small: Any, small_server: str):
        put(small, [(f"cache:{number}", 3600) for number in range(10_000)])
        work = work_of(SERVICE, redis_url=small_server, timeout_seconds=0.4)
        options = {"prefix": "cache:", "target_percent": 5, "pause_ms": 100, "max_seconds": 3}
        result = to_the_end("evict_keys", work, **options)
        assert isinstance(result, Done)
        assert result.text.endswith("its time was over")

    def test_memory_below_the_target_is_left_alone(self, small: Any, small_server: str):
        put(small, [("cache:1", 3600)])
        result = act("evict_keys", work_of(SERVICE, redis_url=small_server), prefix="cache:")
        assert isinstance(result, Done)
        assert result.text.startswith("nothing was evicted: memory is at ")
        assert names(small) == {b"cache:1"}

    def test_without_maxmemory_nothing_is_done(self, small: Any, small_server: str):
        small.config_set("maxmemory", 0)
        result = act("evict_keys", work_of(SERVICE, redis_url=small_server), prefix="cache:")
        assert isinstance(result, Failed)
        assert "maxmemory is not set" in result.text

    def test_a_server_that_counts_uses_does_not_know_idle_times(self, small: Any, small_server: str):
        small.config_set("maxmemory-policy", "allkeys-lfu")
        result = act("evict_keys", work_of(SERVICE, redis_url=small_server), prefix="cache:")
        assert isinstance(result, Failed)
        assert "allkeys-lfu" in result.text

    def test_refused_and_silent_servers_are_failures_in_words(self, small_server: str):
        password = small_server.split("@", maxsplit=1)[0]
        closed = act(
            "evict_keys", work_of(SERVICE, redis_url=f"{password}@127.0.0.1:{local.closed_port()}"), prefix="cache:"
        )
        assert closed == Failed("Redis refuses connections")
        with local.silent_port() as port:
            work = work_of(SERVICE, redis_url=f"{password}@127.0.0.1:{port}", timeout_seconds=0.8)
            assert act("evict_keys", work, prefix="cache:") == Failed("Redis did not answer within 0.2 s")


NAMES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.binary(max_size=8).map(b"cache:".__add__),
    st.sampled_from([b"cache:*", b"smm:queue", b"cache", b"cache:\\", b"cache[:]", b"CACHE:1", b"cache:{a}"]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.dictionaries(NAMES, st.integers(0, 1000), max_size=40), prefix=st.sampled_from(["cache:", "c", "cache:a"])
)
def test_only_old_keys_under_the_prefix_are_ever_unlinked(small: Any, keys: dict[bytes, int], prefix: str):
    small.flushall()
    put(small, keys.items(), size=10)
    gone(small, Wanted(prefix, target_percent=0.1, min_idle_seconds=100))
    left = names(small)
    kept = {key for key, idle in keys.items() if not key.startswith(prefix.encode()) or idle < 98}
    assert kept <= left <= kept | {key for key, idle in keys.items() if 98 <= idle < 100}


class TestWhatTheCatalogueForbids:
    @pytest.mark.parametrize("prefix", ["cache:", "cache:pages:", "smm:cache:"])
    def test_what_lies_under_a_cache_may_go(self, prefix: str):
        catalog = catalog_of(SERVICE, cache_prefixes=["cache:", "smm:cache:"])
        assert forbidden("evict_keys", SERVICE, catalog, prefix=prefix) is None

    @pytest.mark.parametrize(
        "prefix",
        [
            "cach",
            "sessions:",
            "smm:",
            "smm:cach",
            "smm:limits",
            "s",
            "smm",
            "cache:*",
            "ca?he:",
            "cache:[a]",
            "\\cache:",
        ],
    )
    def test_everything_else_may_not(self, prefix: str):
        catalog = catalog_of(SERVICE, cache_prefixes=["cache:", "smm:", "smm", "smm:cache:", ""])
        assert forbidden("evict_keys", SERVICE, catalog, prefix=prefix)
        work = work_of(SERVICE, catalog=catalog)
        assert isinstance(act("evict_keys", work, prefix=prefix), Failed)

    def test_without_any_cache_nothing_may_go(self):
        for prefixes in ([], [""]):
            catalog = catalog_of(SERVICE, cache_prefixes=prefixes)
            assert "recovery.cache_prefixes" in str(forbidden("evict_keys", SERVICE, catalog, prefix="cache:"))
