"""What Telegram, Slack, Discord and Teams get: in their form, within their limits, whatever others wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from app.notify import Event, Link, send
from app.notify.channels import discord, slack, teams, telegram
from app.notify.content import REPEAT
from app.notify.text import utf16_units
from tests.notify.messages import ALERT, AT, HOSTILE, delivery, message
from tests.notify.servers import TOKEN, ChannelServer, Scripted

ACKNOWLEDGE = "https://ops.example.com/a/1?t=x&y=z"
CHATS = ("telegram", "slack", "discord", "teams")


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from texts(inner)
        case list():
            for inner in value:
                yield from texts(inner)


class Markup(HTMLParser):
    """Reads HTML as Telegram does: everything that is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("kind", CHATS)
def test_a_chat_is_told_everything_that_matters(kind: str, server: ChannelServer) -> None:
    assert send(server.spec(kind), delivery()).delivered
    told = "\n".join(texts(server.requests[0].json))
    for words in ("postgres is down", "critical", "1 firing", "Postgres refuses connections", "Nobody acknowledged",
                  "Service", "postgres", "Impact", "Nothing can be stored.", "Acknowledge", "Runbook"):  # fmt: skip
        assert words in told.replace("\\", "")
    assert ACKNOWLEDGE in told.replace("&amp;", "&")


@pytest.mark.parametrize("kind", CHATS)
def test_only_what_may_be_a_repeat_says_so(kind: str, server: ChannelServer) -> None:
    for may_be in (False, True):
        send(server.spec(kind), delivery(may_be_repeat=may_be))
    first, second = ("\n".join(texts(request.json)) for request in server.requests)
    assert REPEAT not in first
    assert REPEAT in second


@pytest.mark.parametrize("kind", CHATS)
@pytest.mark.parametrize("name", ["100 kB", "100 kB to be escaped", "100 kB of emoji", "100 kB of lines"])
def test_a_repeat_and_the_links_survive_any_length(kind: str, name: str, server: ChannelServer) -> None:
    send(server.spec(kind), delivery(HOSTILE[name], may_be_repeat=True))
    told = "\n".join(texts(server.requests[0].json))
    assert REPEAT in told
    assert "https://ops.example.com/a" in told


@pytest.mark.parametrize("kind", CHATS)
def test_an_acknowledgement_is_a_short_word(kind: str, server: ChannelServer) -> None:
    note = "Ann acknowledged it."
    send(server.spec(kind), delivery(message(event=Event.ACKNOWLEDGED, alerts=(ALERT, ALERT), note=note)))
    told = "\n".join(texts(server.requests[0].json))
    assert "Acknowledged" in told
    assert note in told.replace("\\", "")
    assert "Impact" not in told
    assert "SMM_Database" not in told.replace("\\", "")


@pytest.mark.parametrize("kind", CHATS)
def test_alerts_are_listed_when_there_are_several_and_the_rest_is_counted(kind: str, server: ChannelServer) -> None:
    many = message(alerts=(ALERT,) * 50, firing=77)
    send(server.spec(kind), delivery(many))
    told = "\n".join(texts(server.requests[0].json)).replace("\\", "")
    assert told.count("SMM_DatabaseConnectionFailure: Postgres refuses connections") == 20
    assert "and 57 more" in told


@pytest.mark.parametrize("kind", CHATS)
@pytest.mark.parametrize("name", ["right to left", "families"])
def test_foreign_writing_arrives_as_it_was_written(kind: str, name: str, server: ChannelServer) -> None:
    send(server.spec(kind), delivery(HOSTILE[name]))
    assert HOSTILE[name].title[:12] in "\n".join(texts(server.requests[0].json))


@pytest.mark.parametrize("kind", CHATS)
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_sent_has_controls_or_changes_of_direction(kind: str, name: str, server: ChannelServer) -> None:
    send(server.spec(kind), delivery(HOSTILE[name]))
    found = "".join(texts(server.requests[0].json))
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", found) is None
    assert "javascript:" not in found


# Telegram


@pytest.mark.parametrize("name", HOSTILE)
def test_telegram_gets_at_most_4096_characters_of_sound_html(name: str, server: ChannelServer) -> None:
    send(server.spec("telegram"), delivery(HOSTILE[name], may_be_repeat=True))
    text = server.requests[0].json["text"]
    assert 1 <= utf16_units(text) <= telegram.MAX_TEXT
    assert not re.search(r"&(?!(?:amp|lt|gt|quot);)", text)
    read = Markup(text)
    assert read.open == []
    assert read.tags <= {"b", "a"}
    assert all(link and link.startswith("https://") for link in read.links)


