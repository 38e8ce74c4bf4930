"""/api/v1/admissions: decisions are answers, what waits can be looked after, and nobody is told a secret."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra import adminkey, redis
from app.limits import keys
from tests.admission.limited import CATALOG
from tests.health.catalogs import use

ADMISSIONS = "/api/v1/admissions"
ANSWER_KEYS = [
    "decision",
    "id",
    "operation",
    "account",
    "reason",
    "detail",
    "until",
    "position",
    "deferred_id",
    "job_id",
]
ANSWER_KEYS += ["replayed", "fall_back", "limits"]
LIMIT_KEYS = [
    "name",
    "subject",
    "currency",
    "used",
    "capacity",
    "ceiling",
    "percentage",
    "cost",
    "resets_at",
    "room_at",
]


@pytest.fixture
def api(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The API under a catalogue with limits, with counters that are whole."""
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    return client


def ask(api: TestClient, operation: str = "reply", **more: Any) -> Any:
    return api.post(ADMISSIONS, json={"operation": operation, "account": "acme", **more})


def fill(api: TestClient) -> None:
    """Use all of the posts of the month."""
    for _ in range(2):
        assert ask(api, "post").json()["decision"] == "allow"


def test_what_may_go_on_is_told_with_every_figure(api: TestClient) -> None:
    answer = ask(api, id="reply-1")
    assert answer.status_code == 200
    assert "Retry-After" not in answer.headers
    document = answer.json()
    assert list(document) == ANSWER_KEYS
    assert (document["decision"], document["reason"], document["id"]) == ("allow", "room", "reply-1")
    assert [list(limit) for limit in document["limits"]] == [LIMIT_KEYS, LIMIT_KEYS]
    assert [(limit["name"], limit["used"]) for limit in document["limits"]] == [("api", 1), ("api_rolling", 1)]


def test_a_denial_is_a_200_that_says_when_to_ask_again(api: TestClient) -> None:
    fill(api)
    denied = ask(api, "post", on_wait="deny")
    assert denied.status_code == 200
    document = denied.json()
    assert (document["decision"], document["reason"]) == ("deny", "limit")
    left = (datetime.fromisoformat(document["until"]) - clock.now()).total_seconds()
    assert abs(int(denied.headers["Retry-After"]) - math.ceil(left)) <= 1


def test_what_must_wait_is_kept_listed_shown_and_cancelled(api: TestClient) -> None:
    fill(api)
    waits = ask(api, "post", id="post-3", tenant="t1").json()
    assert (waits["decision"], waits["position"]) == ("wait", 1)
    shown = api.get(f"{ADMISSIONS}/{waits['deferred_id']}").json()
    assert (shown["state"], shown["position"], shown["account"], shown["request_id"]) == (
        "waiting", 1, "instagram/acme", "post-3",
    )  # fmt: skip
    assert "posts" in shown["reason"]
    assert (shown["job_id"], shown["caller"], shown["tenant"]) == (None, "admin", "t1")
    cancelled = api.post(f"{ADMISSIONS}/{waits['deferred_id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert api.post(f"{ADMISSIONS}/{waits['deferred_id']}/cancel").status_code == 409
    assert ask(api, "post", id="post-3").json()["reason"] == "ended"


def test_lists_are_filtered_and_paged(api: TestClient) -> None:
    fill(api)
    for number in range(3):
        ask(api, "post", id=f"a{number}")
    first = api.get(ADMISSIONS, params={"limit": 2, "state": "waiting"}).json()
    rest = api.get(ADMISSIONS, params={"limit": 2, "cursor": first["next"]}).json()
    assert [item["request_id"] for item in first["operations"] + rest["operations"]] == ["a2", "a1", "a0"]
    assert rest["next"] is None
    for nothing in ({"account": "instagram/other"}, {"operation": "reply"}, {"tenant": "t"}, {"caller": "bob"}):
        assert api.get(ADMISSIONS, params=nothing).json()["operations"] == []
    assert len(api.get(ADMISSIONS, params={"account": "instagram/acme"}).json()["operations"]) == 3
    assert api.get(ADMISSIONS, params={"state": "odd"}).status_code == 422


def test_an_operation_that_never_waited_is_not_found(api: TestClient) -> None:
    assert api.get(f"{ADMISSIONS}/{uuid4()}").status_code == 404
    assert api.post(f"{ADMISSIONS}/{uuid4()}/cancel").status_code == 404


def test_of_a_batch_good_ones_are_decided_in_order_and_bad_ones_named(api: TestClient) -> None:
    given = [
        {"operation": "post", "account": "acme", "id": "1"},
        {"operation": "pots", "account": "acme"},
        {"operation": "post", "account": "acme", "id": "1"},
        {"operation": "post", "account": ""},
        {"operation": "post", "account": "acme", "on_wait": "deny"},
        {"operation": "post", "account": "acme", "on_wait": "deny"},
        "nonsense",
    ]
    answer = api.post(f"{ADMISSIONS}/batch", json={"admissions": given})
    assert answer.status_code == 200
    found = answer.json()
    assert [(item["index"], item["decision"], item["reason"]) for item in found["decided"]] == [
        (0, "allow", "room"),
        (2, "allow", "known"),
        (4, "allow", "room"),
        (5, "deny", "limit"),
    ]
    assert [item["index"] for item in found["rejected"]] == [1, 3, 6]
    assert [error["field"] for item in found["rejected"][:2] for error in item["errors"]] == ["operation", "account"]
    assert 'did you mean "post"' in found["rejected"][0]["errors"][0]["message"]


@pytest.mark.parametrize("body", [[], {}, {"admissions": {}}, {"admissions": [], "more": 1}])
def test_a_batch_of_another_form_is_refused(api: TestClient, body: Any) -> None:
    refused = api.post(f"{ADMISSIONS}/batch", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "admissions")


def test_a_batch_is_bounded(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_BATCH_MAX_JOBS", "2")
    settings.cache_clear()
    one = {"operation": "reply", "account": "acme"}
    assert api.post(f"{ADMISSIONS}/batch", json={"admissions": [one] * 2}).status_code == 200
    refused = api.post(f"{ADMISSIONS}/batch", json={"admissions": [one] * 3})
    assert "SMM_BATCH_MAX_JOBS" in refused.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"operation": "rply", "account": "a"}, ["operation"]),
        ({"operation": "reply"}, ["account"]),
        ({"operation": "reply", "account": "a\u2028b"}, ["account"]),
        ({"operation": "draft", "account": "a"}, ["tenant", "estimate"]),
        ({"operation": "draft", "account": "a", "tenant": "t", "estimate": -1}, ["estimate"]),
        ({"operation": "draft", "account": "a", "tenant": "t", "estimate": 1e300}, ["estimate"]),
        ({"operation": "reply", "account": "a", "on_wait": "maybe", "odd": 1}, ["on_wait", "odd"]),
    ],
)
def test_what_is_wrong_is_named(api: TestClient, body: dict[str, Any], fields: list[str]) -> None:
    refused = api.post(ADMISSIONS, json=body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in refused.json()["errors"]] == fields


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"operation": NaN}'])
def test_what_is_no_json_is_refused(api: TestClient, raw: bytes) -> None:
    assert api.post(ADMISSIONS, content=raw).status_code == 422


