"""The two products that tests of this directory share; each ends with the last test of the directory on its worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.infra import queue, redis
from tests.engine import effects
from tests.engine.watched import Watched, watched_catalogue
from tests.fixtures.servers import forget
from tests.fixtures.stack import Stack, eventually, product, speak_to
from tests.notify.servers import channel_server

REDIS_MB = 64


@pytest.fixture(scope="package")
def running_stack() -> Iterator[Stack]:
    """One product for all tests that want one: each leaves it working."""
    with product("stack") as made:
        made.sql(effects.CREATE)
        yield made


@pytest.fixture
def stack(running_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The product; this process speaks to its servers."""
    speak_to(running_stack, monkeypatch)
    yield running_stack
    eventually(lambda: redis.client().ping(), within=30, what="Redis is back for the next test")
    queue.after_fork()


@pytest.fixture(scope="package")
def running_watched() -> Iterator[Watched]:
    """One product with a channel that records and a small Redis, for tests of what is seen, repaired and told."""
    with (
        channel_server() as server,
        product("watched", catalogue=watched_catalogue(server), SMM_REDIS_MAXMEMORY_MB=str(REDIS_MB)) as stack,
    ):
        made = Watched(stack, server)
        eventually(made.is_healthy, within=150, what=lambda: f"healthy: {stack.health()}")
        yield made


@pytest.fixture
def watched(running_watched: Watched, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """The product; this process speaks to its servers."""
    speak_to(running_watched.stack, monkeypatch)
    yield running_watched
    forget()
