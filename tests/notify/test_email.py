"""What a real mail server gets: readable, threaded, never twice under two names, over TLS and with a login."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.notify import Delivery, Event, Outcome, kinds, send
from app.notify.content import REPEAT
from tests.notify.messages import HEBREW, HOSTILE, delivery, message
from tests.notify.servers import PASSWORD, Letter, MailServer, mail_options, mail_server, spec_of

ACKNOWLEDGE = "https://ops.example.com/a/1?t=x&y=z"


def sent(mail: MailServer, given: Delivery) -> Letter:
    """The letter that came of it."""
    outcome = send(mail.spec(), given)
    assert (outcome.delivered, outcome.error) == (True, None)
    return mail.letters[-1]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_a_letter_says_everything_in_plain_text_and_in_html(mail: MailServer) -> None:
    letter = sent(mail, delivery())
    assert (letter.sender, letter.to) == ("ops@example.com", ("ann@example.com",))
    for words in ("Firing: postgres is down", "critical · 1 firing", "Postgres refuses connections", "Service",
                  "postgres", "Impact", "Nothing can be stored.", "Acknowledge", "Nobody acknowledged"):  # fmt: skip
        assert words in letter.body("plain")
        assert words in letter.body("html")
    assert ACKNOWLEDGE in letter.body("plain")
    assert ACKNOWLEDGE in Tags(letter.body("html")).links


def test_no_line_on_the_way_begins_with_a_full_stop_wherever_lines_are_broken(mail: MailServer) -> None:
    text = "".join(f"{'ü' * length}. So far... " for length in range(40))
    letter = sent(mail, delivery(message(summary=text)))
    assert not re.search(rb"^\.", letter.raw, re.MULTILINE)
    assert all(len(line) <= 76 for line in letter.raw.partition(b"quoted-printable")[2].splitlines())
    for kind in ("plain", "html"):
        assert letter.body(kind).count("So far... ü") == 39


def test_a_letter_has_the_headers_of_an_automatic_one(mail: MailServer) -> None:
    headers = sent(mail, delivery()).mail
    assert headers["Auto-Submitted"] == "auto-generated"
    assert headers["From"] == "Operations <ops@example.com>"
    assert headers["To"] == "ann@example.com"
    assert headers["Subject"] == "postgres is down"
    assert headers["Date"].datetime == message().at
    assert (headers["X-Smm-Event"], headers["X-Smm-Severity"], headers["Importance"]) == ("firing", "critical", "high")


def test_each_notification_has_one_message_id_however_often_it_is_tried(mail: MailServer) -> None:
    first, again, other = (
        sent(mail, given).mail["Message-ID"]
        for given in (delivery(), delivery(may_be_repeat=True), delivery(message(key="n-2")))
    )
    assert first == again
    assert first != other
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", first)


def test_all_letters_of_a_thread_stand_together(mail: MailServer) -> None:
    first = send(mail.spec(), delivery())
    later = [delivery(message(key=f"n-{event}", event=event), reply_to=first.provider_id)
             for event in (Event.UPDATED, Event.RESOLVED)]  # fmt: skip
    lost = delivery(message(key="n-9", event=Event.REPEATED))
    other = delivery(message(key="n-10", thread="f" * 64))
    for given in (*later, lost, other):
        send(mail.spec(), given)
    letters = [letter.mail for letter in mail.letters]
    roots = [letter["References"].split()[0] for letter in letters]
    assert letters[0]["Message-ID"] == first.provider_id
    assert len(set(roots[:4])) == 1
    assert roots[4] != roots[0]
    assert [letter["In-Reply-To"] for letter in letters[1:3]] == [first.provider_id] * 2
    assert letters[1]["References"].split()[1] == first.provider_id
    assert letters[3]["In-Reply-To"] == roots[0]
    subjects = ["postgres is down", *["Re: postgres is down"] * 3, "postgres is down"]
    assert [letter["Subject"] for letter in letters] == subjects
    assert mail.letters[2].body("plain").startswith("✅ Resolved: postgres is down")


def test_a_reply_to_something_that_is_no_message_id_is_left_out(mail: MailServer) -> None:
    headers = sent(mail, delivery(reply_to="17\r\nBcc: eve@evil.test")).mail
    assert headers["In-Reply-To"] == headers["References"]
    assert headers["Bcc"] is None


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_others_wrote_becomes_a_sound_letter(name: str, mail: MailServer) -> None:
    letter = sent(mail, delivery(HOSTILE[name], may_be_repeat=True))
    assert max(len(line) for line in letter.raw.splitlines()) <= 998
    assert letter.raw.isascii()
    assert "\n" not in letter.mail["Subject"]
    assert [defect for part in letter.mail.walk() for defect in part.defects] == []
    tags = Tags(letter.body("html"))
    assert tags.tags <= {"html", "body", "h2", "h3", "p", "div", "table", "tr", "td", "a", "br"}
    assert all(link and link.startswith("https://") for link in tags.links)
    for kind in ("plain", "html"):
        assert REPEAT in letter.body(kind)
        assert re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", letter.body(kind)) is None


def test_right_to_left_text_arrives_and_is_shown_in_its_direction(mail: MailServer) -> None:
    letter = sent(mail, delivery(message(title=HEBREW, summary=HEBREW * 3)))
    assert letter.mail["Subject"] == HEBREW.strip()
    assert HEBREW.strip() in letter.body("plain")
    assert f'<p dir="auto">{(HEBREW * 3).strip()}</p>' in letter.body("html")


def test_only_what_may_be_a_repeat_says_so(mail: MailServer) -> None:
    assert REPEAT not in sent(mail, delivery()).body("plain")
    assert REPEAT in sent(mail, delivery(may_be_repeat=True)).body("plain")


def test_a_contact_brings_its_own_address(mail: MailServer) -> None:
    assert sent(mail, delivery(to="bob@example.com")).to == ("bob@example.com",)


@pytest.mark.parametrize("to", ["nobody", "a@b\r\nBcc: x@evil.test", "a@b, c@d", "<a@b>", "", "ä@example.com"])
def test_what_is_no_address_is_refused_for_good(to: str, mail: MailServer) -> None:
    outcome = send(mail.spec(), delivery(to=to))
    assert (outcome.delivered, outcome.permanent, mail.letters) == (False, True, [])


def test_of_several_addresses_those_that_are_refused_are_counted(mail: MailServer) -> None:
    mail.refused = {"gone@example.com"}
    outcome = send(mail.spec(options={"to": ["ann@example.com", "gone@example.com"]}), delivery())
    assert (outcome.delivered, outcome.error) == (True, "1 of 2 addresses were refused")
    assert mail.letters[0].to == ("ann@example.com",)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(("reply", "permanent"), [("451 4.3.0 later", False), ("552 5.3.4 never", True)])
def test_a_code_of_4xx_is_worth_another_try_and_5xx_is_final(
    command: str, reply: str, permanent: bool, mail: MailServer
) -> None:
    mail.replies[command] = reply
    outcome = send(mail.spec(), delivery())
    assert (outcome.delivered, outcome.permanent) == (False, permanent)
    assert reply.partition(" ")[0] in str(outcome.error)
    assert reply[4:] in str(outcome.error)


def test_a_letter_goes_over_starttls_when_the_certificate_is_known(certificate: Path) -> None:
    with mail_server(certificate=certificate) as mail:
        secure = {"security": "starttls", "ca_file": str(certificate)}
        assert send(mail.spec(options=secure), delivery()).delivered
        assert mail.letters[0].over_tls
        stranger = send(mail.spec(options={"security": "starttls"}), delivery())
        assert (stranger.delivered, stranger.permanent) == (False, False)
        assert "certificate is refused" in str(stranger.error)
        assert send(mail.spec(options={"security": "starttls", "verify_tls": False}), delivery()).delivered
        in_the_clear = send(mail.spec(), delivery())
        assert (in_the_clear.delivered, in_the_clear.permanent) == (False, True)


def test_a_letter_goes_over_tls_from_the_first_byte(certificate: Path) -> None:
    with mail_server(certificate=certificate, implicit=True) as mail:
        secure = {"security": "tls", "ca_file": str(certificate)}
        assert send(mail.spec(options=secure), delivery(HOSTILE["100 kB"])).delivered
        in_the_clear = send(mail.spec(timeout=0.5), delivery())
        assert (in_the_clear.delivered, len(mail.letters)) == (False, 1)


def test_a_server_without_starttls_is_given_nothing_in_the_clear(mail: MailServer) -> None:
    login = {"username": "smm", "password": PASSWORD}
    outcome = send(mail.spec(options={"security": "starttls", **login}), delivery())
    assert (outcome.delivered, outcome.permanent, mail.letters) == (False, True, [])
    assert "STARTTLS" in str(outcome.error)


def test_a_login_is_made_and_a_wrong_password_is_final_and_not_repeated(certificate: Path) -> None:
    with mail_server(certificate=certificate, login=True) as mail:
        options = {"security": "starttls", "ca_file": str(certificate), "username": "smm", "password": PASSWORD}
        assert send(mail.spec(options=options), delivery()).delivered
        assert mail.letters[0].login == "smm"
        outcome = send(mail.spec(options=options | {"password": "wr0ng-horse"}), delivery())
        assert (outcome.delivered, outcome.permanent) == (False, True)
        assert "answered 535 to the login" in str(outcome.error)
        assert "wr0ng-horse" not in str(outcome.error)


@contextmanager
def raw_server(*lines: bytes, pause: float = 0.0) -> Iterator[int]:
    """A port that says these lines, one for each that it is told, and then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                for line in lines:
                    for byte in line:
                        try:
                            connection.sendall(bytes([byte]))
                        except OSError:
                            return
                        time.sleep(pause)
                    if line.endswith(b"\n"):
                        connection.recv(65_536)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)