def test_telegram_shows_html_in_a_label_as_text(server: ChannelServer) -> None:
    send(server.spec("telegram"), delivery(message(fields=(("<b>x", "<script>alert('1')</script> &amp;"),))))
    text = server.requests[0].json["text"]
    assert "<b>&lt;b&gt;x:</b> &lt;script&gt;alert('1')&lt;/script&gt; &amp;amp;" in text


def test_telegram_is_called_as_its_api_wants_it(server: ChannelServer) -> None:
    outcome = send(server.spec("telegram", options={"silent": True}), delivery(to="-1002"))
    request = server.requests[0]
    assert request.path == f"/bot{TOKEN}/sendMessage"
    assert request.headers["content-type"] == "application/json"
    assert request.json | {"text": ""} == {
        "chat_id": -1002,
        "text": "",
        "parse_mode": "HTML",
        "disable_notification": True,
        "link_preview_options": {"is_disabled": True},
    }
    assert outcome.provider_id == "1"


def test_telegram_replies_in_the_thread_and_sends_all_the_same_when_the_first_is_gone(server: ChannelServer) -> None:
    send(server.spec("telegram"), delivery(to="@ops_alerts", reply_to="17"))
    body = server.requests[0].json
    assert (body["chat_id"], body["reply_to_message_id"], body["allow_sending_without_reply"]) == (
        "@ops_alerts", 17, True
    )  # fmt: skip
    send(server.spec("telegram"), delivery(reply_to="<mail@id>"))
    assert "reply_to_message_id" not in server.requests[1].json


def test_telegram_follows_a_group_that_moved(server: ChannelServer) -> None:
    moved = {"ok": False, "description": "group chat was upgraded", "parameters": {"migrate_to_chat_id": -100777}}
    server.will(Scripted(400, moved))
    outcome = send(server.spec("telegram"), delivery(reply_to="5"))
    assert [request.json["chat_id"] for request in server.requests] == [-1001, -100777]
    assert (outcome.delivered, outcome.provider_id) == (True, "2")


def test_telegram_follows_once_and_not_in_circles(server: ChannelServer) -> None:
    server.always = Scripted(400, {"ok": False, "parameters": {"migrate_to_chat_id": -100777}})
    outcome = send(server.spec("telegram"), delivery())
    assert len(server.requests) == 2
    assert outcome.permanent


def test_telegram_says_in_the_body_how_long_to_wait(server: ChannelServer) -> None:
    said = {"ok": False, "description": "Too Many Requests: retry after 31", "parameters": {"retry_after": 31}}
    server.will(Scripted(429, said, {"Retry-After": "1"}))
    outcome = send(server.spec("telegram"), delivery())
    assert outcome.retry_after is not None
    assert (outcome.rate_limited, outcome.retry_after.total_seconds()) == (True, 31)
    assert outcome.error == "answered 429: Too Many Requests: retry after 31"


# Slack


@pytest.mark.parametrize("name", HOSTILE)
def test_slack_gets_no_block_beyond_its_limits(name: str, server: ChannelServer) -> None:
    send(server.spec("slack"), delivery(HOSTILE[name], may_be_repeat=True))
    body = server.requests[0].json
    assert len(body["blocks"]) <= slack.MAX_BLOCKS
    assert utf16_units(body["text"]) <= slack.MAX_SECTION
    for block in body["blocks"]:
        match block:
            case {"type": "header", "text": {"type": "plain_text", "text": text}}:
                assert 1 <= utf16_units(text) <= slack.MAX_HEADER
            case {"type": "section", "text": {"type": "mrkdwn", "text": text}}:
                assert 1 <= utf16_units(text) <= slack.MAX_SECTION
            case {"type": "section", "fields": fields}:
                assert 1 <= len(fields) <= 10
                assert all(1 <= utf16_units(field["text"]) <= slack.MAX_FIELD for field in fields)
            case {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}:
                assert text
            case _:
                pytest.fail(f"a block of no known shape: {block}")


def test_slack_makes_no_mention_and_no_link_of_what_others_wrote(server: ChannelServer) -> None:
    send(server.spec("slack"), delivery(HOSTILE["mentions"]))
    for text in texts(server.requests[0].json["blocks"][1:]):
        for opened in re.findall(r"<[^>]*>", text):
            assert opened.startswith("<https://ops.example.com/a|")
    assert "&lt;!channel&gt;" in server.requests[0].body.decode()


def test_slack_says_why_it_refuses(server: ChannelServer) -> None:
    server.will(Scripted(404, "no_service"), Scripted(400, "invalid_token"))
    for words in ("answered 404: no_service", "answered 400: invalid_token"):
        outcome = send(server.spec("slack"), delivery())
        assert (outcome.permanent, outcome.error) == (True, words)


