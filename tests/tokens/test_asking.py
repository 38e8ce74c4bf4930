"""Questions to platforms: what is repeated, what is lost, what ends in time, and that nothing of it is quoted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import MOST_BYTES, TRIES, Asker, retry_after
from app.tokens.provider import Refused, Reply, Traits, Trouble
from tests.health import local
from tests.tokens.platforms.serving import HANG, PAGE, RESET, Asked, Serving
from tests.tokens.platforms.serving import Reply as Sent

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAYS, ROTATES = Traits(life=timedelta(days=60)), Traits(life=timedelta(hours=2), rotates=True)
TOKEN = Secret("canary-access-0123456789")
GOOD = Sent(200, {"fine": True})


class Table(Serving):
    """Answers one after the other, the last one for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[Sent] = [GOOD]
        self.seen: list[Asked] = []

    def answer(self, asked: Asked) -> Sent:
        self.seen.append(asked)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture(scope="module")
def server() -> Iterator[Table]:
    with Table() as running:
        yield running


@pytest.fixture
def table(server: Table) -> Table:
    server.replies, server.seen = [GOOD], []
    return server


def asker(traits: Traits = STAYS, *, timeout: float = 20, seconds: float = 25) -> Asker:
    app = App(name="instagram").model_copy(update={"timeout": timeout})
    return Asker(app, traits, now=NOW, seconds=seconds, waits=(0.01, 0.02))


def ask(url: str, *, single_use: bool = False, **more: float) -> Reply | Refused:
    return asker(**more).get(f"{url}/token", {"access_token": TOKEN}, single_use=single_use)


def is_refused(found: Reply | Refused, trouble: Trouble, reason: str) -> bool:
    assert isinstance(found, Refused)
    assert "canary" not in repr(found)
    assert "127.0.0.1" not in repr(found)
    return (found.trouble, found.reason) == (trouble, reason)


def test_secrets_are_revealed_on_the_wire_only(table: Table):
    asking = asker()
    asking.get(f"{table.url}/a", {"access_token": TOKEN}, headers={"Authorization": TOKEN})
    asking.post(
        f"{table.url}/b", {"code": TOKEN}, basic=("me", Secret("canary-secret")), headers={"User-Agent": "us/1"}
    )
    first, second = table.seen
    assert first.query == {"access_token": TOKEN.reveal()}
    assert first.headers["authorization"] == TOKEN.reveal()
    assert first.headers["user-agent"] == "smm-admin"
    assert second.form == {"code": TOKEN.reveal()}
    assert second.headers["authorization"].startswith("Basic ")
    assert second.headers["user-agent"] == "us/1"
    assert second.headers["content-type"] == "application/x-www-form-urlencoded"


def test_an_answer_is_its_status_its_headers_and_its_object(table: Table):
    table.replies = [Sent(400, {"error": 1}, {"Retry-After": "7", "Set-Cookie": "a=b"})]
    found = ask(table.url)
    assert isinstance(found, Reply)
    assert (found.status, found.document, found.is_json) == (400, {"error": 1}, True)
    assert "set-cookie" not in found.headers
    assert retry_after(found, NOW) == timedelta(seconds=7)
    assert "canary" not in repr(found)


@pytest.mark.parametrize(("value", "wait"), [
    ("0", None), ("nonsense", None), ("-3", None), ("120", timedelta(minutes=2)),
    ("Sun, 01 Mar 2026 12:00:30 GMT", timedelta(seconds=30)), ("Sun, 01 Mar 2026 11:00:00 GMT", None),
])  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, wait: timedelta | None):
    assert retry_after(Reply(429, {"retry-after": value}), NOW) == wait


@pytest.mark.parametrize("body", [PAGE, b"", b"[1]", b"null", b'{"a":', b"\xff\xfe", b"[" * 5000])
def test_an_error_page_is_an_answer_that_is_no_json(table: Table, body: bytes):
    table.replies = [Sent(404, body)]
    for single_use in (True, False):
        found = ask(table.url, single_use=single_use)
        assert isinstance(found, Reply)
        assert (found.status, dict(found.document), found.is_json) == (404, {}, False)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_was_surely_not_sent_is_tried_again_and_never_lost(scheme: str):
    url = f"{scheme}://127.0.0.1:{local.closed_port()}"
    assert is_refused(ask(url, single_use=True), Trouble.TRANSIENT, "unreachable")


def test_a_handshake_that_fails_is_nothing_sent(table: Table):
    found = ask(table.url.replace("http:", "https:"), single_use=True)
    assert is_refused(found, Trouble.TRANSIENT, "unreachable")


