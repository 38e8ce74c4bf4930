"""How often a caller may ask: counted exactly, told in headers, never in the way when Redis is."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from app.catalog import HttpLimit, parse
from app.config import settings
from app.infra import adminkey, redis
from app.infra.metrics.instruments import deltas
from app.limits import keys
from app.web.limited import Limited, Rules, rules_of
from app.web.middleware import RequestContext
from tests.fixtures.servers import Servers
from tests.fixtures.waiting import until
from tests.health.catalogs import tcp
from tests.web.test_wire import free_port, wait_for_port

LIMITS = """
[http.default]
rate = 5
[http.admin]
rate = 100
burst = 8
callers = ["admin"]
[http.chat]
rate = 3
paths = ["/api/v1/chat"]
[http.deep]
rate = 2
paths = ["/api/v1/chat/deep"]
[http.pages]
rate = 4
paths = ["/", "/a/"]
[http.machines]
rate = 0
paths = ["/healthz", "/api/v1/jobs"]
"""
POLICY = re.compile(r'"[a-z][a-z0-9_-]*";q=[0-9]+;w=[0-9]+(, "[a-z][a-z0-9_-]*";q=[0-9]+;w=[0-9]+)*')
LEFT = re.compile(r'"([a-z][a-z0-9_-]*)";r=([0-9]+);t=([0-9]+)')

pytestmark = pytest.mark.usefixtures("redis_server")
Client = Callable[..., TestClient]


@pytest.fixture
def file(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogue in use."""
    found = home / "catalog.toml"
    write(found, LIMITS)
    monkeypatch.setenv("SMM_CATALOG_FILE", str(found))
    settings.cache_clear()
    return found


def write(file: Path, limits: str) -> None:
    """As an editor does it, and as if it had been a while ago: what is very young is looked at again first."""
    part = file.with_suffix(".part")
    part.write_text(tcp("web") + limits)
    os.utime(part, (time.time() - 60, time.time() - 60))
    part.replace(file)


