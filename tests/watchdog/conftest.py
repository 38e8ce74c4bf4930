"""A port that never answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.health import local


@pytest.fixture
def silent_port() -> Iterator[int]:
    with local.silent_port() as port:
        yield port
