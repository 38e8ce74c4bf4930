"""The real application over the session's real servers, called through Starlette's client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from app.config import settings
from app.infra import adminkey
from app.web import main


class Assembled(FastAPI):
    """Keeps what it found out about each router for the next one: that costs more than most tests do.

    Tests of `create_app` itself, and every process of the product, do without.
    """

    known: ClassVar[list[tuple[APIRouter, list[BaseRoute]]]] = []

    def include_router(self, router: APIRouter, **how: Any) -> None:
        routes = next((routes for known, routes in self.known if known is router), None)
        if routes is None:
            before = len(self.router.routes)
            super().include_router(router, **how)
            self.known.append((router, self.router.routes[before:]))
        else:
            super().include_router(APIRouter(lifespan=router.lifespan_context))  # only what starts and ends with it
            self.router.routes.extend(routes)


@pytest.fixture
def make_app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], FastAPI]:
    """`create_app` with the tests' own tasks published."""
    monkeypatch.setenv("SMM_TASK_MODULES", '["tests.web.tasks_of_tests"]')
    monkeypatch.setattr(main, "FastAPI", Assembled)
    settings.cache_clear()
    return main.create_app


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
