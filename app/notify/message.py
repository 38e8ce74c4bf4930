"""What is told, whatever the channel: a message about a group of alerts, or a notice; what became of sending it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter


class Event(StrEnum):
    """Why a message is sent."""

    FIRING = "firing"
    UPDATED = "updated"  # more alerts, or fewer, in a group that is known
    REPEATED = "repeated"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    TEST = "test"
    NOTICE = "notice"  # a letter to somebody who knows nothing of alerts: its own words, and nothing around them


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert of the group. Times are aware; `ends_at` is None while it fires."""

    fingerprint: str
    name: str
    status: str
    severity: str
    summary: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A button or a line below the text."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message, rendered by each channel in its own way. Plain text throughout: channels escape and truncate.

    `key` is the notification's own and the same at each try; `thread` is the same for all messages about one group
    of alerts (64 hexadecimal digits), so that updates and ends land where the first message did. `fields` are short
    facts in their order ("Service", "postgres"); `paragraphs` longer ones ("Impact", "..."). `alerts` are at most 50
    of `firing` + `resolved`. `note` says why this message comes now, where that is not obvious.
    """

    key: str
    thread: str
    event: Event
    severity: str
    title: str
    summary: str
    at: datetime
    receiver: str = ""
    firing: int = 0
    resolved: int = 0
    note: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    paragraphs: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()
    alerts: tuple[AlertLine, ...] = ()
    group_key: str = ""
    group_labels: dict[str, str] = field(default_factory=dict)
    common_labels: dict[str, str] = field(default_factory=dict)
    common_annotations: dict[str, str] = field(default_factory=dict)
    external_url: str = ""

    def as_json(self) -> Any:
        """JSON-ready; `from_json` reads it back."""
        return _MESSAGE.dump_python(self, mode="json")

    @classmethod
    def from_json(cls, stored: Any) -> Message:
        """The message that `as_json` stored."""
        return _MESSAGE.validate_python(stored)


_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try to send a message to one address. `to` is None where the channel has only one.

    `reply_to` is what the other side called the first message of this thread at this address, where it gave a name.
    `may_be_repeat`: an earlier try may have arrived; channels that cannot deduplicate say so in the text.
    """

    message: Message
    to: str | None = None
    reply_to: str | None = None
    may_be_repeat: bool = False
    timeout_seconds: float = 10.0
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try. `error` is for people and holds no secret; `permanent`: another try cannot help.

    `retry_after`: how long the other side wants to be left alone, which it may say with a success, too. `provider_id`
    is what it called the message, for `Delivery.reply_to`.
    """

    delivered: bool
    permanent: bool = False
    rate_limited: bool = False
    retry_after: timedelta | None = None
    http_status: int | None = None
    provider_id: str | None = None
    latency_ms: float | None = None
    error: str | None = None
