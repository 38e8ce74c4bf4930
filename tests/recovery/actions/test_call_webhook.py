"""A step that is a POST, to real local servers in every mood."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from app.recovery.acting import Done, Failed, Result
from app.recovery.actions import actions, call_webhook
from tests.health import local
from tests.notify.servers import LOCAL, ChannelServer, Scripted, channel_server
from tests.recovery.actions.working import RUN_ID, act, service_of, work_of

SECRET = "s3cretPartOfTheAddress"


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    with channel_server() as running:
        yield running


def call(server: ChannelServer, *, timeout_seconds: float = 10, **options: Any) -> Result:
    url = f"{server.base}/hook/{SECRET}"
    return act("call_webhook", work_of(timeout_seconds=timeout_seconds), **({"url": url, "allow": LOCAL} | options))


def test_posts_what_was_asked_for_under_the_steps_own_key(server: ChannelServer):
    result = call(server, body={"ref": "main", "inputs": {"n": 1}}, headers={"X-Api": "key"}, secret="s3cretKey")
    assert isinstance(result, Done)
    assert result.text == "called the webhook at 127.0.0.1: 200"
    [request] = server.got()
    assert request.json == {"ref": "main", "inputs": {"n": 1}}
    assert request.headers["idempotency-key"] == f"{RUN_ID}-0"
    assert request.headers["x-api"] == "key"
    signed = hmac.new(b"s3cretKey", request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-smm-signature"] == f"sha256={signed}"


def test_without_a_body_it_says_which_run_of_what_this_is(server: ChannelServer):
    call(server)
    [request] = server.got()
    assert request.json["playbook"] == "it-again"
    assert request.json["run"] == str(RUN_ID)
    assert request.json["service"] == "it"


def test_tries_again_what_another_try_may_cure_under_the_same_key(server: ChannelServer):
    server.will(Scripted(503), Scripted(429, headers={"retry-after": "1"}))
    assert isinstance(call(server), Done)
    requests = server.got(3)
    assert len({request.headers["idempotency-key"] for request in requests}) == 1


def test_gives_up_after_three_tries_and_at_once_where_it_is_refused(server: ChannelServer):
    server.will(*[Scripted(500)] * 3)
    failed = call(server)
    assert isinstance(failed, Failed)
    assert failed.text == f"the webhook was not taken: {server.base}: answered 500"
    server.will(Scripted(404))
    assert call(server).text == f"the webhook was not taken: {server.base}: answered 404"
    assert len(server.requests) == 4


@pytest.mark.parametrize("how", ["hang", "drip", "close", "garbage"])
def test_ends_within_its_time_whatever_the_other_side_does(server: ChannelServer, how: Any):
    server.always = Scripted(how=how)
    started = time.monotonic()
    result = call(server, timeout=1.5)
    assert time.monotonic() - started < 3
    if how != "drip":
        assert isinstance(result, Failed)


def test_private_addresses_are_called_only_where_they_are_allowed(server: ChannelServer):
    result = call(server, allow=[])
    assert isinstance(result, Failed)
    assert "its address may not be called (loopback)" in result.text
    assert server.requests == []


def test_the_address_and_the_secrets_are_never_shown(server: ChannelServer):
    options = call_webhook.Options.model_validate(
        {"url": f"{server.base}/hook/{SECRET}?t={SECRET}", "secret": SECRET, "headers": {"X-A": SECRET}}
    )
    server.always = Scripted(400, {"error": SECRET})
    closed = {"url": f"http://127.0.0.1:{local.closed_port()}/{SECRET}"}
    texts = [
        repr(options),
        json.dumps(options.model_dump(mode="json")),
        call_webhook.says(options, service_of()),
        repr(call(server, secret=SECRET)),
        repr(call(server, **closed)),
    ]
    assert [text for text in texts if SECRET in text] == []
    assert texts[2] == "call the webhook at 127.0.0.1"
    module = actions()["call_webhook"]
    with pytest.raises(ValidationError) as refused:
        module.Options.model_validate({"url": f"ftp://{SECRET}"})
    assert SECRET not in str(refused.value)
