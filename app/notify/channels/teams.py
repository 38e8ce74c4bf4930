"""An Adaptive Card for a Microsoft Teams workflow ("Post to a channel when a webhook request is received").

Texts are RichTextBlocks: other than TextBlocks they know no Markdown, so what others wrote is shown as it is.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.notify.calling import fitted, judged, post
from app.notify.channel import Options as BaseOptions
from app.notify.channel import Rate, SecretUrl, digest
from app.notify.content import Content, content_of, standing_lines
from app.notify.message import Delivery, Outcome
from app.notify.text import one_line

KIND = "teams"
SUMMARY = "an Adaptive Card for a Microsoft Teams workflow"
RATE = Rate(per_second=1, burst=4)  # a workflow takes four requests a second at most
DEDUPLICATES = False
THREADS = False
TAKES_TO = False
ACKNOWLEDGES = True
LETTERS = True

MAX_BYTES = 28_000
_LINES = 20
_ONE_LINE_FROM = 500
"""Where texts must be this short, they are not broken into lines, each of which costs a block."""


class Options(BaseOptions):
    """The workflow, which posts to one channel or chat."""

    webhook_url: SecretUrl = Field(description="the workflow's address, which is a secret")


def destination(options: Options, _to: str | None) -> str:
    """`teams:` and a digest of the address."""
    return f"{KIND}:{digest(options.webhook_url.get_secret_value())}"


def send(delivery: Delivery, options: Options) -> Outcome:
    """One card; the workflow takes it (202) before it posts it."""

    def build(longest: int) -> dict[str, Any]:
        content = content_of(delivery, deduplicates=DEDUPLICATES, longest=longest)
        return message_of(card(content, is_broken=longest >= _ONE_LINE_FROM))

    return judged(post(delivery, options.webhook_url.get_secret_value(), fitted(build, MAX_BYTES)))


def message_of(content: dict[str, Any]) -> dict[str, Any]:
    """The card as what Teams calls a message."""
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": content}]}


def card(content: Content, *, is_broken: bool = True) -> dict[str, Any]:
    """The Adaptive Card. `is_broken`: line ends stay."""
    body = [_block(_run(content.headline, size="Large", weight="Bolder"))]
    body += [_block(_run(line, isSubtle=True)) for line in standing_lines(content)]
    for text in (content.summary, content.note):
        body += _blocks(text, is_broken=is_broken)
    body += [_block(_run(f"{name}: ", weight="Bolder"), _run(one_line(value))) for name, value in content.fields]
    body += [_block(_run(line)) for line in content.alert_lines]
    for name, value in content.paragraphs:
        body += [_block(_run(name, weight="Bolder")), *_blocks(value, is_broken=is_broken)]
    if content.footer:
        body.append(_block(_run(content.footer, size="Small", isSubtle=True)))
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "msteams": {"width": "Full"},
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": link.label, "url": link.url} for link in content.links],
    }


def _blocks(text: str, *, is_broken: bool) -> list[dict[str, Any]]:
    lines = text.split("\n") if is_broken else [one_line(text)]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], " ".join(lines[_LINES - 1 :])]
    return [_block(_run(line)) for line in lines if line.strip()]


def _block(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}
