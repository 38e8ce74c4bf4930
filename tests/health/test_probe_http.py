"""The HTTP probe against servers in every mood."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.health.probes import http
from app.health.probing import Outcome, Target
from tests.health import local


def probe(url: str, *, timeout: float = 2, **options: object) -> Outcome:
    target = Target(name="web", timeout_seconds=timeout, home=Path("/"))
    return http.probe(target, http.Options.model_validate({"url": url, **options}))


def test_a_good_answer_has_its_status_and_its_latency(web: local.Web):
    outcome = probe(web.url + "/ok", body_contains="all is well")
    assert outcome.error is None
    assert outcome.readings == {"status_code": 200}
    assert 0 < outcome.latency_ms < 2000


def test_an_error_status_is_a_failure_that_says_what_was_expected(web: local.Web):
    outcome = probe(web.url + "/error")
    assert (outcome.error.code, outcome.error.text) == ("status", "answered 500, expected 200-299")
    assert outcome.readings == {"status_code": 500}
    assert probe(web.url + "/error", expect_status="200-299, 500").error is None


@pytest.mark.parametrize("mood", ["hang", "hangbody", "drip"])
def test_an_answer_that_does_not_end_is_a_timeout_at_the_timeout(web: local.Web, mood: str):
    started = time.monotonic()
    outcome = probe(f"{web.url}/{mood}", timeout=0.4)
    assert time.monotonic() - started < 0.8
    assert (outcome.error.code, outcome.error.text) == ("timeout", "no answer within 0.4 s")


def test_a_port_that_hangs_is_a_timeout_and_a_closed_one_is_refused(silent_port: int):
    assert probe(f"http://127.0.0.1:{silent_port}/", timeout=0.3).error.code == "timeout"
    assert probe(f"https://127.0.0.1:{silent_port}/", timeout=0.3).error.code == "timeout"
    assert probe(f"http://127.0.0.1:{local.closed_port()}/").error.code == "refused"


def test_of_a_huge_body_only_the_allowed_part_is_read(web: local.Web):
    started = time.monotonic()
    assert probe(web.url + "/huge", max_body_bytes=100_000).error is None
    assert time.monotonic() - started < 1


def test_json_is_compared_by_path_and_type(web: local.Web):
    url = web.url + "/json"
    assert probe(url, json_equals={"status": "ok", "db.up": True, "db.lag": 1}).error is None
    assert probe(url, json_equals={"status": "green"}).error.text == 'status in the body is not "green"'
    assert probe(url, json_equals={"db.lag": True}).error.code == "body"
    assert probe(url, json_equals={"db.missing.deeper": 1}).error.code == "body"
    assert probe(web.url + "/badjson", json_equals={"status": "ok"}).error.text == "the body is not JSON"


def test_a_body_without_the_expected_text_is_a_failure(web: local.Web):
    assert probe(web.url + "/ok", body_contains="nowhere").error.code == "body"


def test_a_redirect_is_followed_only_when_asked_and_not_for_ever(web: local.Web):
    assert probe(web.url + "/redirect").error.text == "answered 302, expected 200-299"
    assert probe(web.url + "/redirect", follow_redirects=True).error is None
    assert probe(web.url + "/loop", follow_redirects=True).error.code == "redirects"


def test_configured_headers_go_to_the_configured_host_only(web: local.Web):
    with local.web() as other:
        options = {"headers": {"X-Api-Key": "s3cret"}, "follow_redirects": True}
        assert probe(f"{web.url}/away?{other.url}/ok", **options).error is None
        assert web.seen[0][1]["X-Api-Key"] == "s3cret"
        assert "X-Api-Key" not in other.seen[0][1]


def test_what_is_not_http_is_a_protocol_failure(web: local.Web):
    assert probe(web.url + "/garbage").error.code == "protocol"


def test_no_failure_repeats_the_address_or_its_secrets(silent_port: int, web: local.Web):
    for port, path in ((local.closed_port(), "/ok"), (silent_port, "/ok"), (web.port, "/error")):
        outcome = probe(f"http://user:s3cret@127.0.0.1:{port}{path}?token=s3cret", timeout=0.2)
        assert "s3cret" not in repr(outcome)
        assert "127.0.0.1" not in outcome.error.text


def test_a_certificate_nobody_vouches_for_is_refused_and_a_private_authority_is_accepted(certificate: Path):
    with local.web(certificate) as secure:
        refused = probe(secure.url + "/ok")
        assert refused.error.code == "tls"
        assert "certificate refused" in refused.error.text
        trusted = probe(secure.url + "/ok", ca_file=str(certificate))
        assert trusted.error is None
        assert trusted.readings == {"status_code": 200, "tls_days_left": 29}
        unchecked = probe(secure.url + "/ok", verify_tls=False)
        assert unchecked.readings == {"status_code": 200}


def test_plain_http_on_a_tls_port_and_the_reverse_are_failures(web: local.Web, certificate: Path):
    assert probe(web.url.replace("http", "https") + "/ok").error.code == "tls"
    with local.web(certificate) as secure:
        assert probe(secure.url.replace("https", "http") + "/ok").error is not None
