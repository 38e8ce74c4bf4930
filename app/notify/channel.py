"""What a channel is given and what it gives back. A kind of channel is one file in `channels/`:

    KIND, SUMMARY, Options (pydantic, extra forbidden, secrets as SecretStr, every field described)
    RATE           messages to one destination, where the catalogue says nothing
    DEDUPLICATES   the other side drops a repeated `message.key`, so a repeat needs no words about it
    THREADS        sends with `delivery.reply_to`: what it answered as `provider_id` is worth keeping
    TAKES_TO       it has many addresses: contacts name theirs with `to`
    ACKNOWLEDGES   it is told when somebody acknowledges
    LETTERS        it can carry a notice (`Event.NOTICE`) to somebody who is not of the staff
    destination(options, to) -> str      the address's stable name without secrets; Misconfigured where there is none
    send(delivery, options) -> Outcome

A refusal by the other side is an Outcome; what could not be asked at all is raised by type (Transient, Permanent).
Everything in `send` ends at `delivery.timeout_seconds`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from app.notify.message import Delivery, Outcome


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a second in the long run, and how many may go at once before that counts."""

    per_second: float
    burst: int


class Options(BaseModel):
    """Base of every channel's options: an unknown one is an error, and no error quotes a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class ChannelModule(Protocol):
    """The shape of a file in `channels/`."""

    KIND: str
    SUMMARY: str
    RATE: Rate
    DEDUPLICATES: bool
    THREADS: bool
    TAKES_TO: bool
    ACKNOWLEDGES: bool
    LETTERS: bool
    Options: type[Options]

    def destination(self, options: Any, to: str | None) -> str: ...

    def send(self, delivery: Delivery, options: Any) -> Outcome: ...


def _http(value: str) -> str:
    try:
        parts = httpx.URL(value)
    except httpx.InvalidURL:
        raise ValueError("must be an address such as https://example.com/path") from None
    if parts.scheme not in ("http", "https") or not parts.host or parts.fragment:
        raise ValueError("must be an address such as https://example.com/path")
    return value


def _http_secret(value: SecretStr) -> SecretStr:
    _http(value.get_secret_value())
    return value


def _base(value: str) -> str:
    return _http(value).rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base)]
"""The beginning of addresses, without a slash at its end."""

SecretUrl = Annotated[SecretStr, AfterValidator(_http_secret)]
"""An address that is itself the key to it."""


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset({"content-type", "content-length", "host", "idempotency-key", "x-smm-signature", "x-smm-event"})


def _sendable(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, text in value.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OURS:
            raise ValueError(f'"{name}" is no header that can be given')
        plain = text.get_secret_value()
        if not plain.isascii() or not plain.isprintable():
            raise ValueError(f'the value of "{name}" must be printable ASCII')
    return value


Headers = Annotated[dict[str, SecretStr], AfterValidator(_sendable)]
"""More request headers, none of which is one of ours."""


def signature(secret: SecretStr, body: bytes) -> str:
    """What X-Smm-Signature holds: `sha256=` and the body's HMAC-SHA256 in hex."""
    return f"sha256={hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()}"


def host_of(url: SecretStr) -> str:
    """All that may be shown of an address that is a key."""
    return httpx.URL(url.get_secret_value()).host


def digest(secret: str) -> str:
    """What may be shown in a secret's place: the first 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:12]
