"""The search finds a token wherever one is planted, names the place, and keeps the token to itself."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from fastapi import FastAPI, Response
from starlette.responses import HTMLResponse
from starlette.testclient import TestClient

from app.config import settings
from app.infra import adminkey, redis
from app.infra import logging as log
from app.infra.secret import Secret
from app.jobs import JobState
from app.web.main import create_app
from tests.fixtures.ledger import Ledger
from tests.tokens import leaks
from tests.tokens.guard import Guard, guarded, printed
from tests.tokens.leaks import MARKER, Needles

TOKEN = f"{MARKER}access-0123456789"
OTHER = "another/secret+of=tests"
NEEDLES = Needles(OTHER)


def names_only(places: list[str], *expected: str) -> None:
    assert places == list(expected)
    assert MARKER not in str(places)


FORMS: dict[str, Callable[[str], object]] = {
    "as it is": str,
    "in bytes": str.encode,
    "in JSON": lambda token: json.dumps({"a": [token]}),
    "in base64": lambda token: base64.b64encode(f"{{'a': '{token}'}}".encode()),
    "in base64, one later": lambda token: base64.b64encode(f"{{'a':  '{token}'}}".encode()),
    "in base64, two later": lambda token: base64.b64encode(f"{{'a':   '{token}'}}".encode()),
    "in the other base64": lambda token: base64.urlsafe_b64encode(token.encode()),
    "in hexadecimal": lambda token: token.encode().hex(),
    "in a mapping": lambda token: {"a": (token,)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_a_token_is_found_in_any_form(form: str, token: str) -> None:
    assert NEEDLES.found_in(FORMS[form](token))
    assert not NEEDLES.found_in(FORMS[form]("a canary in a mine; another secret of tests"))


def test_one_in_an_address_is_found_quoted() -> None:
    assert NEEDLES.found_in("https://x/y?a=another%2Fsecret%2Bof%3Dtests&b=1")


def test_what_would_be_found_by_chance_is_not_searched_for() -> None:
    with pytest.raises(ValueError, match="too short"):
        NEEDLES.add("abc")


Log = logging.getLogger("tests.leaks")
own = log.get_logger("tests.leaks")


def _fails() -> None:
    try:
        raise ValueError("refused", TOKEN)
    except ValueError:
        Log.exception("it failed")


RECORDS: dict[str, tuple[Callable[[], object], set[str]]] = {
    "message": (lambda: Log.info(f"got {TOKEN}"), {"message", "line"}),
    "arguments": (lambda: Log.debug("got %s", TOKEN), {"arguments", "line"}),
    "a masked message": (lambda: Log.info("access_token=%s", TOKEN), {"arguments"}),
    "extra fields": (lambda: Log.info("got it", extra={"held": TOKEN}), {"extra fields"}),
    "an exception": (_fails, {"exception", "exception's arguments", "line"}),
    "a field": (lambda: own.info("got it", value=TOKEN), {"message", "line"}),
    "a masked field": (lambda: own.info("got it", access_token=TOKEN), {"message"}),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_token_in_a_log_record_is_found_also_where_the_line_is_masked(what: str, log_guard: Guard) -> None:
    log_it, parts = RECORDS[what]
    with guarded() as guard:
        log_it()
    assert {place.split(" of a record")[0].removeprefix("the ") for place in guard.leaks} == parts
    assert all("tests.leaks, test_leaks.py" in place for place in guard.leaks)
    assert MARKER not in str(guard.leaks)
    assert log_guard.leaks
    log_guard.leaks.clear()  # this test may


def test_a_secret_that_is_logged_is_none(log_guard: Guard) -> None:
    Log.warning("got %s and %r", Secret(TOKEN), {"a": Secret(TOKEN)}, extra={"held": Secret(TOKEN)})
    own.warning("got it", value=Secret(TOKEN))
    assert log_guard.leaks == []


def test_what_a_library_says_that_is_quiet_in_the_product_is_not_held_against_it(log_guard: Guard) -> None:
    logging.getLogger("httpx").info("GET https://x/y?a=%s", TOKEN)
    assert log_guard.leaks == []


def test_what_a_test_prints_is_looked_at() -> None:
    report = pytest.TestReport(
        "a test", ("", 0, ""), {}, "passed", None, "call", sections=[("Captured stdout call", TOKEN)]
    )
    assert printed(report) == ["Captured stdout call"]


def test_a_token_in_a_file_is_found_also_across_two_reads(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "clean").write_bytes(bytes(3 << 20))
    (tmp_path / "a" / "b" / "up.log").write_text(f"{{'token': '{TOKEN}'}}\n")
    (tmp_path / "a" / "state").write_bytes(bytes((1 << 20) - 3) + TOKEN.encode())
    names_only(leaks.in_files(NEEDLES, tmp_path), "file a/b/up.log", "file a/state")


def test_a_token_in_redis_is_found_in_every_kind_of_value_and_in_a_name(redis_server: str) -> None:
    client = redis.client()
    client.set("clean", "a canary in a mine")
    assert leaks.in_redis(NEEDLES, redis_server) == []
    body = base64.b64encode(json.dumps([[], {"token": TOKEN}, {}]).encode()).decode()
    client.set("k:string", TOKEN)
    client.lpush("k:list", json.dumps({"body": body}))
    client.sadd("k:set", "x", TOKEN)
    client.zadd("k:zset", {TOKEN: 1})
    client.hset("k:hash", mapping={"a": "b", TOKEN: "c"})
    client.hset("k:hash2", mapping={"a": TOKEN})
    client.xadd("k:stream", {"call": json.dumps({"a": TOKEN})})
    client.set(f"k:{TOKEN}", "x")
    found = leaks.in_redis(NEEDLES, redis_server)
    kinds = {f"Redis {kind} k:{kind}" for kind in ("string", "list", "set", "zset", "hash", "stream")}
    assert {*kinds, "Redis hash k:hash2"} < set(found)
    assert sum(place.startswith("the name of a key of Redis") for place in found) == 1
    assert MARKER not in str(found)


def test_a_token_in_postgres_is_found_in_every_kind_of_column(database: str) -> None:
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE planted (id int, words text, facts jsonb, raw bytea, many text[], clean text);"
            "INSERT INTO planted VALUES (1, 'a', '{}', '\\x00', '{}', 'canary in a mine'), (2, %s, '{}', '', '{}', ''),"
            " (3, '', %s, '', '{}', ''), (4, '', '{}', %s, '{}', ''), (5, '', '{}', '', %s, '')",
            (f"is {TOKEN}", json.dumps({"a": [TOKEN]}), b"\x00\xff" + TOKEN.encode(), ["x", TOKEN]),
        )
    connection.close()
    columns = ("words", "facts", "raw", "many")
    names_only(leaks.in_postgres(NEEDLES, database), *(f"Postgres planted.{column}" for column in columns))
    assert leaks.in_postgres(NEEDLES, database) != [], "and the search of before is not found itself"


def test_a_token_in_the_last_statement_of_a_session_is_found(database: str) -> None:
    connection = psycopg2.connect(database)
    connection.cursor().execute("SELECT %s", (TOKEN,))
    names_only(leaks.in_postgres(NEEDLES, database), "Postgres: the last statement of a session")
    connection.close()


def planted() -> FastAPI:
    """Pages and answers with tokens here and there, and a Flower of sorts."""
    app = FastAPI()

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def start() -> str:
        return '<a href="/clean?a=1&amp;b=2">x</a> <a href="/deep#top">y</a> <a href="https://else.where/x">z</a>'

    @app.get("/clean", response_class=HTMLResponse, include_in_schema=False)
    def clean() -> str:
        return '<a href="/">back</a> a canary in a mine'

    @app.get("/deep", response_class=HTMLResponse, include_in_schema=False)
    def deep() -> str:
        return f"<p>{TOKEN}</p>"

    @app.get("/api/accounts/{platform}/{account:path}")
    def account(platform: str, account: str) -> dict[str, str]:
        return {"platform": platform, "account": account, "held": TOKEN if account == "1784" else ""}

    @app.get("/api/headed")
    def headed(response: Response) -> None:
        response.headers["X-Held"] = TOKEN

    @app.post("/api/read")
    def read() -> str:
        return TOKEN

    @app.get("/api/tasks", include_in_schema=False)
    def tasks() -> dict[str, Any]:
        return {"id-1": {}, "id-2": {}}

    @app.get("/api/task/info/{task}", include_in_schema=False)
    def info(task: str) -> dict[str, str]:
        return {"exception": f"RuntimeError('{TOKEN}')" if task == "id-2" else ""}

    return app


def test_a_token_in_an_answer_or_on_a_page_is_found() -> None:
    with TestClient(planted()) as client:
        known = {"platform": "instagram", "account": "1784"}
        names_only(
            leaks.in_api(NEEDLES, client.get, known),
            "answer of /api/accounts/instagram/1784",
            "answer of /api/headed",
        )
        names_only(leaks.in_pages(NEEDLES, client.get, "/"), "page /deep")
        names_only(leaks.in_flower(NEEDLES, client.get), "Flower, answer of /api/task/info/id-2")
        with pytest.raises(AssertionError, match="/nowhere cannot be searched"):
            leaks.in_pages(NEEDLES, client.get, "/nowhere")


def test_every_get_of_our_own_document_can_be_asked(database: str, redis_server: str) -> None:
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {adminkey.load_or_create(settings())}"
        assert leaks.in_api(NEEDLES, client.get, {}) == []
        document = client.get("/openapi.json").json()
        paths = leaks.api_paths(document, {})
        assert len(paths) > 40
        assert "{" not in "".join(paths)
        assert leaks.in_pages(NEEDLES, client.get, "/") == []
        assert leaks.in_answers(NEEDLES, client.get, ["/metrics", "/health"]) == []


def test_an_attempt_that_fails_with_tokens_at_hand_leaves_none_behind(ledger: Ledger, redis_server: str) -> None:
    """Neither in its row nor in its log: what variables held is not rendered."""
    job_id = ledger.submit("tests.holds_a_token", token=TOKEN[len(MARKER) :])
    failed = ledger.run(job_id)
    assert failed is not None
    assert ledger.get(job_id).state == JobState.DEAD
    own.warning("attempt failed", exc_info=failed)
    assert leaks.in_postgres(NEEDLES, settings().database_url.get_secret_value()) == []  # type: ignore[union-attr]
    assert leaks.in_redis(NEEDLES, redis_server) == []
