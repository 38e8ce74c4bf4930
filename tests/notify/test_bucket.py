"""Nobody is told faster than they can be: on a real Valkey, and without one."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import settings
from app.infra import redis
from app.notify import bucket
from app.notify.bucket import Level, put_off, take
from tests.fixtures.waiting import until
from tests.health import local

DESTINATION = "slack:0123456789ab"


@pytest.fixture(params=["shared", "own"])
def _bucket(request: pytest.FixtureRequest) -> None:
    """Both buckets keep the same promises: the shared one in Redis, and a process's own when Redis is away."""
    if request.param == "shared":
        request.getfixturevalue("redis_server")


@pytest.mark.usefixtures("_bucket")
def test_a_burst_goes_at_once_and_then_the_rate_counts() -> None:
    waits = [take(DESTINATION, 0.1, 3) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert all(5 < wait <= 10 for wait in waits[3:])


@pytest.mark.usefixtures("_bucket")
def test_a_wait_takes_no_place_so_that_asking_again_makes_it_no_longer() -> None:
    assert take(DESTINATION, 0.1, 1) == 0
    first, second = take(DESTINATION, 0.1, 1), take(DESTINATION, 0.1, 1)
    assert 0 < second <= first <= 10


@pytest.mark.usefixtures("_bucket")
def test_after_the_wait_that_it_named_there_is_a_place() -> None:
    assert take(DESTINATION, 1, 1) == 0
    wait = take(DESTINATION, 1, 1)
    assert 0 < wait <= 1
    started = time.monotonic()
    until(lambda: take(DESTINATION, 1, 1) == 0, seconds=5)
    assert time.monotonic() - started >= wait - 0.05


@pytest.mark.usefixtures("_bucket")
def test_each_destination_has_a_bucket_of_its_own() -> None:
    assert [take(f"email:{name}@x.test", 0.1, 1) for name in "abc"] == [0, 0, 0]


@pytest.mark.usefixtures("_bucket")
def test_who_is_put_off_waits_and_has_no_burst_afterwards() -> None:
    put_off(DESTINATION, 1)
    assert 0 < take(DESTINATION, 1, 5) <= 1
    until(lambda: take(DESTINATION, 1, 5) == 0, seconds=5)
    assert 0 < take(DESTINATION, 1, 5) <= 1


@pytest.mark.usefixtures("_bucket")
def test_the_longer_of_two_waits_counts() -> None:
    put_off(DESTINATION, 30)
    put_off(DESTINATION, 5)
    assert 20 < take(DESTINATION, 100, 100) <= 30


@pytest.mark.usefixtures("_bucket")
@pytest.mark.parametrize(("asked", "most"), [(10**9, 3600), (0, 0), (-5, 0)])
def test_nobody_is_put_off_for_ever_or_for_nothing(asked: float, most: float) -> None:
    put_off(DESTINATION, asked)
    assert most * 0.99 <= take(DESTINATION, 1, 1) <= most


def test_of_many_who_ask_at_once_only_a_burst_goes(redis_server: str) -> None:
    taken = [0] * 8

    def run(place: int) -> None:
        for _ in range(5):
            taken[place] += take(DESTINATION, 0.01, 10) == 0

    threads = [threading.Thread(target=run, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(taken) == 10


def test_a_bucket_is_kept_in_redis_under_a_digest_and_no_longer_than_it_counts(redis_server: str) -> None:
    take("email:ann@example.com", 0.5, 4)
    put_off("email:ann@example.com", 20)
    (key,) = redis.client().keys("*")
    assert key == bucket.key_of("email:ann@example.com")
    assert key.startswith("smm:notify:bucket:")
    assert "ann" not in key
    assert 60_000 < redis.client().pttl(key) <= 81_000


def test_a_clock_that_was_set_back_silences_nobody_for_longer_than_an_hour(redis_server: str) -> None:
    far = int((time.time() + 10**8) * 10**6)
    redis.client().hset(bucket.key_of(DESTINATION), mapping={"full": far, "until": far})
    assert take(DESTINATION, 1, 3) <= 3610


def test_without_redis_a_process_keeps_to_the_rate_by_itself_and_asks_only_now_and_then() -> None:
    started = time.monotonic()
    waits = [take(DESTINATION, 0.1, 2) for _ in range(200)]
    assert waits[:2] == [0, 0]
    assert all(wait > 5 for wait in waits[2:])
    assert time.monotonic() - started < 2


def test_who_was_put_off_stays_put_off_when_redis_goes_away(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_off(DESTINATION, 30)
    use_redis("redis://127.0.0.1:1/0", monkeypatch)
    assert 20 < take(DESTINATION, 1, 1) <= 30
    use_redis(redis_server, monkeypatch)


def test_a_redis_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with local.silent_port() as port:
        use_redis(f"redis://127.0.0.1:{port}/0", monkeypatch)
        started = time.monotonic()
        assert [take(DESTINATION, 0.1, 3) for _ in range(3)] == [0, 0, 0]
        assert time.monotonic() - started < 2.9


def use_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on REDIS_URL names another server."""
    monkeypatch.setenv("REDIS_URL", url)
    settings.cache_clear()
    redis.client.cache_clear()


STEPS = st.lists(st.tuples(st.floats(0, 5), st.sampled_from([0.0, 0.5, 3.0])), max_size=60)


@given(STEPS, st.floats(0.2, 10), st.integers(1, 5))
def test_in_any_stretch_of_time_there_are_no_more_than_burst_and_rate_allow(
    steps: list[tuple[float, float]], rate: float, burst: int
) -> None:
    level, now, went, blocked = Level(), 1000.0, [], 0.0
    for passed, off in steps:
        now += passed
        wait, level = level.taken(now, rate, burst)
        if wait == 0:
            assert now >= blocked
            went.append(now)
        else:
            again, _ = level.taken(now + wait + 1e-6, rate, burst)
            assert again == 0
        if off:
            level = level.put_off(now, off)
            blocked = max(blocked, now + off)
    for first in range(len(went)):
        for last in range(first, len(went)):
            assert last - first + 1 <= burst + (went[last] - went[first]) * rate + 1e-6


def test_own_buckets_are_forgotten_when_they_are_full_again() -> None:
    for number in range(bucket._DESTINATIONS + 50):
        take(f"d{number}", 1e6, 1)
    assert len(bucket._own.levels) <= bucket._DESTINATIONS + 1
