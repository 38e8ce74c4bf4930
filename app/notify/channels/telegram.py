"""A bot's message to a Telegram chat: https://core.telegram.org/bots/api#sendmessage."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pydantic import Field, SecretStr, field_validator

from app import clock
from app.errors import Misconfigured
from app.infra import http
from app.infra.logging import get_logger
from app.notify.calling import encoded, json_of, judged, number, post
from app.notify.channel import BaseUrl, Rate
from app.notify.channel import Options as BaseOptions
from app.notify.content import content_of, flow
from app.notify.message import Delivery, Link, Outcome
from app.notify.text import Piece, html, joined, utf16_units

KIND = "telegram"
SUMMARY = "a Telegram bot's message to a chat, a group or a channel; later ones reply to the first"
RATE = Rate(per_second=0.33, burst=5)  # a group takes 20 a minute: https://core.telegram.org/bots/faq
DEDUPLICATES = False
THREADS = True
TAKES_TO = True
ACKNOWLEDGES = True
LETTERS = True

MAX_TEXT = 4096
_LINKS = 1500
_CHAT = re.compile(r"-?\d{1,20}|@[A-Za-z]\w{3,63}")
_LOOKS_LIKE = "must be a chat's number, such as -1001234567890, or a channel's @name"

log = get_logger(__name__)


class Options(BaseOptions):
    """The bot, and the chat where contacts name none."""

    token: SecretStr = Field(description="the bot's token, from @BotFather")
    chat_id: str | None = Field(default=None, description="chat where a contact names none: its number, or @name")
    silent: bool = Field(default=False, description="arrive without a sound")
    base_url: BaseUrl = Field(default="https://api.telegram.org", description="beginning of the Bot API's addresses")

    @field_validator("token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"\d{1,20}:[\w-]{1,100}", value.get_secret_value(), re.ASCII):
            raise ValueError("must be a bot's token, such as 123456:ABC-DEF")
        return value

    @field_validator("chat_id", mode="before")
    @classmethod
    def _number_or_text(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @field_validator("chat_id")
    @classmethod
    def _chat(cls, value: str | None) -> str | None:
        if value is not None and not _CHAT.fullmatch(value):
            raise ValueError(_LOOKS_LIKE)
        return value


def destination(options: Options, to: str | None) -> str:
    """`telegram:CHAT`. Raises Misconfigured without a chat."""
    return f"{KIND}:{_chat(options, to)}"


def send(delivery: Delivery, options: Options) -> Outcome:
    """One message; a group that became a supergroup is followed to its new number."""
    chat = _chat(options, delivery.to)
    text = rendered(delivery)
    started = clock.monotonic()
    answer = _post(delivery, options, chat, text)
    moved = _parameters(answer).get("migrate_to_chat_id")
    if answer.status == 400 and isinstance(moved, int):
        log.warning("a telegram chat has moved: write its new number into the catalogue", chat=chat, new=moved)
        left = max(0.1, delivery.timeout_seconds - (clock.monotonic() - started))
        answer = _post(replace(delivery, timeout_seconds=left), options, str(moved), text)
    result = json_of(answer).get("result")
    sent = result.get("message_id") if isinstance(result, dict) else None
    return judged(
        answer,
        wait=number(_parameters(answer).get("retry_after")),
        provider_id=str(sent) if isinstance(sent, int) else None,
    )


def rendered(delivery: Delivery) -> str:
    """The text as Telegram's HTML, at most 4096 characters with its markup, the links always among them."""
    content = content_of(delivery, deduplicates=DEDUPLICATES)
    links = joined((Piece("", before=_link(link)) for link in content.links), _LINKS)
    pieces = (
        Piece(content.headline, before="<b>", after="</b>"),
        *flow(content, bold=lambda label: f"<b>{html(label)}</b>"),
    )
    text = joined(pieces, MAX_TEXT - utf16_units(links) - 2, escape=html)
    return f"{text}\n\n{links}" if links else text


def _link(link: Link) -> str:
    return f'\n<a href="{html(link.url)}">{html(link.label)}</a>'


def _chat(options: Options, to: str | None) -> str:
    chat = to or options.chat_id
    if chat is None:
        raise Misconfigured("no chat: give chat_id, or `to` of the contact")
    if not _CHAT.fullmatch(chat):
        raise Misconfigured(_LOOKS_LIKE)
    return chat


def _post(delivery: Delivery, options: Options, chat: str, text: str) -> http.Answer:
    body: dict[str, Any] = {
        "chat_id": chat if chat.startswith("@") else int(chat),
        "text": text,
        "parse_mode": "HTML",
        "disable_notification": options.silent,
        "link_preview_options": {"is_disabled": True},
    }
    if delivery.reply_to is not None and delivery.reply_to.isascii() and delivery.reply_to.isdigit():
        body |= {"reply_to_message_id": int(delivery.reply_to), "allow_sending_without_reply": True}
    url = f"{options.base_url}/bot{options.token.get_secret_value()}/sendMessage"
    return post(delivery, url, encoded(body))


def _parameters(answer: http.Answer) -> dict[str, Any]:
    found = json_of(answer).get("parameters")
    return found if isinstance(found, dict) else {}
