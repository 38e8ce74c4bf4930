"""The real application over the session's real servers, called through Starlette's client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.config import settings
from app.infra import adminkey
from app.web import main
from tests.web.assembled import Assembled


@pytest.fixture
def make_app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], FastAPI]:
    """`create_app` with the tests' own tasks published; nothing is read before a test asks for it."""
    monkeypatch.setenv("SMM_TASK_MODULES", '["tests.web.tasks_of_tests"]')
    monkeypatch.setattr(main, "FastAPI", Assembled)
    settings.cache_clear()
    return partial(main.create_app, warmed=False)


@pytest.fixture
def stranger(database: str, redis_server: str, make_app: Callable[[], FastAPI]) -> Iterator[TestClient]:
    """A client without a key."""
    with TestClient(make_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A client with the admin key."""
    stranger.headers["Authorization"] = f"Bearer {adminkey.load_or_create(settings())}"
    return stranger