def to_port(port: int, **fields: float) -> Outcome:
    return send(spec_of("email", mail_options(port), **fields), delivery())


@pytest.mark.parametrize(
    ("lines", "permanent", "words"),
    [
        ((b"HTTP/1.1 400 Bad Request\r\n",), False, "answered -1 to the connection"),
        ((b"554 5.7.1 no\r\n",), True, "answered 554 to the connection: 5.7.1 no"),
        ((b"421 busy\r\n",), False, "answered 421 to the connection: busy"),
        ((b"220 hi\r\n", b"250 ok\r\n", b"250 ok\r\n"), False, "closed the connection"),
        ((b"",), False, "closed the connection"),
    ],
)
def test_a_server_that_misbehaves_is_judged_by_what_it_says(
    lines: tuple[bytes, ...], permanent: bool, words: str
) -> None:
    with raw_server(*lines) as port:
        outcome = to_port(port)
    assert (outcome.delivered, outcome.permanent) == (False, permanent)
    assert words in str(outcome.error)


def test_a_server_that_drips_is_left_at_the_deadline() -> None:
    started = time.monotonic()
    with raw_server(b"220 " + b"x" * 200, pause=0.05) as port:
        outcome = to_port(port, timeout=0.5)
        assert time.monotonic() - started < 1.5
    assert (outcome.delivered, outcome.permanent) == (False, False)
    assert "no answer in time" in str(outcome.error)


def test_a_letter_that_was_taken_is_delivered_even_when_the_goodbye_fails() -> None:
    greeting = (b"220 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                for line in greeting:
                    connection.sendall(line)
                    received = connection.recv(65_536)
                while not received.endswith(b"\r\n.\r\n"):
                    received += connection.recv(65_536)
                connection.sendall(b"250 taken\r\n")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert to_port(listener.getsockname()[1]).delivered
        thread.join(20)


@pytest.mark.parametrize(
    "wrong",
    [
        {"from": "nobody"},
        {"from": "x\r\nBcc: y <a@b.test>"},
        {"to": ["nobody"]},
        {"security": "ssl"},
        {"username": "smm"},
        {"username": "smm", "password": "пароль"},
        {"ca_file": "/no/such/file"},
        {"port": 0},
    ],
)
def test_options_that_cannot_work_are_refused_when_they_are_read(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        kinds()["email"].Options.model_validate(mail_options(25) | wrong)
    assert "пароль" not in str(refused.value)