def application() -> FastAPI:
    """A small application behind the limits."""
    app = FastAPI()

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("broken")

    @app.api_route("/{rest:path}", methods=["GET", "POST"])
    async def any_path(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(Limited)
    app.add_middleware(RequestContext)
    return app


@pytest.fixture
def open_client(file: Path) -> Iterator[Client]:
    """Makes clients from an address, with the admin key or another one; they share one application."""
    with ExitStack() as stack:
        app = application()

        def make(address: str = "192.0.2.1", key: str | None = None) -> TestClient:
            headers = {} if key is None else {"X-API-Key": key}
            client = TestClient(app, raise_server_exceptions=False, client=(address, 5000), headers=headers)
            return stack.enter_context(client)

        yield make


@pytest.fixture
def key(home: Path) -> str:
    return adminkey.load_or_create(settings())


def statuses(client: TestClient, path: str, times: int) -> list[int]:
    return [client.get(path).status_code for _ in range(times)]


def counted(name: str) -> dict[str, float]:
    """What a counter of limits has counted since the last flush."""
    batch = deltas().take()
    return {} if batch is None else {labels[0]: n for (found, labels, _), n in batch.amounts.items() if found == name}


@pytest.fixture(autouse=True)
def _counts_of_its_own() -> Iterator[None]:
    deltas().restart()
    yield
    deltas().restart()


def test_two_processes_admit_together_exactly_as_many_as_the_limit_says(
    file: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, "[http.default]\nrate = 37\n")
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(monkeypatch)) for _ in range(2)]

        def ask(place: int) -> Counter[int]:
            connection = http.client.HTTPConnection("127.0.0.1", ports[place % 2], timeout=20)
            found: Counter[int] = Counter()
            for _ in range(10):
                connection.request("GET", "/openapi.json")
                answer = connection.getresponse()
                answer.read()
                found[answer.status] += 1
            connection.close()
            return found

        redis.client().flushall()
        with ThreadPoolExecutor(8) as threads:
            total = sum(threads.map(ask, range(8)), Counter())
    assert total == {200: 37, 429: 43}


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A web process; yields its port."""
    port = free_port()
    monkeypatch.setenv("SMM_WEB_PORT", str(port))
    process = subprocess.Popen([sys.executable, "-m", "app.web"], stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def test_every_answer_tells_the_quotas_and_what_is_left(open_client: Client, key: str) -> None:
    client = open_client(key=key)
    for left in (99, 98):
        answer = client.get("/api/v1/anything")
        assert answer.headers["RateLimit-Policy"] == '"admin";q=100;w=60, "admin-burst";q=8;w=1'
        assert answer.headers["RateLimit"] == f'"admin";r={left};t=60'
        assert POLICY.fullmatch(answer.headers["RateLimit-Policy"])
        assert LEFT.fullmatch(answer.headers["RateLimit"])
        assert "Retry-After" not in answer.headers
    stranger = open_client().get("/anything")
    assert stranger.headers["RateLimit-Policy"] == '"default";q=5;w=60'


def test_answers_to_errors_and_crashes_tell_it_too(open_client: Client) -> None:
    client = open_client()
    assert client.delete("/anything").status_code == 405
    answer = client.get("/broken")
    assert (answer.status_code, answer.headers["RateLimit"]) == (500, '"default";r=3;t=60')
    assert client.get("/").headers["RateLimit"].startswith('"pages";r=3')


def test_who_waits_as_long_as_told_gets_through(open_client: Client, key: str) -> None:
    client = open_client(key=key)
    with ThreadPoolExecutor(9) as threads:
        answers = list(threads.map(lambda _: client.get("/api/v1/anything"), range(9)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 1
    wait = int(refused[0].headers["Retry-After"])
    assert 1 <= wait <= 2
    assert refused[0].headers["RateLimit"] == f'"admin-burst";r=0;t={wait}'
    time.sleep(wait)
    assert client.get("/api/v1/anything").status_code == 200


def test_a_refusal_says_what_and_for_how_long_as_a_problem_document(
    open_client: Client, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_client(key=key)
    with caplog.at_level("INFO"):
        assert statuses(client, "/api/v1/chat", 4) == [200, 200, 200, 429]
        answer = client.get("/api/v1/chat")
    wait = int(answer.headers["Retry-After"])
    assert 55 <= wait <= 62
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:smm-admin:problem:too-many-requests",
        "title": "Too many requests",
        "status": 429,
        "detail": f'the limit "chat" of 3 requests a minute is reached; there is room again in {wait} s',
        "request_id": answer.headers["X-Request-Id"],
    }
    assert LEFT.fullmatch(answer.headers["RateLimit"])
    assert answer.headers["RateLimit"] == f'"chat";r=0;t={wait}'
    assert counted("smm_http_limited_total") == {"chat": 2}
    logged = [str(record.msg) for record in caplog.records if record.name == "app.web.limited"]
    assert len(logged) == 2
    assert all("'caller': 'admin'" in line and key not in line for line in logged)


def test_the_body_of_a_refused_request_is_not_read(file: Path) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    async def answer(scope: Scope, receive: object, send: Callable[[Message], object]) -> None:
        """Nothing."""

    limited = Limited(answer)
    scope: Scope = {"type": "http", "path": "/x", "headers": [(b"content-length", b"9")], "client": ("192.0.2.9", 1)}

    async def ask() -> None:
        for _ in range(6):
            await limited(dict(scope), receive, send)

    asyncio.run(ask())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 429


def test_callers_do_not_use_up_what_others_have(open_client: Client, key: str) -> None:
    assert statuses(open_client("192.0.2.1"), "/x", 6) == [200] * 5 + [429]
    assert open_client("192.0.2.2").get("/x").status_code == 200
    assert open_client("192.0.2.1", key).get("/x").status_code == 200


def test_wrong_keys_count_against_the_address_wherever_a_key_is_asked_for(open_client: Client, key: str) -> None:
    guesser = open_client("192.0.2.1", "wrong")
    assert [guesser.post("/api/v1/jobs").status_code for _ in range(5)] == [200] * 5
    assert guesser.get("/api/v1/chat").status_code == 429
    assert open_client("192.0.2.1").post("/api/v1/jobs").status_code == 429
    assert statuses(open_client("192.0.2.1", key), "/api/v1/jobs", 20) == [200] * 20
    assert open_client("192.0.2.1").get("/").status_code == 200
    assert guesser.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("a name", "another name", False),
    ],
)
def test_an_address_of_ipv6_stands_for_its_network_of_64_bits(
    open_client: Client, first: str, second: str, together: bool
) -> None:
    assert statuses(open_client(first), "/x", 6) == [200] * 5 + [429]
    assert open_client(second).get("/x").status_code == (429 if together else 200)


def rules(text: str = LIMITS) -> Rules:
    return rules_of(parse(tcp("web") + text).limiting.http)


@pytest.mark.parametrize(
    ("path", "caller", "limit"),
    [
        ("/api/v1/chat", "admin", "chat"),
        ("/api/v1/chat/1", "admin", "chat"),
        ("/api/v1/chat/deep", "admin", "deep"),
        ("/api/v1/chat/deep/er", "admin", "deep"),
        ("/api/v1/chatter", "admin", "admin"),
        ("/api/v1/chat", None, "default"),
        ("/api/v1/jobs/1", "admin", None),
        ("/api/v1/jobs", None, "default"),
        ("/api/v1/jobsearch", "other", "default"),
        ("/healthz", None, None),
        ("/", None, "pages"),
        ("/", "admin", "pages"),
        ("/a/token", None, "pages"),
        ("/alerts", None, "default"),
        ("/alerts", "admin", "admin"),
        ("//", None, "default"),
        ("", None, "default"),
    ],
)
def test_the_longest_beginning_of_the_path_decides_and_then_the_caller(
    path: str, caller: str | None, limit: str | None
) -> None:
    found = rules().of(path, caller)
    assert (found and found.limit.name) == limit


def test_without_a_default_nobody_else_is_limited() -> None:
    found = rules("[http.chat]\nrate = 1\ncallers = ['chat']\n")
    assert found.of("/api/v1/jobs", None) is None
    assert found.of("/x", "admin") is None
    assert found.of("/x", "chat") is not None
    assert rules_of({}) == Rules()


def test_a_rate_of_nothing_is_no_limit_and_asks_nobody(open_client: Client) -> None:
    answer = open_client().get("/healthz")
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers
    assert "RateLimit-Policy" not in answer.headers
    assert redis.client().keys("*") == []


def test_the_shipped_limits_let_programs_and_acknowledgements_through() -> None:
    limits = parse(Path("deploy/smm-admin.toml").read_text(), lookup=lambda name: "x").limiting.http
    found = rules_of(limits)
    assert {name: (limit.rate, limit.burst) for name, limit in limits.items() if name in ("default", "admin")} == {
        "default": (100, 10),
        "admin": (1000, 50),
    }
    for path in ("/api/v1/admissions/outcomes", "/api/v1/jobs/batch", "/api/v2/alerts", "/api/v1/heartbeats/x"):
        assert found.of(path, "admin") is None
        assert _limit(found.of(path, None)).name == "default"
    assert found.of("/assets/refresh.js", None) is None
    assert _limit(found.of("/a/token", None)).rate >= 1000
    assert _limit(found.of("/api/v1/silences", "admin")).name == "admin"


def _limit(rule: object) -> HttpLimit:
    found = getattr(rule, "limit", None)
    assert isinstance(found, HttpLimit)
    return found


def test_a_saved_change_holds_within_a_second(open_client: Client, file: Path) -> None:
    client = open_client()
    assert statuses(client, "/x", 6) == [200] * 5 + [429]
    write(file, "[http.default]\nrate = 7\n")
    saved = time.monotonic()
    until(lambda: client.get("/x").status_code == 200, seconds=5, what="the higher limit")
    assert time.monotonic() - saved < 2
    until(lambda: client.get("/x").headers["RateLimit-Policy"] == '"default";q=7;w=60', what="the new policy")
    write(file, "")
    until(lambda: "RateLimit" not in client.get("/x").headers, seconds=5, what="no limit at all")


def test_nothing_is_kept_beyond_the_windows_and_no_pause_of_operations_stops_a_request(open_client: Client) -> None:
    connection = redis.client()
    for epoch in ("filling:1", "whole:1", None):
        connection.flushall()
        if epoch is not None:
            connection.set(keys.EPOCH, epoch)
        connection.hset(keys.HOLDS, "all", "0 0 wait everything stands still")
        assert statuses(open_client(), "/x", 6) == [200] * 5 + [429]
        state = f"{keys.STATE}http:default:192.0.2.1"
        assert set(connection.keys("*")) == {state, keys.HOLDS} | ({keys.EPOCH} if epoch else set())
        assert 0 < connection.pttl(state) <= 62_000


def test_while_redis_is_frozen_requests_go_through_in_bounded_time(open_client: Client, servers: Servers) -> None:
    client = open_client()
    assert client.get("/x").headers["RateLimit"] == '"default";r=4;t=60'
    pid = json.loads((servers.home / "servers.json").read_text())["redis"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda _: client.get("/x"), range(20)))
        assert time.monotonic() - started < 5, "they wait together, a second each"
        assert {answer.status_code for answer in answers} == {200}
        assert not any("RateLimit" in answer.headers for answer in answers)
        started = time.monotonic()
        assert statuses(client, "/x", 20) == [200] * 20
        assert time.monotonic() - started < 5, "nobody waits any more, but for one that tries"
        assert counted("smm_http_uncounted_total") == {"default": 40}
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: "RateLimit" in client.get("/x").headers, what="counting again")


def test_while_nothing_listens_where_redis_should_be_requests_go_through(
    open_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    redis.client.cache_clear()
    started = time.monotonic()
    assert statuses(open_client(), "/x", 30) == [200] * 30
    assert time.monotonic() - started < 5
    assert counted("smm_http_uncounted_total") == {"default": 30}
