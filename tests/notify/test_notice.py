"""A notice to somebody who knows nothing of alerts: its own words and its link, and nothing of ours around them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from app.notify import Event, Link, Message, kinds, send
from app.notify.content import MAYBE_KNOWN, REPEAT
from tests.notify.messages import ALERT, delivery, message
from tests.notify.servers import ChannelServer, MailServer

CHATS = ("discord", "slack", "teams", "telegram")
OURS = re.compile(r"firing|critical|severity|smm[-_]|alert|resolved|acknowledge", re.IGNORECASE)
NOTICE = replace(
    message(event=Event.NOTICE, title="Please log in to Instagram again", note="", fields=(), paragraphs=()),
    summary="Hello,\n\nthe password of Ann's studio was changed.",
    links=(Link("Log in again", "https://social.example.com/connect/abc"),),
)


def in_short(text: str) -> str:
    return " ".join(text.split())


def told(server: ChannelServer) -> str:
    return json.dumps(server.requests[-1].json, ensure_ascii=False)


def said(letter: Message, server: ChannelServer, kind: str, *, may_be_repeat: bool = False) -> str:
    assert send(server.spec(kind), delivery(letter, may_be_repeat=may_be_repeat)).delivered
    return told(server)


@pytest.mark.parametrize("kind", CHATS)
def test_a_chat_shows_the_notices_words_and_none_of_ours(kind: str, server: ChannelServer) -> None:
    text = said(NOTICE, server, kind).replace("\\\\", "")
    assert "Please log in to Instagram again" in text
    assert "the password of Ann's studio was changed." in text
    assert "https://social.example.com/connect/abc" in text
    assert OURS.search(text) is None
    repeated = said(NOTICE, server, kind, may_be_repeat=True)
    assert (MAYBE_KNOWN in repeated.replace("\\\\", ""), REPEAT in repeated) == (True, False)


def test_an_e_mail_is_a_plain_letter_under_its_own_subject(mail: MailServer) -> None:
    outcome = send(mail.spec(), delivery(NOTICE))
    assert outcome.delivered
    [letter] = mail.letters
    assert letter.mail["Subject"] == "Please log in to Instagram again"
    assert letter.mail["X-Smm-Severity"] is None
    assert letter.mail["Importance"] is None
    assert in_short(letter.body("plain")) == (
        "Please log in to Instagram again Hello, the password of Ann's studio was changed. "
        "Log in again: https://social.example.com/connect/abc"
    )
    for body in (letter.body("plain"), letter.body("html")):
        assert OURS.search(body) is None
    assert "None" not in letter.body("html")


@pytest.mark.parametrize(("firing", "status"), [(1, "firing"), (0, "resolved")])
def test_a_program_reads_from_a_notice_whether_it_begins_or_ends_something(
    firing: int, status: str, server: ChannelServer
) -> None:
    letter = replace(NOTICE, firing=firing, resolved=1 - firing, alerts=(replace(ALERT, status=status),))
    said(letter, server, "webhook")
    body = server.requests[-1].json
    assert (body["status"], body["alerts"][0]["status"]) == (status, status)


def test_what_wakes_people_or_shows_on_our_pages_only_carries_no_notices() -> None:
    assert {kind for kind, module in kinds().items() if not module.LETTERS} == {"console", "pagerduty"}
