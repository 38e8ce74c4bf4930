"""Servers that channels are pointed at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.infra import redis
from app.notify import bucket
from tests.health.conftest import certificate
from tests.notify.servers import ChannelServer, MailServer, channel_server, mail_server

__all__ = ["certificate"]


@pytest.fixture(autouse=True)
def _own_buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test finds a destination put off by another; without `redis_server` there is no Redis."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    redis.client.cache_clear()
    bucket.forget()
    yield
    redis.client.cache_clear()
    bucket.forget()


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    with channel_server() as running:
        yield running


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running