@pytest.mark.parametrize(("fault", "single_use", "trouble", "reason", "times"), [
    (RESET, True, Trouble.LOST, "answer_lost", 1),
    (RESET, False, Trouble.TRANSIENT, "no_answer", TRIES),
    (HANG, True, Trouble.LOST, "answer_lost", 1),
    (HANG, False, Trouble.TRANSIENT, "no_answer", TRIES),
    (Sent(200, b'{"access_token": "canary-', {"Content-Length": "999"}), True, Trouble.LOST, "answer_lost", 1),
    (Sent(200, b'{"access_token": "canary-', {"Content-Length": "999"}), False, Trouble.TRANSIENT, "no_answer", TRIES),
    (Sent(200, b'{"access_token": "canary-'), True, Trouble.LOST, "answer_lost", 1),
    (Sent(200, PAGE), True, Trouble.LOST, "answer_lost", 1),
    (Sent(200, b"x" * (MOST_BYTES + 1)), True, Trouble.LOST, "answer_lost", 1),
    (Sent(200, b"{}", {"Content-Encoding": "gzip"}), True, Trouble.LOST, "answer_lost", 1),
    (Sent(302, b"", {"Location": "/canary-elsewhere"}), False, Trouble.UNKNOWN, "redirected", 1),
    (Sent(307, b"", {"Location": "/canary-elsewhere"}), True, Trouble.UNKNOWN, "redirected", 1),
])  # fmt: skip
def test_what_may_be_used_up_is_sent_once_and_lost_without_a_whole_answer(
    table: Table, *, fault: Sent, single_use: bool, trouble: Trouble, reason: str, times: int
):
    table.replies = [fault]
    assert is_refused(ask(table.url, single_use=single_use, timeout=0.15 if fault is HANG else 20), trouble, reason)
    assert len(table.seen) == times


@pytest.mark.parametrize("body", [b'{"access_token": "canary-', PAGE, b"[]"])
def test_a_success_that_cannot_be_read_is_an_answer_where_a_repeat_does_no_harm(table: Table, body: bytes):
    table.replies = [Sent(200, body)]
    found = ask(table.url)
    assert isinstance(found, Reply)
    assert not found.is_json


def test_an_answer_that_breaks_off_is_asked_for_again(table: Table):
    table.replies = [RESET, Sent(200, b"{", {"Content-Length": "9"}), GOOD]
    found = ask(table.url)
    assert isinstance(found, Reply)
    assert found.document == {"fine": True}
    assert len(table.seen) == 3


@pytest.mark.parametrize(("status", "headers", "single_use", "times"), [
    (502, {}, False, TRIES), (503, {}, False, TRIES), (504, {}, False, TRIES), (503, {}, True, 1),
    (503, {"Retry-After": "60"}, False, 1), (500, {}, False, 1), (429, {}, False, 1), (400, {}, False, 1),
])  # fmt: skip
def test_a_gateway_without_its_server_is_asked_again_at_once(
    table: Table, status: int, headers: dict[str, str], single_use: bool, times: int
):
    table.replies = [Sent(status, PAGE, headers)]
    found = ask(table.url, single_use=single_use)
    assert isinstance(found, Reply)
    assert found.status == status
    assert len(table.seen) == times


def test_what_is_posted_to_a_platform_that_rotates_is_never_sent_twice(table: Table):
    table.replies = [RESET]
    found = asker(ROTATES).post(f"{table.url}/token", {"refresh_token": TOKEN})
    assert is_refused(found, Trouble.LOST, "answer_lost")
    assert len(table.seen) == 1


def test_all_questions_of_one_attempt_share_one_deadline(table: Table):
    table.replies, asking, begun = [HANG], asker(timeout=5, seconds=0.8), time.monotonic()
    assert is_refused(asking.get(f"{table.url}/a", {}), Trouble.TRANSIENT, "no_answer")
    assert is_refused(asking.post(f"{table.url}/b", {}, single_use=True), Trouble.TRANSIENT, "out_of_time")
    assert time.monotonic() - begun < 4
    assert len(table.seen) == 1


@pytest.mark.parametrize("value", ["canary-\r\nX-Evil: 1", "canary-\u00e9", "canary-\ud800", "canary-\x00"])
def test_what_cannot_be_sent_is_refused_without_being_shown(table: Table, value: str):
    found = asker().get(f"{table.url}/a", {}, headers={"Authorization": Secret(f"Bearer {value}")}, single_use=True)
    assert is_refused(found, Trouble.UNKNOWN, "unsendable")
    if value.isascii() or value.endswith("\u00e9"):
        assert isinstance(asker().post(f"{table.url}/b", {"code": Secret(value)}, single_use=True), Reply)
    else:
        assert is_refused(asker().post(f"{table.url}/b", {"code": Secret(value)}), Trouble.UNKNOWN, "unsendable")
