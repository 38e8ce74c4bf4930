"""The DNS probe against a name server of this host in every mood."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest

from app.health.probes import dns as probe_dns
from app.health.probing import Outcome, Target
from tests.health.naming import SILENT, name_server

TABLE = {
    ("web.example.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("web.example.", "AAAA"): [],
    ("www.example.", "CNAME"): ["Web.Example."],
    ("example.", "MX"): ["10 mail.example."],
    ("example.", "TXT"): ['"v=spf1 " "-all"'],
    ("broken.example.", "A"): dns.rcode.SERVFAIL,
    ("private.example.", "A"): dns.rcode.REFUSED,
    ("odd.example.", "A"): dns.rcode.NOTIMP,
    ("slow.example.", "A"): SILENT,
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with name_server(TABLE) as address:
        yield address


def probe(server: str | None, name: str, *, timeout: float = 2, **options: object) -> Outcome:
    target = Target(name="name", timeout_seconds=timeout, home=Path("/"))
    return probe_dns.probe(target, probe_dns.Options.model_validate({"name": name, "server": server, **options}))


def test_an_answer_is_told_with_its_values(server: str):
    outcome = probe(server, "web.example")
    assert outcome.error is None
    assert outcome.readings == {"answers": 2, "values": ["192.0.2.1", "192.0.2.2"], "ttl_seconds": 300}
    assert 0 < outcome.latency_ms < 2000


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.example", "A", ["192.0.2.2"]),
        ("www.example", "CNAME", ["web.example"]),
        ("example", "MX", ["10 mail.example."]),
        ("example", "TXT", ["v=spf1 -all"]),
    ],
)
def test_what_is_expected_must_be_among_the_answers(server: str, name: str, kind: str, expected: list[str]):
    assert probe(server, name, type=kind, expect=expected).error is None
    outcome = probe(server, name, type=kind, expect=[*expected, "something else"])
    assert (outcome.error.code, outcome.error.text) == ("unexpected_answer", "something else is not among the answers")
    assert outcome.readings["answers"] > 0


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("none.example", "A", "nxdomain"),
        ("web.example", "AAAA", "no_answer"),
        ("broken.example", "A", "servfail"),
        ("odd.example", "A", "servfail"),
        ("private.example", "A", "refused"),
        ("a..b", "A", "error"),
    ],
)
def test_each_way_of_not_answering_has_its_code(server: str, name: str, kind: str, code: str):
    assert probe(server, name, type=kind).error.code == code


def test_a_silent_server_is_a_timeout_at_the_timeout(server: str):
    started = time.monotonic()
    outcome = probe(server, "slow.example", timeout=0.5)
    assert time.monotonic() - started < 0.9
    assert (outcome.error.code, outcome.error.text) == ("timeout", "no answer within 0.5 s")


def test_without_a_server_this_hosts_own_is_asked():
    outcome = probe(None, "no-such-name.invalid", timeout=1)
    assert outcome.error is not None


@pytest.mark.parametrize("server", ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:53"])
def test_a_server_is_an_address_with_or_without_a_port(server: str):
    assert probe_dns.Options.model_validate({"name": "x", "server": server})


@pytest.mark.parametrize(
    "server", ["dns.example", "192.0.2.1:", "192.0.2.1:99999", "192.0.2.300", "[2001:db8::1]:x", ""]
)
def test_anything_else_is_no_server(server: str):
    with pytest.raises(ValueError, match="must"):
        probe_dns.Options.model_validate({"name": "x", "server": server})
