"""Who may call, and what every answer carries."""

from __future__ import annotations

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.config import Settings, settings
from app.infra import adminkey
from tests.health.catalogs import tcp, use

OPEN = ("/healthz", "/health", "/metrics", "/", "/docs", "/openapi.json")


@pytest.fixture
def unlimited(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask as often as you like: the catalogue has no [http.default]."""
    use(monkeypatch, home, tcp("web"))


@pytest.mark.usefixtures("unlimited")
def test_every_route_of_the_api_asks_for_a_key(stranger: TestClient) -> None:
    document = stranger.get("/openapi.json").json()
    asked = 0
    for path, methods in document["paths"].items():
        if not path.startswith("/api/"):
            continue
        for method in methods:
            answer = stranger.request(method, path.replace("{", "").replace("}", ""), content=b"{")
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
            asked += 1
    assert asked > 15


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer nope"},
        {"Authorization": "Basic YWRtaW46eA=="},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
        {"X-API-Key": "ümlaut".encode()},
    ],
)
def test_a_wrong_key_is_refused_and_not_repeated(stranger: TestClient, headers: dict[str, str | bytes]) -> None:
    answer = stranger.get("/api/v1/jobs", headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert "nope" not in answer.text


def test_both_headers_carry_the_key(stranger: TestClient) -> None:
    key = adminkey.load_or_create(settings())
    assert stranger.get("/api/v1/contract", headers={"Authorization": f"bearer {key}"}).status_code == 200
    assert stranger.get("/api/v1/contract", headers={"X-API-Key": key}).status_code == 200


def test_the_environment_may_give_the_key(
    database: str, make_app: Callable[[], FastAPI], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("SMM_ADMIN_KEY", "given-by-the-operator")
    settings.cache_clear()
    with TestClient(make_app()) as client:
        assert client.get("/api/v1/contract", headers={"X-API-Key": "given-by-the-operator"}).status_code == 200
    assert not (home / "admin.key").exists()


def test_starting_together_agrees_on_one_key_that_only_its_owner_reads(home: Path) -> None:
    config = Settings(home=home)
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: adminkey.load_or_create(config), range(64)))
    assert len(keys) == 1
    assert keys.pop().startswith("smm_")
    assert stat.S_IMODE((home / "admin.key").stat().st_mode) == 0o600
    assert [file.name for file in home.iterdir() if file.name.startswith(".admin")] == []


@pytest.mark.parametrize("path", [*OPEN, "/nowhere", "/api/v1/jobs"])
def test_every_answer_carries_the_security_headers_and_an_id(stranger: TestClient, path: str) -> None:
    headers = stranger.get(path).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert len(headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("given", "kept"), [("order-7.retry_2", True), ("x" * 65, False), ("a b", False), ("<script>", False), ("", False)]
)
def test_a_sane_request_id_is_kept_and_another_replaced(stranger: TestClient, given: str, kept: bool) -> None:
    answer = stranger.get("/api/v1/jobs", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_what_does_not_exist_is_a_problem_too(client: TestClient) -> None:
    for method, path, status in (("GET", "/nowhere", 404), ("DELETE", "/api/v1/jobs", 405), ("GET", "/a%00b", 404)):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert "GET" in client.request("DELETE", "/api/v1/jobs").headers["allow"]


def test_a_crash_is_logged_under_its_id_and_leaks_nothing(
    database: str, make_app: Callable[[], FastAPI], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("the inner workings")

    with TestClient(app) as client:
        answer = client.get("/crash?token=hidden")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "inner workings" not in answer.text
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert answer.json()["request_id"] in str(logged[0].msg)
    assert "hidden" not in caplog.text


def test_an_old_schema_is_one_clear_message(client: TestClient, database: str) -> None:
    from app.infra.db import unit_of_work

    with unit_of_work() as uow:
        uow.execute("ALTER TABLE jobs RENAME TO jobs_gone")
    answer = client.get("/api/v1/jobs")
    assert answer.status_code == 503
    assert "smm-admin migrate" in answer.json()["detail"]


def test_every_route_has_a_summary_for_its_readers(stranger: TestClient) -> None:
    document = stranger.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description"), (method, path)


def test_the_openapi_document_points_at_nothing_missing(stranger: TestClient) -> None:
    document = stranger.get("/openapi.json").json()
    wanted: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                wanted.add(value["$ref"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(document)
    assert wanted
    for reference in wanted:
        place: object = document
        for step in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            assert step in place, reference
            place = place[step]


def test_pages_load_nothing_from_elsewhere(stranger: TestClient) -> None:
    for path in ("/", "/docs"):
        page = stranger.get(path)
        assert page.status_code == 200
        for attribute in ('src="', 'href="'):
            for part in page.text.split(attribute)[1:]:
                address = part.split('"', 1)[0]
                assert address.startswith(("/", "#", "http://127.0.0.1:5555")), address
                if address.startswith("/assets/"):
                    assert stranger.get(address).status_code == 200
        assert "<style" not in page.text
        assert "style=" not in page.text
