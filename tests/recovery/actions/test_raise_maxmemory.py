"""maxmemory on a real Valkey: once per step, never beyond the ceiling, never where it is unset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.infra.redis import connect
from app.recovery.acting import Again, Done, Failed
from tests.recovery.actions.conftest import SMALL_MB
from tests.recovery.actions.filling import fill, is_full
from tests.recovery.actions.working import act, again, service_of, to_the_end, work_of

SERVICE = service_of("redis")
MB = 1024**2


def megabytes(client: Any) -> float:
    return int(client.info("memory")["maxmemory"]) / MB


def test_is_raised_by_a_step_also_when_the_server_is_full(small: Any, small_server: str):
    fill(small, 101)
    assert is_full(small)
    work = work_of(SERVICE, redis_url=small_server)
    result = to_the_end("raise_maxmemory", work, by_mb=16, up_to_mb=512)
    assert isinstance(result, Done)
    assert result.text == "raised maxmemory from 32 MB to 48 MB, until the server restarts"
    assert megabytes(small) == SMALL_MB + 16
    assert not is_full(small)


def test_stops_at_the_ceiling_and_is_not_touched_there(small: Any, small_server: str):
    work = work_of(SERVICE, redis_url=small_server)
    assert isinstance(to_the_end("raise_maxmemory", work, by_mb=16, up_to_mb=40), Done)
    assert megabytes(small) == 40
    for ceiling in (40, 39):
        refused = to_the_end("raise_maxmemory", work, by_mb=16, up_to_mb=ceiling)
        assert isinstance(refused, Failed)
        assert refused.text.startswith(f"maxmemory is at its ceiling of {ceiling} MB")
    assert megabytes(small) == 40


def test_is_never_touched_where_it_is_unset(small: Any, small_server: str):
    small.config_set("maxmemory", 0)
    refused = to_the_end("raise_maxmemory", work_of(SERVICE, redis_url=small_server))
    assert refused == Failed("maxmemory is not set, and then it is never touched")
    assert megabytes(small) == 0


def test_a_try_that_is_repeated_does_not_raise_it_twice(small: Any, small_server: str):
    work = work_of(SERVICE, redis_url=small_server)
    decided = act("raise_maxmemory", work, by_mb=16)
    assert isinstance(decided, Again)
    assert megabytes(small) == SMALL_MB
    following = again(work, decided)
    act("raise_maxmemory", following, by_mb=16)
    repeated = act("raise_maxmemory", replace(following, interrupted_at=following.now), by_mb=16)
    assert isinstance(repeated, Done)
    assert megabytes(small) == SMALL_MB + 16


def test_what_somebody_else_has_set_meanwhile_is_left_alone(small: Any, small_server: str):
    work = work_of(SERVICE, redis_url=small_server)
    decided = act("raise_maxmemory", work, by_mb=16)
    small.config_set("maxmemory", 36 * MB)
    refused = act("raise_maxmemory", again(work, decided), by_mb=16)
    assert isinstance(refused, Failed)
    assert "changed meanwhile, to 36 MB" in refused.text
    assert megabytes(small) == 36


def test_never_more_than_the_machine_has(small: Any, small_server: str):
    refused = to_the_end(
        "raise_maxmemory", work_of(SERVICE, redis_url=small_server), by_mb=1_000_000, up_to_mb=1_000_000
    )
    assert isinstance(refused, Failed)
    assert "too little for maxmemory" in refused.text


def test_a_server_that_lets_nobody_change_its_settings_is_a_failure_in_words(small: Any, small_server: str):
    small.execute_command("ACL", "SETUSER", "tenant", "on", ">word", "~*", "+@all", "-config")
    try:
        url = f"redis://tenant:word@{small_server.partition('@')[2]}"
        refused = to_the_end("raise_maxmemory", work_of(SERVICE, redis_url=url), by_mb=16)
    finally:
        small.execute_command("ACL", "DELUSER", "tenant")
    assert isinstance(refused, Failed)
    assert "does not let maxmemory be changed (CONFIG is refused)" in refused.text
    assert megabytes(small) == SMALL_MB


def test_can_be_written_to_the_servers_own_file(small: Any, small_server: str):
    work = work_of(SERVICE, redis_url=small_server)
    result = to_the_end("raise_maxmemory", work, by_mb=16, persist=True)
    assert isinstance(result, Done)
    assert result.text.endswith("also in its own file")
    small.config_set("maxmemory", SMALL_MB * MB)
    small.config_rewrite()


def test_a_server_of_the_service_counts_before_the_products_own(small: Any, small_server: str, redis_server: str):
    own = connect(redis_server).info("memory")["maxmemory"]
    work = work_of(service_of("redis", options={"url": small_server}), redis_url=redis_server)
    assert isinstance(to_the_end("raise_maxmemory", work, by_mb=16), Done)
    assert megabytes(small) == SMALL_MB + 16
    assert connect(redis_server).info("memory")["maxmemory"] == own
