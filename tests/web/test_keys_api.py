"""Keys over HTTP: admins make them, services may do what their scopes say, and nothing else."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.access.scopes import ANY_KEY, ENDPOINTS
from app.config import settings
from app.infra import db
from app.infra.db import unit_of_work
from tests.health.catalogs import tcp, use

ECHO = {"task": "tests.web.echo", "kwargs": {"text": "hello"}}


@pytest.fixture(autouse=True)
def unlimited(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask as often as you like: the catalogue has no [http.default]."""
    use(monkeypatch, home, tcp("web"))


def made(client: TestClient, name: str, *scopes: str, **more: Any) -> dict[str, str]:
    """The headers of a new key."""
    answer = client.post("/api/v1/keys", json={"name": name, "scopes": list(scopes), **more})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['key']}"}


def test_a_key_is_shown_once_listed_and_revoked(client: TestClient) -> None:
    answer = client.post("/api/v1/keys", json={"name": "publisher", "scopes": ["timeline:read:tokens"], "days": 7})
    assert answer.headers["cache-control"] == "no-store"
    key = answer.json()["key"]
    assert client.post("/api/v1/keys", json={"name": "publisher", "scopes": ["admissions"]}).status_code == 409
    listed = client.get("/api/v1/keys")
    assert key not in listed.text
    [shown] = listed.json()["keys"]
    assert (shown["name"], shown["state"], shown["created_by"]) == ("publisher", "good", "admin")
    asked = {"params": {"kind": "tokens.*"}, "headers": {"Authorization": "", "X-API-Key": key}}
    assert client.get("/api/v1/timeline", **asked).status_code == 200
    assert client.post("/api/v1/keys/publisher/revoke").json()["state"] == "revoked"
    assert client.get("/api/v1/timeline", **asked).status_code == 401
    assert client.post("/api/v1/keys/publisher/revoke").status_code == 404


def test_a_scope_that_is_none_is_told_by_its_place(client: TestClient) -> None:
    answer = client.post("/api/v1/keys", json={"name": "p", "scopes": ["admissions", "tokens:raed"]})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "scopes[1]"
    assert 'did you mean "tokens:read"?' in error["message"]


def test_what_an_endpoint_does_not_declare_is_for_admins(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    headers = made(client, "publisher", "alerts:post")
    paths = client.get("/openapi.json").json()["paths"]
    endpoints = {f"{method.upper()} {path}" for path in paths for method in paths[path] if path.startswith("/api/")}
    assert set(ENDPOINTS) <= endpoints
    caplog.set_level(logging.WARNING)
    for endpoint in sorted(endpoints):
        method, path = endpoint.split()
        scope = ENDPOINTS.get(endpoint)
        if scope in (ANY_KEY, "alerts:post"):
            continue
        answer = client.request(method, path.replace("{", "").replace("}", ""), content=b"{", headers=headers)
        assert answer.status_code == 403, (endpoint, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        wanted = f"this key lacks the scope {scope}" if scope else "this is for keys of admins"
        assert answer.json()["detail"] == wanted
    refused = [record for record in caplog.records if "not allowed" in str(record.msg)]
    assert len(refused) > 100
    assert "publisher" in str(refused[0].msg)


def test_an_admins_key_may_do_everything_and_its_name_is_kept(client: TestClient) -> None:
    headers = made(client, "ann", role="admin")
    made_by_ann = client.post("/api/v1/keys", json={"name": "publisher", "scopes": ["admissions"]}, headers=headers)
    assert made_by_ann.json()["created_by"] == "ann"


def test_prometheus_may_give_a_key_as_a_basic_password(client: TestClient) -> None:
    key = made(client, "prometheus", "alerts:post")["Authorization"].removeprefix("Bearer ")
    basic = base64.b64encode(f"anybody:{key}".encode()).decode()
    assert client.post("/api/v2/alerts", json=[], headers={"Authorization": f"Basic {basic}"}).status_code == 200
    assert client.get("/api/v2/alerts", headers={"Authorization": f"Basic {basic}"}).status_code == 403


def test_a_key_submits_the_tasks_that_it_names_and_follows_its_own(client: TestClient) -> None:
    one, other = made(client, "one", "jobs:submit:tests.web.echo"), made(client, "other", "jobs:submit")
    idempotent = {"Idempotency-Key": "k"}
    job = client.post("/api/v1/jobs", json=ECHO, headers=one | idempotent)
    assert job.status_code == 202, job.text
    assert client.post("/api/v1/jobs", json=ECHO, headers=other | idempotent).json()["id"] != job.json()["id"]
    assert client.get(job.headers["location"], headers=one).json()["caller"] == "one"
    assert client.get(job.headers["location"], headers=other).status_code == 404
    refused = client.post("/api/v1/jobs/batch", json={"jobs": [ECHO, {"task": "tasks.other"}]}, headers=one)
    assert (refused.status_code, refused.json()["detail"]) == (403, "this key lacks the scope jobs:submit:tasks.other")
    assert len(client.get("/api/v1/jobs").json()["jobs"]) == 2


def test_an_admission_names_only_tasks_that_its_key_may_submit(client: TestClient) -> None:
    asked = {"operation": "instagram.publish", "account": "acme", "task": ECHO}
    refused = client.post("/api/v1/admissions", json=asked, headers=made(client, "one", "admissions"))
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "this key lacks the scope jobs:submit:tests.web.echo",
    )
    both = made(client, "two", "admissions", "jobs:submit:tests.web.echo")
    assert client.post("/api/v1/admissions", json=asked, headers=both).status_code == 422  # the catalogue has no such
    assert client.get("/api/v1/admissions", headers=both).json()["operations"] == []


def test_the_key_of_the_installation_works_while_postgres_is_away_and_others_are_told_to_wait(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = made(client, "publisher", "admissions")
    admin = client.headers["Authorization"]
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.setenv("SMM_ADMIN_KEY", admin.removeprefix("Bearer "))
    settings.cache_clear()
    db.dispose()
    assert client.get("/api/v1/contract").status_code == 200
    answer = client.get("/api/v1/contract", headers=headers)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_the_http_limits_know_a_key_by_its_name(client: TestClient, app_limits: None) -> None:
    headers = made(client, "publisher", "timeline:read")
    answer = client.get("/api/v1/timeline", headers=headers)
    assert answer.headers["ratelimit-policy"].startswith('"services";q=7')
    with unit_of_work() as uow:
        assert uow.execute("SELECT used_at FROM api_keys").scalar_one() is not None


@pytest.fixture
def app_limits(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven requests a minute for the publisher."""
    use(monkeypatch, home, tcp("web") + '[http.services]\nrate = 7\ncallers = ["publisher"]\n')
