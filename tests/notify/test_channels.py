"""What every channel owes: one contract, checked over the registry, so that a new file cannot forget a part of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr, ValidationError

from app.config import settings
from app.errors import Misconfigured
from app.notify import ChannelSpec, Event, Outcome, Rate, kinds, send, sending
from tests.health import local
from tests.notify.messages import AT, HOSTILE, delivery, message
from tests.notify.servers import (
    HTTP_KINDS,
    PASSWORD,
    ROUTING_KEY,
    SECRET_PATH,
    TOKEN,
    ChannelServer,
    MailServer,
    Scripted,
    channel_server,
    http_options,
    mail_options,
    spec_of,
)

SECRETS = (TOKEN, SECRET_PATH, *SECRET_PATH.split("/"), "s3cretSignature", "s3cretOfTheHook", ROUTING_KEY, PASSWORD)
NETWORKED = (*HTTP_KINDS, "email")
PAGE = "<!DOCTYPE html><html><body>Please log in</body></html>"

SpecOf = Callable[..., ChannelSpec]


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> SpecOf:
    """A channel of a kind that works, with fields of the catalogue. Servers are started when they are wanted."""

    def made(kind: str, **fields: Any) -> ChannelSpec:
        if kind == "console":
            return spec_of(kind, {}, **fields)
        running: ChannelServer | MailServer = request.getfixturevalue("mail" if kind == "email" else "server")
        return running.spec(**fields) if isinstance(running, MailServer) else running.spec(kind, **fields)

    return made


def at_port(kind: str, port: int, **fields: Any) -> ChannelSpec:
    """A channel of a kind whose other side is another port of this host."""
    options = mail_options(port) if kind == "email" else http_options(kind, f"http://127.0.0.1:{port}")
    return spec_of(kind, options, **fields)


def nothing_secret_in(text: str | None) -> bool:
    return not any(secret in (text or "") for secret in SECRETS)


@pytest.mark.parametrize("kind", kinds())
def test_a_channel_is_described(kind: str) -> None:
    module = kinds()[kind]
    assert module.__name__.rpartition(".")[2] == module.KIND
    assert module.SUMMARY
    assert not module.SUMMARY.endswith(".")
    assert isinstance(module.RATE, Rate)
    assert module.RATE.per_second > 0
    assert module.RATE.burst >= 1
    flags = ("DEDUPLICATES", "THREADS", "TAKES_TO", "ACKNOWLEDGES", "LETTERS")
    assert {type(getattr(module, flag)) for flag in flags} == {bool}


@pytest.mark.parametrize("kind", kinds())
def test_every_option_of_a_channel_is_described_and_none_is_accepted_by_accident(kind: str) -> None:
    options = kinds()[kind].Options
    assert options.__doc__
    assert {name for name, field in options.model_fields.items() if not field.description} == set()
    with pytest.raises(ValidationError) as refused:
        options.model_validate({"no_such_option": "s3cret"})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("kind", kinds())
def test_what_is_secret_is_no_plain_text(kind: str) -> None:
    words = ("token", "secret", "password", "key", "webhook", "headers")
    for name, field in kinds()[kind].Options.model_fields.items():
        if any(word in name for word in words):
            found = {field.annotation, *get_args(field.annotation)}
            assert any(SecretStr is each or SecretStr in get_args(each) for each in found), name


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("event", Event)
def test_a_channel_delivers_every_kind_of_message(kind: str, event: Event, spec: SpecOf) -> None:
    outcome = send(spec(kind), delivery(message(event=event)))
    assert (outcome.delivered, outcome.permanent, outcome.error) == (True, False, None)
    assert outcome.latency_ms is not None


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("name", HOSTILE)
def test_a_channel_delivers_whatever_others_wrote(kind: str, name: str, spec: SpecOf) -> None:
    outcome = send(spec(kind), delivery(HOSTILE[name], may_be_repeat=True))
    assert (outcome.delivered, outcome.error) == (True, None)


@pytest.mark.parametrize("kind", kinds())
def test_a_destination_is_stable_names_its_kind_and_holds_no_secret(kind: str, spec: SpecOf) -> None:
    made = spec(kind)
    assert made.destination() == made.destination()
    assert made.destination().startswith(kind)
    assert nothing_secret_in(made.destination())
    if made.module.TAKES_TO:
        to = {"email": "bob@example.com", "telegram": "-42", "pagerduty": "an0therR0utingKey"}[kind]
        assert made.destination(to) != made.destination()
        assert "an0ther" not in made.destination(to)


@pytest.mark.parametrize("kind", sorted(name for name, module in kinds().items() if module.TAKES_TO))
def test_a_channel_with_many_addresses_and_none_given_says_so(kind: str, spec: SpecOf) -> None:
    none_given = {"email": {"to": []}, "telegram": {"chat_id": None}, "pagerduty": {"routing_key": None}}[kind]
    made = spec(kind, options=none_given)
    with pytest.raises(Misconfigured):
        made.destination()
    outcome = send(made, delivery())
    assert (outcome.delivered, outcome.permanent) == (False, True)


@pytest.mark.parametrize("kind", NETWORKED)
def test_a_closed_port_is_worth_another_try(kind: str) -> None:
    started = time.monotonic()
    outcome = send(at_port(kind, local.closed_port()), delivery())
    assert (outcome.delivered, outcome.permanent, outcome.rate_limited) == (False, False, False)
    assert "connection refused" in str(outcome.error)
    assert nothing_secret_in(outcome.error)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("kind", NETWORKED)
def test_a_port_that_never_answers_is_left_at_the_timeout(kind: str) -> None:
    with local.silent_port() as port:
        started = time.monotonic()
        outcome = send(at_port(kind, port, timeout=0.5), delivery())
    assert time.monotonic() - started < 1.5
    assert (outcome.delivered, outcome.permanent) == (False, False)
    assert "no answer in time" in str(outcome.error)


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("how", ["hang", "close", "garbage"])
def test_an_answer_that_never_comes_is_worth_another_try(kind: str, how: Any, server: ChannelServer) -> None:
    server.will(Scripted(how=how))
    started = time.monotonic()
    outcome = send(server.spec(kind, timeout=0.7), delivery())
    assert time.monotonic() - started < 2
    assert (outcome.delivered, outcome.permanent, outcome.http_status) == (False, False, None)
    assert nothing_secret_in(outcome.error)


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("how", ["cut", "drip"])
def test_an_answer_whose_status_came_counts_even_when_the_rest_is_lost(
    kind: str, how: Any, server: ChannelServer
) -> None:
    server.will(Scripted(200, how=how), Scripted(500, how=how))
    started = time.monotonic()
    assert send(server.spec(kind, timeout=0.7), delivery()).delivered
    outcome = send(server.spec(kind, timeout=0.7), delivery())
    assert (outcome.delivered, outcome.permanent, outcome.http_status) == (False, False, 500)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
def test_trouble_of_the_other_side_is_worth_another_try(kind: str, status: int, server: ChannelServer) -> None:
    server.will(Scripted(status, PAGE))
    outcome = send(server.spec(kind), delivery())
    assert (outcome.delivered, outcome.permanent, outcome.http_status) == (False, False, status)
    assert outcome.error == f"answered {status}"


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_final(kind: str, status: int, server: ChannelServer) -> None:
    server.will(Scripted(status, {"message": "no such thing"}))
    outcome = send(server.spec(kind), delivery())
    assert (outcome.delivered, outcome.permanent, outcome.http_status) == (False, True, status)
    assert outcome.error == f"answered {status}: no such thing"


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, "", 7),
        ({"Retry-After": "7"}, PAGE, 7),
        ({"Retry-After": "99999999"}, "", 3600),
        ({"Retry-After": "soon"}, "", None),
        ({"X-RateLimit-Reset-After": "2.5"}, "", 2.5),
        ({"Retry-After": "7", "X-RateLimit-Reset-After": "2.5"}, "", 7),
        ({"X-RateLimit-Reset-After": "NaN"}, "", None),
        ({}, "", None),
    ],
)
def test_who_is_too_fast_is_told_how_long_to_wait(
    kind: str, headers: dict[str, str], body: str, seconds: float | None, server: ChannelServer
) -> None:
    server.will(Scripted(429, body, headers))
    outcome = send(server.spec(kind), delivery())
    assert (outcome.delivered, outcome.permanent, outcome.rate_limited) == (False, False, True)
    assert outcome.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("kind", sorted(set(HTTP_KINDS) - {"webhook"}))
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/html; charset=utf-8"}])
def test_a_web_page_is_no_delivery_even_with_a_good_status(
    kind: str, headers: dict[str, str], server: ChannelServer
) -> None:
    server.will(Scripted(200, PAGE, headers))
    outcome = send(server.spec(kind), delivery())
    assert (outcome.delivered, outcome.permanent, outcome.http_status) == (False, False, 200)
    assert outcome.error == "answered 200 with a web page"


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", "[1, 2]", '"x"', "[" * 60_000, b"x" * 3_000_000, '{"ok": tr'])
def test_a_good_status_is_a_delivery_whatever_nonsense_follows(kind: str, body: Any, server: ChannelServer) -> None:
    server.will(Scripted(200, body))
    outcome = send(server.spec(kind), delivery())
    assert (outcome.delivered, outcome.error, outcome.provider_id) == (True, None, None)


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_a_private_address_is_refused_for_good(kind: str, status: int, server: ChannelServer) -> None:
    with channel_server("127.0.0.2") as inside:
        server.will(Scripted(status, headers={"Location": f"{inside.base}/hook"}))
        outcome = send(server.spec(kind, allow=["127.0.0.1/32"]), delivery())
        assert inside.requests == []
    assert (outcome.delivered, outcome.permanent) == (False, True)
    assert outcome.error == f"answered {status}: redirects are not followed"


@pytest.mark.parametrize("kind", NETWORKED)
def test_a_private_address_is_refused_for_good_unless_the_channel_or_the_environment_allows_it(
    kind: str, spec: SpecOf, server: ChannelServer, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = send(spec(kind, allow=[]), delivery())
    assert (outcome.delivered, outcome.permanent) == (False, True)
    assert "loopback" in str(outcome.error)
    assert nothing_secret_in(outcome.error)
    assert (server.requests, mail.letters) == ([], [])
    monkeypatch.setenv("SMM_EGRESS_ALLOW", '["127.0.0.0/8"]')
    settings.cache_clear()
    assert send(spec(kind, allow=[]), delivery()).delivered


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_what_an_answer_echoes_of_our_secrets_is_not_kept(kind: str, server: ChannelServer) -> None:
    for status in (400, 500):
        server.will(Scripted(status, {"message": " ".join(SECRETS), "error": f"token={TOKEN}"}))
        outcome = send(server.spec(kind), delivery())
        own = [secret for secret in SECRETS if secret in json.dumps(server.options(kind))]
        assert [secret for secret in own if secret in str(outcome.error)] == []


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_of_a_long_answer_only_a_few_words_are_kept_on_one_line(kind: str, server: ChannelServer) -> None:
    server.will(Scripted(400, "no\n" * 10_000))
    error = send(server.spec(kind), delivery()).error
    assert error is not None
    assert len(error) < 230
    assert "\n" not in error


def test_a_wrong_routing_key_of_a_contact_is_not_echoed_either(server: ChannelServer) -> None:
    server.will(Scripted(400, {"message": "unknown key an0therR0utingKey"}))
    outcome = send(server.spec("pagerduty"), delivery(to="an0therR0utingKey"))
    assert outcome.error == "answered 400: unknown key ***"


SPEAK = """
import sys, json
from app.config import Settings
from app.infra import logging
from app.notify import send
from tests.notify.messages import delivery
from tests.notify.servers import HTTP_KINDS, http_options, spec_of
logging.configure("test", Settings(log_format="json", log_level="debug"))
for kind in HTTP_KINDS:
    for _ in range(4):
        print(repr(send(spec_of(kind, http_options(kind, sys.argv[1])), delivery())))
