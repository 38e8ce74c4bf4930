"""A small Valkey of its own, which tests may fill to the brim."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.config import Settings
from app.infra import embedded
from app.infra.redis import connect

SMALL_MB = 32


@pytest.fixture(scope="session")
def small_server(open_directory: Path) -> Iterator[str]:
    """The URL of a Valkey with 32 MB that refuses writes when they are full."""
    home = open_directory / f"small-{secrets.token_hex(4)}"
    elsewhere = SecretStr("postgresql://elsewhere/none")
    config = Settings(home=home, database_url=elsewhere, redis_url=None, redis_port=0, redis_maxmemory_mb=SMALL_MB)
    with embedded.started(config) as urls:
        yield urls["redis"]
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def small(small_server: str) -> Iterator[Any]:
    """A client of it that speaks bytes; the server is empty, and as it was when the test began."""
    client = connect(small_server, timeout_seconds=5, decode=False)
    client.flushall()
    yield client
    client.config_set("maxmemory", SMALL_MB * 1024**2)
    client.config_set("maxmemory-policy", "noeviction")
    client.flushall()
    client.close()
