"""A message through a Slack incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.

The webhook answers `ok` and no id, so later messages cannot reply to the first.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.notify.calling import encoded, judged, post
from app.notify.channel import Options as BaseOptions
from app.notify.channel import Rate, SecretUrl, digest
from app.notify.content import Content, content_of, standing_lines
from app.notify.message import Delivery, Link, Outcome
from app.notify.text import Piece, fit, joined, mrkdwn

KIND = "slack"
SUMMARY = "a message through a Slack incoming webhook"
RATE = Rate(per_second=1, burst=5)
DEDUPLICATES = False
THREADS = False
TAKES_TO = False
ACKNOWLEDGES = True
LETTERS = True

MAX_BLOCKS = 50
MAX_SECTION = 3000
MAX_HEADER = 150
MAX_FIELD = 2000
_FIELDS_IN_SECTION = 10


class Options(BaseOptions):
    """The webhook, which belongs to one channel of one workspace."""

    webhook_url: SecretUrl = Field(description="the webhook's address, which is a secret")


def destination(options: Options, _to: str | None) -> str:
    """`slack:` and a digest of the address."""
    return f"{KIND}:{digest(options.webhook_url.get_secret_value())}"


def send(delivery: Delivery, options: Options) -> Outcome:
    """One message."""
    content = content_of(delivery, deduplicates=DEDUPLICATES)
    fallback = joined((Piece(content.headline), *(Piece(line, before="\n") for line in standing_lines(content)),
                       Piece(content.summary, before="\n")), MAX_SECTION, escape=mrkdwn)  # fmt: skip
    body = {"text": fallback, "blocks": blocks(content), "unfurl_links": False, "unfurl_media": False}
    return judged(post(delivery, options.webhook_url.get_secret_value(), encoded(body)))


def blocks(content: Content) -> list[dict[str, Any]]:
    """The message as Block Kit."""
    header = {"type": "plain_text", "text": fit(content.headline, MAX_HEADER), "emoji": False}
    found: list[dict[str, Any]] = [{"type": "header", "text": header}]
    found += [_section(Piece(text)) for text in (*standing_lines(content), content.summary, content.note) if text]
    for start in range(0, len(content.fields), _FIELDS_IN_SECTION):
        rows = content.fields[start : start + _FIELDS_IN_SECTION]
        found.append({"type": "section", "fields": [_text(_named(row, "\n"), limit=MAX_FIELD) for row in rows]})
    if content.alerts:
        found.append(_section(*(Piece(line, before="\n") for line in content.alert_lines)))
    found += [_section(_named(paragraph, "\n")) for paragraph in content.paragraphs]
    links = joined((Piece("", before=_link(link)) for link in content.links), MAX_SECTION)
    if links:
        found.append({"type": "section", "text": {"type": "mrkdwn", "text": links, "verbatim": True}})
    found = found[: MAX_BLOCKS - 1]
    if content.footer:
        found.append({"type": "context", "elements": [_text(Piece(content.footer), limit=MAX_FIELD)]})
    return found


def _section(*pieces: Piece) -> dict[str, Any]:
    return {"type": "section", "text": _text(*pieces)}


def _text(*pieces: Piece, limit: int = MAX_SECTION) -> dict[str, Any]:
    """`verbatim`: Slack makes no links of its own out of what is written."""
    return {"type": "mrkdwn", "text": joined(pieces, limit, escape=mrkdwn), "verbatim": True}


def _named(pair: tuple[str, str], between: str) -> Piece:
    name, value = pair
    return Piece(value, before=f"*{mrkdwn(name)}*{between}")


def _link(link: Link) -> str:
    return f"\n<{mrkdwn(link.url)}|{mrkdwn(link.label)}>"
