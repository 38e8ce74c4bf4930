"""A message through a Discord webhook: https://discord.com/developers/docs/resources/webhook#execute-webhook.

Webhooks cannot reply, so later messages stand beside the first.
"""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import Field

from app import clock
from app.notify.calling import encoded, json_of, judged, number, post
from app.notify.channel import Options as BaseOptions
from app.notify.channel import Rate, SecretUrl, digest
from app.notify.content import Content, content_of, flow
from app.notify.message import Delivery, Link, Outcome
from app.notify.text import Piece, fit, joined, markdown, utf16_units

KIND = "discord"
SUMMARY = "a message through a Discord webhook"
RATE = Rate(per_second=0.5, burst=5)  # a webhook takes 30 a minute
DEDUPLICATES = False
THREADS = False
TAKES_TO = False
ACKNOWLEDGES = True
LETTERS = True

MAX_CONTENT = 2000
MAX_EMBED = 6000
MAX_TITLE = 256
MAX_DESCRIPTION = 4096
MAX_FIELDS = 25
MAX_FIELD_NAME = 256
MAX_FIELD_VALUE = 1024
_FIELDS_TOGETHER = 2000
_LINKS = 2000


class Options(BaseOptions):
    """The webhook, which belongs to one channel of one server."""

    webhook_url: SecretUrl = Field(description="the webhook's address, which is a secret")


def destination(options: Options, _to: str | None) -> str:
    """`discord:` and a digest of the address."""
    return f"{KIND}:{digest(options.webhook_url.get_secret_value())}"


def send(delivery: Delivery, options: Options) -> Outcome:
    """One message; `wait` makes Discord answer when it has stored it, with its id."""
    content = content_of(delivery, deduplicates=DEDUPLICATES)
    body = {
        "content": fit(content.headline, MAX_CONTENT, escape=markdown),
        "embeds": [embed(content) | {"timestamp": clock.iso(delivery.message.at)}],
        "allowed_mentions": {"parse": []},
    }
    url = httpx.URL(options.webhook_url.get_secret_value()).copy_merge_params({"wait": "true"})
    answer = post(delivery, str(url), encoded(body))
    said = json_of(answer)
    sent = said.get("id")
    return judged(answer, wait=number(said.get("retry_after")), provider_id=sent if isinstance(sent, str) else None)


def embed(content: Content) -> dict[str, Any]:
    """The message's body: what it says within 6000 characters in all, the links always among them."""
    found: dict[str, Any] = {
        "title": fit(content.title, MAX_TITLE, escape=markdown) or content.word,
        "color": content.colour,
        **({"footer": {"text": content.footer}} if content.footer else {}),
        "fields": _fields(content),
    }
    used = sum(utf16_units(text) for text in (found["title"], content.footer))
    used += sum(utf16_units(field["name"] + field["value"]) for field in found["fields"])
    room = min(MAX_DESCRIPTION, MAX_EMBED - used)
    links = joined((Piece("", before=_link(link)) for link in content.links), min(_LINKS, room))
    pieces = flow(content, bold=lambda label: f"**{markdown(label)}**", fields=False)
    text = joined(pieces, room - utf16_units(links) - 2, escape=markdown)
    return found | {"description": f"{text}\n\n{links}".strip("\n")}


def _fields(content: Content) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    left = _FIELDS_TOGETHER
    for name, value in content.fields[:MAX_FIELDS]:
        field = {
            "name": fit(name, MAX_FIELD_NAME, escape=markdown),
            "value": fit(value, MAX_FIELD_VALUE, escape=markdown),
            "inline": True,
        }
        left -= utf16_units(f"{field['name']}{field['value']}")
        if left < 0:
            break
        found.append(field)
    return found


def _link(link: Link) -> str:
    return f"\n[{markdown(link.label)}](<{link.url}>)"
