"""Signed links in messages that act once: who holds one may do that one thing to that one alert or group, for a time.

A token is the URL-safe base64 of compact JSON, a dot, and that of its HMAC-SHA256 under a key made of the
installation's. Nothing in it is secret but the right to use it: who logs a token gives that right away.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.alerts.acting import Target
from app.config import Settings
from app.errors import Invalid, Problem
from app.infra import adminkey
from app.notify import message

LIFE = timedelta(days=7)
LONGEST = 700
"""Characters of the longest token that is looked at."""
PURPOSE = "alert links"

_VERSION = 1
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_LONGEST_NAME = 80


class Action(StrEnum):
    """What a link does."""

    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence-1h"
    RESOLVE = "resolve"


LABELS = {Action.ACKNOWLEDGE: "Acknowledge", Action.SILENCE: "Silence for 1 h", Action.RESOLVE: "Resolve"}
"""What people read on them."""


class Expired(Invalid):
    """The link was good, and its time is over."""


@dataclass(frozen=True, slots=True)
class Link:
    """A token that was read. `who`: whom the message was sent to ("" where that is nobody in particular)."""

    id: str
    action: Action
    target: Target
    expires_at: datetime
    who: str = ""


def make(
    config: Settings, action: Action, target: Target, *, now: datetime, who: str = "", life: timedelta = LIFE
) -> str:
    """The address of a new link, good for one use until `life` is over. Raises Misconfigured without a key."""
    payload = {
        "v": _VERSION,
        "id": secrets.token_urlsafe(12),
        "a": str(action),
        "g" if target.kind == "group" else "e": target.id.hex,
        "x": int((now + life).timestamp()),
        **({"w": who[:_LONGEST_NAME]} if who else {}),
    }
    body = _text(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode())
    return f"{config.external_url}/a/{body}.{_signature(config, body)}"


def of_group(config: Settings, group_id: UUID, now: datetime, *, who: str = "") -> tuple[message.Link, ...]:
    """What a message about a group offers to do about it. `who`: whom the message is sent to, where that is known."""
    target = Target("group", group_id)
    return tuple(
        message.Link(label, make(config, action, target, now=now, who=who)) for action, label in LABELS.items()
    )


def read(config: Settings, token: str, *, now: datetime) -> Link:
    """The link of a token. Raises Expired, or Invalid for what this installation did not sign."""
    if len(token) > LONGEST or not _SHAPE.fullmatch(token):
        raise _not_ours()
    body, _, signature = token.partition(".")
    if not hmac.compare_digest(signature, _signature(config, body)):
        raise _not_ours()
    link = _link(_payload(body))
    if link.expires_at <= now:
        raise Expired([Problem("link", "has expired")], subject="link")
    return link


def _signature(config: Settings, body: str) -> str:
    key = adminkey.derived(config, PURPOSE)
    return _text(hmac.new(key.encode(), body.encode(), hashlib.sha256).digest())


def _payload(body: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        raise _not_ours() from None


def _link(payload: Any) -> Link:
    """Signed by us, though maybe by another version of us."""
    try:
        if payload["v"] != _VERSION:
            raise _not_ours()
        target = Target("group", UUID(payload["g"])) if "g" in payload else Target("episode", UUID(payload["e"]))
        expires_at = datetime.fromtimestamp(payload["x"], UTC)
        return Link(str(payload["id"]), Action(payload["a"]), target, expires_at, str(payload.get("w", "")))
    except (KeyError, TypeError, ValueError):
        raise _not_ours() from None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _not_ours() -> Invalid:
    return Invalid([Problem("link", "is none of this installation's, or is damaged")], subject="link")