"""


def test_no_secret_is_written_into_any_log(server: ChannelServer) -> None:
    echo = {"message": " ".join(SECRETS)}
    for _ in HTTP_KINDS:
        moved = {"ok": False, "parameters": {"migrate_to_chat_id": -1009}}
        server.will(Scripted(), Scripted(500, echo), Scripted(302, headers={"Location": "/" + SECRET_PATH}))
        server.will(Scripted(404, moved | echo))
    done = subprocess.run(
        [sys.executable, "-c", SPEAK, server.base],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.count("notification tried") == 4 * len(HTTP_KINDS)
    assert done.stdout.count("Outcome(") == 4 * len(HTTP_KINDS)
    for place, kind in enumerate(HTTP_KINDS):
        own = [secret for secret in SECRETS if secret in json.dumps(server.options(kind))]
        lines = [line for line in done.stderr.splitlines() if f'"channel": "{kind}"' in line]
        assert len(lines) == 4
        told = "".join(lines + done.stdout.splitlines()[4 * place : 4 * place + 4])
        assert [secret for secret in own if secret in told] == []
    others = [line for line in done.stderr.splitlines() if '"channel"' not in line]
    assert nothing_secret_in("".join(others))


def test_a_test_message_says_that_it_is_one(server: ChannelServer) -> None:
    made = sending.test_message("slack", "https://ops.example.com", AT)
    assert (made.event, made.severity, len(made.thread)) == (Event.TEST, "info", 64)
    assert made == sending.test_message("slack", "https://ops.example.com", AT)
    assert send(server.spec("slack"), delivery(made)).delivered
    assert "Test" in server.requests[0].json["blocks"][0]["text"]["text"]


def test_the_console_shows_what_was_stored_and_sends_nothing() -> None:
    outcome = send(spec_of("console", {}), delivery())
    assert outcome == Outcome(delivered=True, latency_ms=outcome.latency_ms)
