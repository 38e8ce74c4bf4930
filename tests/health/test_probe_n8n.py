"""The n8n probe against servers that answer as the versions of n8n do."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from app.health.probes import n8n
from app.health.probing import Outcome, Target
from tests.fixtures.answering import HANG, Answering, Asked, Reply, Route, answering

KEY = "s3cret-key"


def probe(server: Answering, *, timeout: float = 2, **options: object) -> Outcome:
    target = Target(name="n8n", timeout_seconds=timeout, home=Path("/"))
    return n8n.probe(target, n8n.Options.model_validate({"url": server.url + "/", **options}))


def pages(items: list[dict[str, object]]) -> Route:
    """A list by cursor, as n8n's public API gives it."""

    def page(asked: Asked) -> Reply:
        if asked.headers.get("X-N8N-API-KEY") != KEY:
            return Reply(401, {"message": "unauthorized"})
        begin, size = int(asked.query.get("cursor", 0)), int(asked.query["limit"])
        end = begin + size
        return Reply(body={"data": items[begin:end], "nextCursor": str(end) if end < len(items) else None})

    return page


def executions(*ages_minutes: float) -> list[dict[str, object]]:
    now = clock.now()
    return [
        {"id": str(place), "status": "error", "stoppedAt": clock.iso(now - timedelta(minutes=age))}
        for place, age in enumerate(ages_minutes)
    ]


def server_with(workflows: list[dict[str, object]], failed: list[dict[str, object]]) -> dict[str, Route]:
    return {
        "GET /healthz": Reply(body={"status": "ok"}),
        "GET /healthz/readiness": Reply(body={"status": "ok"}),
        "GET /api/v1/workflows": pages(workflows),
        "GET /api/v1/executions": pages(failed),
    }


WORKFLOWS: list[dict[str, object]] = [{"id": str(number), "active": number % 3 == 0} for number in range(120)]


def test_without_a_key_its_health_is_all_that_is_asked():
    with answering(server_with(WORKFLOWS, [])) as server:
        outcome = probe(server)
    assert (outcome.error, outcome.degraded, outcome.readings) == (None, None, {})
    assert server.paths == ["GET /healthz", "GET /healthz/readiness"]
    assert 0 < outcome.latency_ms < 2000


def test_with_a_key_workflows_and_failures_are_counted_page_by_page():
    with answering(server_with(WORKFLOWS, executions(1, 2, 59, 61, 300))) as server:
        outcome = probe(server, api_key=KEY)
    assert (outcome.error, outcome.degraded) == (None, None)
    assert outcome.readings == {"workflows": 120, "active": 40, "failed_executions": 3}
    assert server.paths.count("GET /api/v1/workflows") == 3
    assert next(asked for asked in server.seen if asked.path.endswith("executions")).query["status"] == "error"


def test_counting_is_bounded():
    with answering(server_with(WORKFLOWS, executions(*[1] * 500))) as server:
        outcome = probe(server, api_key=KEY, max_workflows=60, max_executions=150)
    assert (outcome.readings["workflows"], outcome.readings["failed_executions"]) == (60, 150)
    assert server.paths.count("GET /api/v1/workflows") == 2
    assert server.paths.count("GET /api/v1/executions") == 2


def test_a_cursor_that_goes_in_a_circle_ends():
    circle = Reply(body={"data": [{"active": True}], "nextCursor": "again"})
    with answering({**server_with([], []), "GET /api/v1/workflows": circle}) as server:
        outcome = probe(server, api_key=KEY)
    assert outcome.readings["workflows"] == 2


def test_a_refused_key_degrades_and_is_not_told():
    with answering(server_with(WORKFLOWS, [])) as server:
        outcome = probe(server, api_key="an0ther-key")
    assert outcome.error is None
    assert outcome.degraded == "the API key is refused"
    assert "an0ther-key" not in repr(outcome)


def test_a_version_without_readiness_or_api_is_up_all_the_same():
    old: dict[str, Route] = {"GET /healthz": Reply(body={"status": "ok"})}
    with answering(old) as server:
        outcome = probe(server, api_key=KEY)
    assert (outcome.error, outcome.degraded, outcome.readings) == (None, None, {})
    page = Reply(body=b"<!DOCTYPE html><title>n8n</title>")
    with answering(old | dict.fromkeys(("GET /healthz/readiness", "GET /api/v1/workflows"), page)) as server:
        outcome = probe(server, api_key=KEY)
    assert (outcome.error, outcome.degraded, outcome.readings) == (None, None, {})


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("GET /healthz", 500, "status"), ("GET /healthz", 404, "status"), ("GET /healthz/readiness", 503, "not_ready")],
)
def test_a_server_that_is_not_healthy_or_not_ready_fails(path: str, status: int, code: str):
    with answering({**server_with([], []), path: Reply(status)}) as server:
        assert probe(server).error.code == code


def test_lists_that_do_not_come_in_time_degrade():
    with answering({**server_with(WORKFLOWS, []), "GET /api/v1/executions": HANG}) as server:
        started = time.monotonic()
        outcome = probe(server, timeout=0.5, api_key=KEY)
        assert time.monotonic() - started < 1
    assert outcome.error is None
    assert outcome.degraded == "healthy, but its workflows cannot be read: no answer within 0.5 s"
    assert outcome.readings == {"workflows": 120, "active": 40}


@pytest.mark.parametrize("key", ["", "new\nline", "ключ"])
def test_a_key_that_cannot_be_sent_is_refused_in_the_catalogue(key: str):
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        n8n.Options.model_validate({"url": "http://127.0.0.1", "api_key": key})
    assert not key or key not in str(refused.value)
