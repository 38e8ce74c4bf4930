"""/api/v1/limits: live figures of one account, the fullest of all, what is over, and the document of one limit."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra import adminkey, ids, redis
from app.infra.db import unit_of_work
from app.limits import keys
from tests.admission.limited import CATALOG
from tests.admission.pausing import pause
from tests.fixtures.waiting import until
from tests.health.catalogs import use

LIMITS = "/api/v1/limits"
DOCUMENT_KEYS = ["timestamp", "limit_type", "current", "limit", "percentage", "time_until_reset", "action"]
DOCUMENT_KEYS += ["queued_operations"]
STATUS_KEYS = ["used", "limit", "percentage", "account", "resets_at", "full"]


@pytest.fixture
def api(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The API under a catalogue with limits, with counters that are whole."""
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    return client


def ask(api: TestClient, operation: str, account: str = "acme", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = api.post(
        "/api/v1/admissions", json={"operation": operation, "account": account, **more}
    ).json()
    return found


def stored(account: str, limit: str, used: int, capacity: int, **more: Any) -> None:
    """An open window as a snapshot writes it; `end_at` None: a rolling one."""
    now = clock.now()
    row = {
        "subject": f"account:instagram/{account}",
        "limit": limit,
        "start": now - timedelta(hours=1),
        "end": now + timedelta(hours=1),
        "used": used,
        "capacity": capacity,
        "share": used / capacity,
        "taken": now - timedelta(seconds=3),
        **more,
    }
    with unit_of_work() as uow:
        uow.execute(
            "INSERT INTO limit_windows (subject, limit_name, start_at, end_at, capacity, used, peak, share, taken_at)"
            " VALUES (:subject, :limit, :start, :end, :capacity, :used, :used, :share, :taken)",
            **row,
        )


def closed(account: str, limit: str, used: int, *, hours: int, in_a_row: int = 0) -> None:
    """A window that was over so many hours ago."""
    start = clock.now() - timedelta(hours=hours + 1)
    with unit_of_work() as uow:
        uow.execute(
            "INSERT INTO rate_limit_log (id, subject, limit_name, start_at, end_at, capacity, used, peak, refused,"
            ' deferred, "full", full_in_a_row) VALUES (:id, :subject, :limit, :start, :end, 10, :used, :used, 1, 2,'
            " :full, :row)",
            id=ids.uuid7(start),
            subject=f"account:instagram/{account}",
            limit=limit,
            start=start,
            end=start + timedelta(hours=1),
            used=used,
            full=used >= 10,
            row=in_a_row,
        )


def show(api: TestClient, **given: Any) -> Any:
    return api.get(LIMITS, params=given)


def test_an_account_has_every_limit_of_its_platform_with_live_figures(api: TestClient) -> None:
    ask(api, "post")
    document = show(api, account="instagram/acme").json()
    assert (document["live"], document["account"], document["blocked_by"]) == (True, "instagram/acme", None)
    assert [(item["name"], item["used"], item["remaining"]) for item in document["limits"]] == [
        ("api", 2, 8), ("api_rolling", 2, 10), ("posts", 1, 1),
    ]  # fmt: skip
    posts = document["limits"][2]
    assert (posts["limit"], posts["percentage"], posts["window"], posts["period"]) == (2, 50.0, "calendar", "month")
    left = (datetime.fromisoformat(posts["resets_at"]) - clock.now()).total_seconds()
    assert abs(posts["seconds_to_reset"] - left) < 2
    assert document["waiting"] == {"critical": 0, "interactive": 0, "normal": 0, "background": 0, "total": 0}
    assert document["holds"] == []
    same = show(api, account="acme", platform="instagram", limit="posts").json()
    assert [item["name"] for item in same["limits"]] == ["posts"]


def test_a_block_of_the_platform_is_shown(api: TestClient) -> None:
    error = {"code": 4, "message": "Application request limit reached"}
    done = api.post(
        "/api/v1/admissions/outcomes", json={"operation": "reply", "account": "acme", "status": 400, "error": error}
    )
    assert done.json()["blocked"], done.json()
    limits = show(api, account="instagram/acme").json()["limits"]
    [blocked] = [item for item in limits if item["blocked_until"]]
    assert (blocked["name"], blocked["used"], blocked["action"]) == ("api_rolling", 0, "wait")
    assert blocked["resets_at"] == blocked["blocked_until"]


def test_limits_by_tenant_are_shown_where_the_tenant_is_named(api: TestClient) -> None:
    ask(api, "draft", tenant="t1", estimate=1.5)
    limits = show(api, account="instagram/acme", tenant="t1").json()["limits"]
    assert [(item["subject"], item["used"], item["currency"]) for item in limits if item["name"] == "spend"] == [
        ("tenant:t1", 1_500_000, "micro_usd")
    ]


def test_who_waits_and_what_holds_is_told(api: TestClient) -> None:
    for number in range(3):
        ask(api, "post", id=str(number))
    pause("account:instagram/acme", reason="moving house", least=3)
    document = show(api, account="instagram/acme").json()
    assert (document["waiting"]["interactive"], document["waiting"]["total"]) == (1, 1)
    assert document["queued_operations"][0].startswith("1 post (oldest since 2")
    assert document["next_try_at"] is not None
    [hold] = document["holds"]
    assert (hold["scope"], hold["effect"], hold["from_class"], hold["until"]) == (
        "account:instagram/acme", "wait", "background", None,
    )  # fmt: skip
    assert "moving house" in hold["reason"]


def test_the_document_of_a_limit_has_these_keys_and_no_others(api: TestClient) -> None:
    for number in range(3):
        ask(api, "post", id=str(number))
    given = {"limit_type": "posts", "account": "instagram/acme"}
    document = api.get(f"{LIMITS}/document", params=given).json()
    assert list(document) == DOCUMENT_KEYS
    assert (document["limit_type"], document["current"], document["limit"], document["percentage"]) == (
        "posts", 2, 2, 100.0,
    )  # fmt: skip
    assert document["action"] == "wait"
    assert isinstance(document["time_until_reset"], int)
    assert document["time_until_reset"] > 0
    [line] = document["queued_operations"]
    assert line.startswith("1 post (oldest since ")
    empty = api.get(f"{LIMITS}/document", params={"limit_type": "posts", "account": "instagram/other"}).json()
    assert (empty["current"], empty["percentage"], empty["action"], empty["queued_operations"]) == (0, 0.0, "none", [])


def test_without_an_account_the_document_is_of_the_fullest(api: TestClient) -> None:
    ask(api, "post", account="full")
    ask(api, "post", account="full")
    ask(api, "post", account="half")
    stored("half", "posts", 1, 2)
    stored("full", "posts", 2, 2)
    document = api.get(f"{LIMITS}/document", params={"limit_type": "posts"}).json()
    assert (document["current"], document["action"]) == (2, "wait")
    assert api.get(f"{LIMITS}/document", params={"limit_type": "api"}).json()["current"] == 0


def test_the_fullest_windows_come_first_and_are_paged(api: TestClient) -> None:
    stored("a", "posts", 1, 2)
    stored("b", "posts", 2, 2)
    stored("b", "api", 9, 10)
    stored("gone", "left-the-catalogue", 9, 10)
    stored("over", "api", 10, 10, end=clock.now() - timedelta(seconds=1))
    document = show(api).json()
    assert [(item["account"], item["name"], item["percentage"]) for item in document["limits"]] == [
        ("instagram/b", "posts", 100.0), ("instagram/b", "api", 90.0), ("instagram/a", "posts", 50.0),
    ]  # fmt: skip
    assert document["next"] is None
    assert datetime.fromisoformat(document["as_of"]) <= clock.now()
    first = show(api, page_size=2).json()
    rest = show(api, page_size=2, cursor=first["next"]).json()
    assert [item["account"] for item in [*first["limits"], *rest["limits"]]] == [
        "instagram/b", "instagram/b", "instagram/a",
    ]  # fmt: skip
    assert [item["account"] for item in show(api, limit="api").json()["limits"]] == ["instagram/b"]


def test_windows_that_are_over_are_listed_newest_first(api: TestClient) -> None:
    closed("acme", "api", 10, hours=1, in_a_row=2)
    closed("acme", "api", 4, hours=30)
    closed("other", "api", 5, hours=1)
    windows = api.get(f"{LIMITS}/history", params={"account": "instagram/acme"}).json()["windows"]
    assert [(item["used"], item["full"], item["full_in_a_row"]) for item in windows] == [(10, True, 2), (4, False, 0)]
    assert list(windows[0]) == [
        "account", "name", "since", "until", "used", "peak", "limit", "percentage", "refused", "deferred", "full",
        "full_in_a_row",
    ]  # fmt: skip
    since = clock.iso(clock.now() - timedelta(hours=4))
    lately = api.get(f"{LIMITS}/history", params={"limit": "api", "since": since}).json()["windows"]
    assert {item["account"] for item in lately} == {"instagram/acme", "instagram/other"}


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("", {"account": "acme"}, 422),
        ("", {"account": "instagrm/acme"}, 404),
        ("", {"account": "instagram/acme", "limit": "pots"}, 404),
        ("", {"platform": "instagram"}, 422),
        ("", {"limit": "pots"}, 404),
        ("/document", {}, 422),
        ("/document", {"limit_type": "pots"}, 404),
        ("/history", {"since": "yesterday"}, 422),
    ],
)
def test_what_is_wrong_is_told(api: TestClient, path: str, given: dict[str, str], status: int) -> None:
    answer = api.get(f"{LIMITS}{path}", params=given)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_while_redis_is_away_stored_figures_are_told(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    stored("acme", "posts", 2, 2)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    redis.client.cache_clear()
    document = show(api, account="instagram/acme").json()
    assert document["live"] is False
    assert [(item["name"], item["used"]) for item in document["limits"]] == [
        ("api", 0), ("api_rolling", 0), ("posts", 2),
    ]  # fmt: skip
    one = api.get(f"{LIMITS}/document", params={"limit_type": "posts", "account": "instagram/acme"}).json()
    assert (one["current"], one["action"]) == (2, "wait")


def test_looking_at_counters_that_were_lost_does_not_bring_them_back(api: TestClient) -> None:
    stored("acme", "posts", 1, 2)
    redis.client().flushall()
    document = show(api, account="instagram/acme").json()
    assert (document["live"], document["limits"][2]["used"]) == (False, 1)
    redis.client().set(keys.EPOCH, "filling:1")
    assert show(api, account="instagram/acme").json()["live"] is False
    redis.client().set(keys.STATE + "account:instagram/acme", '{"v": 1, "l": {}}')
    assert show(api, account="instagram/acme").json()["live"] is True
    assert redis.client().get(keys.EPOCH) == "filling:1"


def test_while_postgres_is_away_live_figures_are_told(
    redis_server: str, home: Path, make_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/none")
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    with TestClient(make_app()) as api:
        api.headers["Authorization"] = f"Bearer {adminkey.load_or_create(settings())}"
        ask(api, "post")
        document = show(api, account="instagram/acme").json()
        assert (document["live"], document["limits"][2]["used"]) == (True, 1)
        assert (document["waiting"], document["queued_operations"]) == (None, None)
        assert show(api).status_code == 503
        assert api.get("/api/v1/status").json()["rate_limits"]["posts"] == {
            "used": None, "limit": 2, "percentage": None, "account": None, "resets_at": None, "full": None,
        }  # fmt: skip
        one = api.get(f"{LIMITS}/document", params={"limit_type": "posts", "account": "instagram/acme"})
        assert one.json()["current"] == 1


def test_the_status_has_every_limit_with_the_fullest_account(api: TestClient) -> None:
    stored("a", "posts", 1, 2)
    stored("b", "posts", 2, 2)
    stored("c", "posts", 2, 2)
    stored("old", "api", 10, 10, end=clock.now() - timedelta(seconds=1))

    def read() -> dict[str, Any] | None:
        found: dict[str, Any] = api.get("/api/v1/status").json()["rate_limits"]
        return found if found["posts"]["used"] else None

    found = until(read, what="the status is read again")
    assert found is not None
    assert {name: list(entry) for name, entry in found.items()} == dict.fromkeys(
        ("api", "api_rolling", "posts", "spend"), STATUS_KEYS
    )
    posts = found["posts"]
    assert (posts["used"], posts["limit"], posts["percentage"], posts["full"]) == (2, 2, 100.0, 2)
    assert posts["account"] in ("instagram/b", "instagram/c")
    assert (found["api"]["used"], found["api"]["limit"], found["api"]["percentage"]) == (0, 10, 0.0)
    assert found["spend"]["limit"] == 5.0


def test_strangers_are_told_nothing(stranger: TestClient) -> None:
    for path in ("", "/history", "/document"):
        assert stranger.get(f"{LIMITS}{path}").status_code == 401
