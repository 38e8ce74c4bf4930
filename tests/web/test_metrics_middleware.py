"""HTTP requests are counted by route."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.infra.metrics.instruments import Key, deltas
from app.web.metrics_middleware import API, MetricsMiddleware


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    deltas().restart()
    yield
    deltas().restart()


def counted(*requests: tuple[str, str]) -> dict[Key, float]:
    """What is counted when a small application is asked for each (method, path)."""
    app = FastAPI()
    app.add_middleware(MetricsMiddleware)

    @app.get("/things/{name}")
    def thing(name: int) -> int:
        return name

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("broken")

    api = APIRouter(prefix=API)
    inner = APIRouter(prefix="/jobs")

    @inner.get("/{job}")
    def job(job: str) -> str:
        return job

    api.include_router(inner)
    app.include_router(api)

    async def ask() -> None:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for method, path in requests:
                await client.request(method, path)

    asyncio.run(ask())
    batch = deltas().take()
    assert batch is not None
    return dict(batch.amounts)


def answers(*requests: tuple[str, str]) -> dict[tuple[str, ...], float]:
    """Requests by method, route and status."""
    amounts = counted(*requests)
    return {labels: amount for (name, labels, _), amount in amounts.items() if name == "smm_http_requests_total"}


def test_ids_in_paths_do_not_make_new_series() -> None:
    assert answers(("GET", "/things/1"), ("GET", "/things/2")) == {("GET", "/things/{name}", "200"): 2}


def test_a_route_of_the_api_is_named_with_its_whole_path() -> None:
    assert answers(("GET", "/api/v1/jobs/7")) == {("GET", "/api/v1/jobs/{job}", "200"): 1}


def test_a_scanner_of_paths_and_methods_makes_one_series() -> None:
    found = answers(("GET", "/a"), ("GET", "/b"), ("BREW", "/pot"), ("STIR", "/pot"))
    assert found == {("GET", "unmatched", "404"): 2, ("other", "unmatched", "404"): 2}


def test_refused_and_crashed_requests_are_counted_as_such() -> None:
    found = answers(("GET", "/things/none"), ("POST", "/things/1"), ("GET", "/broken"))
    assert found == {
        ("GET", "/things/{name}", "422"): 1,
        ("POST", "/things/{name}", "405"): 1,
        ("GET", "/broken", "500"): 1,
    }


def test_the_time_of_every_answer_is_observed() -> None:
    found = counted(("GET", "/things/1"), ("GET", "/things/2"))
    seconds = {part: value for (name, _, part), value in found.items() if name == "smm_http_request_duration_seconds"}
    assert 0 < seconds.pop("sum") < 10
    assert sum(seconds.values()) == 2