def test_without_postgres_what_has_room_goes_on_and_what_must_wait_is_503(
    redis_server: str, home: Path, make_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/none")
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    with TestClient(make_app()) as api:
        api.headers["Authorization"] = f"Bearer {adminkey.load_or_create(settings())}"
        fill(api)
        waits = ask(api, "post")
        assert (waits.status_code, ask(api, "post", on_wait="deny").status_code) == (503, 200)
        assert int(waits.headers["Retry-After"]) >= 1


def test_the_platforms_figures_raise_the_counters(api: TestClient) -> None:
    ask(api, id="1")
    usage = '{"call_count": 50, "total_cputime": 1, "total_time": 1}'
    done = api.post(
        f"{ADMISSIONS}/outcomes",
        json={"id": "1", "operation": "reply", "account": "acme", "status": 200, "headers": {"X-App-Usage": usage}},
    )
    assert done.status_code == 200
    assert done.json()["corrected"] == ["api_rolling"]
    assert ask(api).json()["limits"][1]["used"] == 7


def test_of_many_outcomes_bad_ones_are_named(api: TestClient) -> None:
    ask(api, id="1")
    given = [{"operation": "odd"}, {"id": "1", "operation": "reply", "account": "acme", "refund": True}]
    found = api.post(f"{ADMISSIONS}/outcomes", json={"outcomes": given}).json()
    assert [(item["index"], item["refunded"]) for item in found["reported"]] == [(1, True)]
    assert [item["index"] for item in found["rejected"]] == [0]
    assert ask(api).json()["limits"][0]["used"] == 1
    assert api.post(f"{ADMISSIONS}/outcomes", json={"outcomes": 1}).status_code == 422
    assert api.post(f"{ADMISSIONS}/outcomes", json={"operation": "reply"}).status_code == 422


def test_strangers_are_told_nothing(stranger: TestClient) -> None:
    for method, path in (
        ("POST", ""), ("POST", "/batch"), ("POST", "/outcomes"), ("GET", ""), ("GET", f"/{uuid4()}"),
        ("POST", f"/{uuid4()}/cancel"),
    ):  # fmt: skip
        assert stranger.request(method, f"{ADMISSIONS}{path}", content=b"{").status_code == 401


def test_the_reference_describes_the_bodies(stranger: TestClient) -> None:
    document = stranger.get("/openapi.json").json()
    assert {"AdmissionRequest", "AdmissionBatch", "AdmissionOutcome"} <= document["components"]["schemas"].keys()
    body = document["paths"][ADMISSIONS]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/AdmissionRequest"}
