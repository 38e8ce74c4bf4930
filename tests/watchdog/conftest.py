"""A port that never answers, a small Valkey, the watchdog as a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.health import local
from tests.recovery.actions.conftest import small, small_server
from tests.watchdog.processes import start

__all__ = ["silent_port", "small", "small_server", "start"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    with local.silent_port() as port:
        yield port
