"""/api/v1/costs/calls: each call counts once, and whoever sends a bad one is told what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra import adminkey, redis
from app.limits import keys, spending
from tests.costs.sent import batch, body
from tests.fixtures.servers import forget
from tests.health.catalogs import tcp, use

CALLS = "/api/v1/costs/calls"
LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def api(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The API with counters that are whole."""
    use(monkeypatch, home, tcp("qdrant"))
    redis.client().set(keys.EPOCH, "whole:1")
    return client


def post(api: TestClient, *calls: object, **more: Any) -> Any:
    return api.post(CALLS, content=batch(calls), **more)


def test_calls_are_accepted_once_and_bad_ones_are_named(api: TestClient) -> None:
    old = body(clock.now() - timedelta(days=31))
    known = body()
    assert post(api, known).json() == {"accepted": 1, "duplicates": 0, "rejected": [], "set_aside": []}
    answer = post(api, body(id="x"), body(), known, old, body(cost=-1))
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 1,
        "duplicates": 1,
        "rejected": [
            {"index": 0, "errors": [{"field": "id", "message": "must be a UUIDv7, in its usual form with dashes"}]},
            {"index": 4, "errors": [{"field": "cost", "message": "Input should be greater than or equal to 0"}]},
        ],
        "set_aside": [{"index": 3, "reason": "too_old"}],
    }
    assert [entry.kind for entry in spending.entries(10)] == ["calls", "calls", "aside"]


def test_one_call_and_calls_one_a_line_are_taken_too(api: TestClient) -> None:
    assert api.post(CALLS, json=body()).json()["accepted"] == 1
    lines = "\n".join(json.dumps(body()) for _ in range(3))
    assert api.post(CALLS, content=lines, headers=LINES).json()["accepted"] == 3


def test_a_body_without_one_good_call_is_refused_with_the_same_report(api: TestClient) -> None:
    answer = post(api, body(model=""), 7)
    assert answer.status_code == 422
    assert [one["index"] for one in answer.json()["rejected"]] == [0, 1]
    broken = api.post(CALLS, content=b"{")
    assert broken.status_code == 422
    assert broken.json()["errors"][0]["field"] == "body"
    assert spending.backlog().entries == 0


def test_a_full_batch_of_long_calls_is_not_too_large_a_body(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_COST_BATCH_MAX", "1")
    settings.cache_clear()
    padding = " " * settings().body_max_bytes
    assert api.post(CALLS, content=json.dumps(body()) + padding).status_code == 202
    assert api.post("/api/v1/jobs", content="{}" + padding).status_code == 413
    assert post(api, body(), body()).status_code == 422


def test_a_call_of_a_stranger_is_not_even_read(api: TestClient) -> None:
    del api.headers["Authorization"]
    assert post(api, body()).status_code == 401
    assert spending.backlog().entries == 0


def test_calls_have_to_be_sent_again_while_the_stream_is_full(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_COST_STREAM_MB", "1")
    settings.cache_clear()
    redis.client().set(keys.CALLS_BYTES, 1_048_576)
    answer = post(api, body())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    redis.client().delete(keys.CALLS_BYTES)
    assert post(api, body()).status_code == 202


def test_calls_are_accepted_without_postgres_and_not_without_redis(
    make_app: Callable[[], FastAPI], home: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, tcp("qdrant"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    forget()
    with TestClient(make_app(), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {adminkey.load_or_create(settings())}"
        redis.client().set(keys.EPOCH, "whole:1")
        old = body(clock.now() - timedelta(days=31))
        assert post(client, body(), old).json()["accepted"] == 1
        assert [entry.kind for entry in spending.entries(10)] == ["calls", "aside"]
        assert post(client, body(), params={"durable": True}).status_code == 503
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
        forget()
        assert post(client, body()).status_code == 503


def test_the_openapi_document_describes_a_call(stranger: TestClient) -> None:
    document = stranger.get("/openapi.json").json()
    content = document["paths"][CALLS]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-ndjson"}
    call = document["components"]["schemas"]["LlmCall"]
    assert set(call["required"]) == {"id", "provider", "model"}
    assert [name for name, given in call["properties"].items() if not given.get("description")] == []