# Discord


@pytest.mark.parametrize("name", HOSTILE)
def test_discord_gets_nothing_beyond_its_limits(name: str, server: ChannelServer) -> None:
    send(server.spec("discord"), delivery(HOSTILE[name], may_be_repeat=True))
    body = server.requests[0].json
    assert 1 <= utf16_units(body["content"]) <= discord.MAX_CONTENT
    (embed,) = body["embeds"]
    assert 1 <= utf16_units(embed["title"]) <= discord.MAX_TITLE
    assert utf16_units(embed["description"]) <= discord.MAX_DESCRIPTION
    assert len(embed["fields"]) <= discord.MAX_FIELDS
    for field in embed["fields"]:
        assert 1 <= utf16_units(field["name"]) <= discord.MAX_FIELD_NAME
        assert 1 <= utf16_units(field["value"]) <= discord.MAX_FIELD_VALUE
    counted = [embed["title"], embed["description"], embed["footer"]["text"]]
    counted += [field[part] for field in embed["fields"] for part in ("name", "value")]
    assert sum(utf16_units(text) for text in counted) <= discord.MAX_EMBED


def test_discord_is_waited_for_and_mentions_nobody(server: ChannelServer) -> None:
    outcome = send(server.spec("discord"), delivery())
    request = server.requests[0]
    assert request.path.endswith("?wait=true")
    assert request.json["allowed_mentions"] == {"parse": []}
    assert request.json["embeds"][0]["timestamp"] == "2026-03-01T12:00:05.000Z"
    assert outcome.provider_id == "9007199254740901"


def test_discord_keeps_what_the_address_already_asks_for(server: ChannelServer) -> None:
    spec = server.spec("discord", options={"webhook_url": f"{server.base}/api/webhooks/1/x?thread_id=5"})
    send(spec, delivery())
    assert server.requests[0].path == "/api/webhooks/1/x?thread_id=5&wait=true"


def test_discord_shows_marks_of_markdown_as_they_are(server: ChannelServer) -> None:
    send(server.spec("discord"), delivery(message(summary="**bold** [x](https://evil.test) `code` ||hidden|| <@1>")))
    description = server.requests[0].json["embeds"][0]["description"]
    assert r"\*\*bold\*\* \[x\]\(https://evil.test\) \`code\` \|\|hidden\|\| \<@1\>" in description


def test_discord_says_in_the_body_how_long_to_wait(server: ChannelServer) -> None:
    server.will(Scripted(429, {"message": "You are being rate limited.", "retry_after": 1.337, "global": False}))
    outcome = send(server.spec("discord"), delivery())
    assert outcome.retry_after is not None
    assert outcome.retry_after.total_seconds() == 1.337


def test_discord_says_with_a_success_that_the_allowance_is_used_up(server: ChannelServer) -> None:
    limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "1.5"}
    server.will(Scripted(200, {"id": "1"}, limits), Scripted(200, {"id": "2"}, limits | {"X-RateLimit-Remaining": "4"}))
    first, second = (send(server.spec("discord"), delivery()) for _ in range(2))
    assert first.retry_after is not None
    assert (first.delivered, first.retry_after.total_seconds()) == (True, 1.5)
    assert (second.delivered, second.retry_after) == (True, None)


# Teams


@pytest.mark.parametrize("name", HOSTILE)
def test_teams_gets_a_card_within_its_bytes_and_without_markdown(name: str, server: ChannelServer) -> None:
    send(server.spec("teams"), delivery(HOSTILE[name], may_be_repeat=True))
    request = server.requests[0]
    assert len(request.body) <= teams.MAX_BYTES
    assert request.json["type"] == "message"
    (attachment,) = request.json["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.2")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert all(run["type"] == "TextRun" and run["text"] for block in card["body"] for run in block["inlines"])
    assert all(action["type"] == "Action.OpenUrl" and action["title"] for action in card["actions"])


def test_teams_cards_keep_lines_apart_while_there_is_room(server: ChannelServer) -> None:
    send(server.spec("teams"), delivery())
    runs = [run["text"] for block in server.requests[0].json["attachments"][0]["content"]["body"]
            for run in block["inlines"]]  # fmt: skip
    assert "Start it." in runs
    assert "Then look at its log." in runs


def test_links_that_are_none_are_left_out(server: ChannelServer) -> None:
    links = (Link("x", "javascript:alert(1)"), Link("y|>", "https://ok.test/a b)"))
    for kind in CHATS:
        send(server.spec(kind), delivery(message(links=links, at=AT)))
    told = [json.dumps(request.json) for request in server.requests]
    assert not any("javascript" in text for text in told)
    assert all("https://ok.test/a%20b%29" in text for text in told)
