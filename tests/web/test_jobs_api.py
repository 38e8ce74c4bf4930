"""Enqueueing by HTTP: durable, idempotent, and clear about what is wrong."""

from __future__ import annotations

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg2
import pytest
from starlette.testclient import TestClient

from app.infra.db import read_only, unit_of_work
from app.jobs import admin
from app.jobs.core import JobState
from app.web.api import jobs

ECHO = {"task": "tests.web.echo", "kwargs": {"text": "hi"}}


def test_a_job_is_durable_before_it_is_answered(client: TestClient) -> None:
    answer = client.post("/api/v1/jobs", json=ECHO)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"
    shown = client.get(answer.headers["location"]).json()
    assert shown["task"] == "tests.web.echo"
    assert shown["kwargs"] == {"text": "hi", "times": 1}
    assert shown["caller"] == "admin"
    assert shown["state"] == "rung"
    assert shown["request_id"] == answer.headers["x-request-id"]


def test_the_body_is_read_as_json_whatever_its_content_type_says(client: TestClient) -> None:
    answer = client.post(
        "/api/v1/jobs", content=json.dumps(ECHO), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 202


def test_the_same_key_and_body_is_answered_the_same(client: TestClient) -> None:
    key = {"Idempotency-Key": "order-7"}
    first = client.post("/api/v1/jobs", json=ECHO, headers=key)
    again = client.post("/api/v1/jobs", content=json.dumps(ECHO, indent=4), headers=key)
    assert again.status_code == first.status_code == 202
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(client: TestClient) -> None:
    key = {"Idempotency-Key": "order-7"}
    client.post("/api/v1/jobs", json=ECHO, headers=key)
    other = client.post("/api/v1/jobs", json={"task": "tests.web.echo", "kwargs": {"text": "other"}}, headers=key)
    assert other.status_code == 422
    assert "another body" in other.json()["errors"][0]["message"]
    assert len(client.get("/api/v1/jobs").json()["jobs"]) == 1


def test_posts_with_one_key_at_the_same_time_make_one_job(client: TestClient) -> None:
    def post(_: int) -> str:
        answer = client.post("/api/v1/jobs", json=ECHO, headers={"Idempotency-Key": "race"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(post, range(16)))
    assert len(ids) == 1
    assert len(client.get("/api/v1/jobs").json()["jobs"]) == 1


def test_a_refused_request_does_not_use_its_key_up(client: TestClient) -> None:
    key = {"Idempotency-Key": "order-8"}
    assert client.post("/api/v1/jobs", json={"task": "no.such.task"}, headers=key).status_code == 422
    assert client.post("/api/v1/jobs", json=ECHO, headers=key).status_code == 202


def test_a_filter_that_takes_too_long_is_refused_with_advice(
    client: TestClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LIST_SECONDS", 0.2)
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.cursor().execute("LOCK TABLE job_history IN ACCESS EXCLUSIVE MODE")
        rare = client.get("/api/v1/jobs", params={"key": "rare"})
        assert rare.status_code == 422
        assert rare.json()["errors"][0]["field"] == "query.key"
        assert "narrow the filter" in rare.json()["errors"][0]["message"]
        assert client.get("/api/v1/jobs").status_code == 503
    assert client.get("/api/v1/jobs", params={"key": "rare"}).json()["jobs"] == []


@pytest.mark.parametrize("key", ["", " ", "with space", "x" * 256, "ümlaut".encode()])
def test_a_senseless_idempotency_key_is_refused(client: TestClient, key: str | bytes) -> None:
    answer = client.post("/api/v1/jobs", json=ECHO, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "header.idempotency-key"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"task": "no.such.task"}, "task"),
        ({"task": "tests.web.private"}, "task"),
        ({"kwargs": {}}, "task"),
        ({"task": "tests.web.echo", "kwargs": {}}, "kwargs.text"),
        ({"task": "tests.web.echo", "kwargs": {"text": "x", "times": 0}}, "kwargs.times"),
        ({"task": "tests.web.echo", "kwargs": {"text": "x", "color": "red"}}, "kwargs.color"),
        ({"task": "tests.web.echo", "kwargs": ["x"]}, "kwargs"),
        ({**ECHO, "queue": "tick"}, "queue"),
        ({**ECHO, "priority": "urgent"}, "priority"),
        ({**ECHO, "not_before": "2026-11-21T09:00:00"}, "not_before"),
        ({**ECHO, "not_before": "tomorrow"}, "not_before"),
        ({**ECHO, "not_before": "0001-01-01T00:00:00+14:00"}, "not_before"),
        ({**ECHO, "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({**ECHO, "callback": {"url": "ftp://example.com/"}}, "callback.url"),
        ({**ECHO, "key": ""}, "key"),
        ({**ECHO, "colour": "red"}, "colour"),
        ([ECHO], "body"),
        ("text", "body"),
        (None, "body"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(client: TestClient, body: object, field: str) -> None:
    answer = client.post("/api/v1/jobs", content=json.dumps(body))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert client.get("/api/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"{",
        b'{"task": "x",}',
        b"\xff\xfe{}",
        b'{"task": NaN}',
        b'{"task": 1e999}',
        b'{"task": 1' + b"0" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_is_refused_without_being_quoted(client: TestClient, raw: bytes) -> None:
    answer = client.post("/api/v1/jobs", content=raw)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == ["body"]
    assert len(answer.content) < 600


def test_values_sent_are_never_in_the_error(client: TestClient) -> None:
    secret = "EAAB-very-secret-value"
    answer = client.post("/api/v1/jobs", json={"task": "tests.web.echo", "kwargs": {"text": [secret], "times": secret}})
    assert answer.status_code == 422
    assert secret not in answer.text


@pytest.mark.parametrize("text", ["nul \x00 inside", "\ud800 alone"])
def test_text_that_postgres_cannot_hold_does_not_fail(client: TestClient, text: str) -> None:
    body = json.dumps({"task": "tests.web.echo", "kwargs": {"text": text}, "key": text})
    answer = client.post("/api/v1/jobs", content=body)
    assert answer.status_code in (202, 422), answer.text


def test_a_batch_keeps_its_good_rows_and_reports_its_bad_ones(client: TestClient) -> None:
    batch = [ECHO, {"task": "no.such.task"}, ECHO, 7, {"task": "tests.web.echo", "kwargs": {"text": 5}}]
    answer = client.post("/api/v1/jobs/batch", json={"jobs": batch})
    assert answer.status_code == 202
    body = answer.json()
    assert [item["index"] for item in body["accepted"]] == [0, 2]
    assert [(item["index"], item["errors"][0]["field"]) for item in body["rejected"]] == [
        (1, "task"),
        (3, "body"),
        (4, "kwargs.text"),
    ]
    stored = {job["id"] for job in client.get("/api/v1/jobs").json()["jobs"]}
    assert stored == {item["id"] for item in body["accepted"]}


@pytest.mark.parametrize("body", [[], {}, {"jobs": {}}, {"jobs": [], "more": 1}, 3])
def test_a_batch_of_another_shape_is_refused(client: TestClient, body: object) -> None:
    answer = client.post("/api/v1/jobs/batch", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "jobs"


def test_a_batch_has_a_largest_size(client: TestClient) -> None:
    answer = client.post("/api/v1/jobs/batch", json={"jobs": [ECHO] * 1001})
    assert answer.status_code == 422
    assert "1000" in answer.json()["errors"][0]["message"]


def test_a_batch_does_not_take_an_idempotency_key_silently(client: TestClient) -> None:
    answer = client.post("/api/v1/jobs/batch", json={"jobs": [ECHO]}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "header.idempotency-key"


def test_pages_show_every_job_once_newest_first(client: TestClient) -> None:
    batch = client.post("/api/v1/jobs/batch", json={"jobs": [ECHO] * 7}).json()["accepted"]
    seen: list[str] = []
    parameters: dict[str, str | int] = {"limit": 3}
    while True:
        page = client.get("/api/v1/jobs", params=parameters).json()
        seen += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        parameters["cursor"] = page["next"]
    assert seen == sorted((item["id"] for item in batch), reverse=True)


def test_lists_are_filtered(client: TestClient) -> None:
    client.post("/api/v1/jobs", json=ECHO)
    client.post("/api/v1/jobs", json={**ECHO, "queue": "bulk", "key": "k1", "not_before": "2999-01-01T00:00:00Z"})
    for parameters in ({"queue": "bulk"}, {"key": "k1"}, {"state": "scheduled"}):
        found = client.get("/api/v1/jobs", params=parameters).json()["jobs"]
        assert [job["key"] for job in found] == ["k1"]
    assert len(client.get("/api/v1/jobs", params={"task": "tests.web.echo", "caller": "admin"}).json()["jobs"]) == 2
    assert client.get("/api/v1/jobs", params={"caller": "someone"}).json()["jobs"] == []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"limit": 0}, "query.limit"),
        ({"limit": 201}, "query.limit"),
        ({"cursor": "x"}, "query.cursor"),
        ({"state": "lost"}, "query.state"),
        ({"key": "a\x00b"}, "query"),
    ],
)
def test_a_bad_filter_is_named(client: TestClient, parameters: dict[str, str | int], field: str) -> None:
    answer = client.get("/api/v1/jobs", params=parameters)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_an_unknown_job_is_not_found(client: TestClient) -> None:
    for answer in (client.get(f"/api/v1/jobs/{uuid4()}"), client.post(f"/api/v1/jobs/{uuid4()}/retry")):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/api/v1/jobs/x").status_code == 422


def test_a_cancelled_job_can_be_retried_under_its_id(client: TestClient) -> None:
    job = client.post("/api/v1/jobs", json=ECHO).json()["id"]
    assert client.post(f"/api/v1/jobs/{job}/retry").status_code == 409
    assert client.post(f"/api/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    again = client.post(f"/api/v1/jobs/{job}/cancel")
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
    revived = client.post(f"/api/v1/jobs/{job}/retry").json()
    assert (revived["id"], revived["state"]) == (job, "rung")


def test_a_paused_queue_starts_nothing_until_it_is_resumed(client: TestClient) -> None:
    paused = client.post("/api/v1/queues/default/pause", json={"reason": "upkeep"})
    assert paused.json() == {"queue": "default", "paused": True}
    shown = {row["name"]: row for row in client.get("/api/v1/queues").json()["queues"]}
    assert shown["default"]["paused"]["reason"] == "upkeep"
    assert shown["default"]["paused"]["paused_by"] == "admin"
    job = client.post("/api/v1/jobs", json=ECHO).json()["id"]
    assert client.get(f"/api/v1/jobs/{job}").json()["state"] == "scheduled"
    assert client.post("/api/v1/queues/default/resume").status_code == 200
    with read_only() as session:
        assert admin.paused_queues(session) == {}


def test_pausing_what_does_not_exist_is_not_found(client: TestClient) -> None:
    assert client.post("/api/v1/queues/nope/pause").status_code == 404
    assert client.post("/api/v1/schedule/nope/pause").status_code == 404
    assert client.post("/api/v1/schedule/nope/run").status_code == 404


def test_a_pause_with_a_senseless_body_is_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/queues/default/pause", json={"because": "x"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "because"


def test_queues_show_depth_and_jobs_by_state(client: TestClient) -> None:
    client.post("/api/v1/jobs/batch", json={"jobs": [ECHO] * 4})
    document = client.get("/api/v1/queues").json()
    default = next(row for row in document["queues"] if row["name"] == "default")
    assert default["depth"] == 4
    assert default["oldest_seconds"] is not None
    assert default["jobs"] == {"scheduled": 0, "rung": 4, "running": 0}
    assert document["unacked"] == 0
    assert document["problem"] is None


def test_the_timetable_is_listed_paused_and_resumed(client: TestClient) -> None:
    assert client.post("/api/v1/schedule/job-relay/pause", json={"reason": "x"}).json()["paused"] is True
    rows = {row["name"]: row for row in client.get("/api/v1/schedule").json()["schedule"]}
    assert rows["job-relay"]["paused_by"] == "admin"
    assert rows["job-relay"]["paused_at"].endswith("Z")
    assert rows["retention"]["timing"] == "daily at 03:10 UTC"
    assert client.post("/api/v1/schedule/job-relay/resume").json()["paused"] is False


def test_the_contract_lists_published_tasks_only(client: TestClient) -> None:
    tasks = {task["name"]: task for task in client.get("/api/v1/contract").json()["tasks"]}
    assert "tests.web.private" not in tasks
    echo = tasks["tests.web.echo"]
    assert echo["kwargs"]["required"] == ["text"]
    assert echo["kwargs"]["additionalProperties"] is False
    assert (echo["queue"], echo["allowed_queues"], echo["max_attempts"]) == ("default", ["bulk"], 3)


def test_the_timeline_is_paged_and_filtered(client: TestClient) -> None:
    from app import signals

    with unit_of_work() as uow:
        for number in range(3):
            signals.record(uow, "jobs.dead", f"task:t{number}", facts={"n": number})
    first = client.get("/api/v1/timeline", params={"limit": 2}).json()
    assert [item["subject"] for item in first["signals"]] == ["task:t2", "task:t1"]
    rest = client.get("/api/v1/timeline", params={"limit": 2, "cursor": first["next"]}).json()
    assert [item["subject"] for item in rest["signals"]] == ["task:t0"]
    assert rest["next"] is None
    assert len(client.get("/api/v1/timeline", params={"kind": "jobs.*"}).json()["signals"]) == 3
    assert client.get("/api/v1/timeline", params={"kind": "health.*"}).json()["signals"] == []
    assert len(client.get("/api/v1/timeline", params={"since": "0001-01-01T00:00:00Z"}).json()["signals"]) == 3
    assert client.get("/api/v1/timeline", params={"since": "yesterday"}).status_code == 422


def test_jobs_can_be_enqueued_while_the_broker_is_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.config import settings
    from app.infra import queue, redis

    monkeypatch.setenv("REDIS_URL", "redis://:x@127.0.0.1:9/0")
    settings.cache_clear()
    redis.client.cache_clear()
    queue.after_fork()
    try:
        job = client.post("/api/v1/jobs", json=ECHO)
        assert job.status_code == 202
        assert client.get(f"/api/v1/jobs/{job.json()['id']}").json()["state"] == JobState.RUNG
        document = client.get("/api/v1/queues").json()
        assert document["problem"] is not None
        assert all(row["depth"] is None for row in document["queues"])
    finally:
        queue.after_fork()
