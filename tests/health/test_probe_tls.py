"""The TLS probe against certificates that are good, short, expired, strange, or for somebody else."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.health.probes import tls
from app.health.probing import Outcome, Target
from app.health.results import assess
from tests.fixtures.certificates import Authority, Pair
from tests.health import local


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@contextmanager
def serving(pair: Pair, *, smtp: bool = False, offers: bool = True) -> Iterator[int]:
    """A port that shakes hands with everybody who comes, after STARTTLS if it is a mail server's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.both)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(5)
                with suppress(OSError), connection:
                    if smtp:
                        connection.sendall(b"220-mail.example\r\n220 ready\r\n")
                        connection.recv(100)
                        connection.sendall(b"250-mail.example\r\n250 STARTTLS\r\n")
                        connection.recv(100)
                        connection.sendall(b"220 go ahead\r\n" if offers else b"502 not here\r\n")
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def probe(port: int, *, timeout: float = 2, **options: object) -> Outcome:
    target = Target(name="tls", timeout_seconds=timeout, home=Path("/"))
    return tls.probe(target, tls.Options.model_validate({"host": "127.0.0.1", "port": port, **options}))


def test_a_trusted_certificate_tells_the_days_that_are_left(authority: Authority):
    with serving(authority.sign("web.example", days=30.5)) as port:
        outcome = probe(port, server_name="web.example", ca_file=authority.file)
    assert outcome.error is None
    assert (outcome.readings["days_left"], outcome.readings["issuer"]) == (30, "test authority")
    assert outcome.readings["expires_at"].endswith("Z")
    assert assess(outcome.readings, tls.THRESHOLDS).levels == {}


@pytest.mark.parametrize(("days", "level"), [(14.5, "warning"), (3.5, "degraded"), (0.5, "degraded")])
def test_few_days_are_a_warning_and_very_few_degrade(authority: Authority, days: float, level: str):
    with serving(authority.sign("127.0.0.1", days=days)) as port:
        outcome = probe(port, ca_file=authority.file)
    assert outcome.error is None
    assert assess(outcome.readings, tls.THRESHOLDS).levels == {"days_left": level}


def test_an_expired_certificate_fails_and_says_since_when(authority: Authority):
    with serving(authority.sign("127.0.0.1", days=-2.5)) as port:
        outcome = probe(port, ca_file=authority.file)
        unverified = probe(port, verify=False)
    assert outcome.error.code == unverified.error.code == "expired"
    assert outcome.readings["days_left"] == unverified.readings["days_left"] == -3


def test_an_authority_nobody_knows_is_not_trusted_and_the_days_are_told_all_the_same(authority: Authority):
    with serving(authority.sign("127.0.0.1", days=10.5)) as port:
        outcome = probe(port)
        assert outcome.error.code == "not_trusted"
        assert outcome.readings["days_left"] == 10
        assert probe(port, verify=False).error is None


def test_a_certificate_of_somebody_else_is_for_the_wrong_host(authority: Authority):
    with serving(authority.sign("web.example", days=10.5)) as port:
        outcome = probe(port, ca_file=authority.file, server_name="shop.example")
        assert (outcome.error.code, outcome.error.text) == ("wrong_host", "the certificate is for another name")
        assert outcome.readings["days_left"] == 10
        assert probe(port, ca_file=authority.file).error.code == "wrong_host"


def test_a_mail_server_is_asked_for_starttls(authority: Authority):
    pair = authority.sign("mail.example", days=20.5)
    with serving(pair, smtp=True) as port:
        outcome = probe(port, starttls="smtp", server_name="mail.example", ca_file=authority.file)
    assert outcome.error is None
    assert outcome.readings["days_left"] == 20
    with serving(pair, smtp=True, offers=False) as port:
        assert probe(port, starttls="smtp").error.code == "no_starttls"


def test_a_port_that_is_closed_silent_or_no_tls_is_told_as_such(silent_port: int, web: local.Web):
    assert probe(local.closed_port()).error.code == "refused"
    started = time.monotonic()
    assert probe(silent_port, timeout=0.4).error.code == "timeout"
    assert probe(silent_port, timeout=0.4, starttls="smtp").error.code == "timeout"
    assert time.monotonic() - started < 1.2
    assert probe(web.port).error.code in ("tls", "reset")
