"""The platform probe against the answers that platforms give to good, bad and tired tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.health.probes import platform
from app.health.probing import CannotTell, Outcome, Target
from tests.fixtures.answering import HANG, Answering, Reply, answering

TOKEN = "EAAB-s3cret"
ME = "GET /v23.0/me"


def probe(server: Answering, *, timeout: float = 2, **options: object) -> Outcome | CannotTell:
    target = Target(name="instagram", timeout_seconds=timeout, home=Path("/"))
    given = {"url": f"{server.url}/v23.0/me?fields=id", "token": TOKEN, **options}
    return platform.probe(target, platform.Options.model_validate(given))


def graph(code: int, status: int = 400) -> Reply:
    return Reply(status, {"error": {"message": f"about {TOKEN}", "type": "OAuthException", "code": code}})


def test_an_accepted_token_is_sent_as_a_bearer():
    with answering({ME: Reply(body={"id": "1"})}) as server:
        outcome = probe(server)
    assert isinstance(outcome, Outcome)
    assert outcome.error is None
    assert outcome.readings == {"status_code": 200}
    assert server.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert server.seen[0].query == {"fields": "id"}


@pytest.mark.parametrize(
    ("how", "header", "query"),
    [
        ({"token_in": "query"}, {}, {"fields": "id", "access_token": TOKEN}),
        ({"token_in": "query", "token_name": "key"}, {}, {"fields": "id", "key": TOKEN}),
        ({"token_name": "X-Token"}, {"X-Token": TOKEN}, {"fields": "id"}),
    ],
)
def test_a_token_goes_where_the_platform_wants_it(how: dict[str, str], header: dict[str, str], query: dict[str, str]):
    with answering({ME: Reply(body={"id": "1"})}) as server:
        probe(server, **how)
    assert header.items() <= server.seen[0].headers.items()
    assert "Authorization" not in server.seen[0].headers
    assert server.seen[0].query == query


@pytest.mark.parametrize(
    "reply", [Reply(401), Reply(403), graph(190), graph(190, 200), graph(102), graph(10), graph(200)]
)
def test_a_token_that_is_not_accepted_is_refused(reply: Reply):
    with answering({ME: reply}) as server:
        outcome = probe(server, token_in="query")
    assert isinstance(outcome, Outcome)
    assert outcome.error.code == "refused"
    assert outcome.error.text.startswith("the platform does not accept the token (answered ")
    assert TOKEN not in repr(outcome)


@pytest.mark.parametrize("reply", [Reply(429), graph(4), graph(17), graph(32), graph(613), graph(4, 403)])
def test_a_used_up_limit_says_nothing_about_the_token(reply: Reply):
    with answering({ME: reply}) as server:
        verdict = probe(server)
    assert isinstance(verdict, CannotTell)
    assert verdict.why.startswith("the platform's limit is used up")


@pytest.mark.parametrize("reply", [Reply(500), Reply(503, b"<html>"), graph(1, 500), graph(2)])
def test_trouble_of_the_platforms_own_is_told_apart(reply: Reply):
    with answering({ME: reply}) as server:
        outcome = probe(server)
    assert isinstance(outcome, Outcome)
    assert outcome.error.code == "platform"


@pytest.mark.parametrize("reply", [Reply(404), graph(100), graph(100, 200), Reply(302, b"", {"Location": "/x"})])
def test_anything_else_is_a_status_that_was_not_expected(reply: Reply):
    with answering({ME: reply}) as server:
        outcome = probe(server)
    assert isinstance(outcome, Outcome)
    assert outcome.error.code == "status"
    assert len(server.seen) == 1


def test_accepted_statuses_and_bodies_of_any_shape():
    with answering({ME: Reply(204)}) as server:
        assert probe(server, accept="200,204").error is None
    for body in (b"", [1], {"error": "no"}, {"error": {"code": "ok"}}, {"error": {"code": True}}):
        with answering({ME: Reply(body=body)}) as server:
            assert probe(server).error is None


def test_a_platform_that_hangs_is_a_timeout_whose_text_holds_no_address():
    with answering({ME: HANG}) as server:
        outcome = probe(server, timeout=0.3, token_in="query")
    assert (outcome.error.code, outcome.error.text) == ("timeout", "no answer within 0.3 s")
