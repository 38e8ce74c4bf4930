"""Signed links in messages that act once: the right to do one thing to one alert or group, for a time."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.alerts.acting import Target
from app.config import Settings
from app.infra import signed
from app.infra.signed import Signed
from app.notify import message

LIFE = timedelta(days=7)
PURPOSE = "alert links"

_LONGEST_NAME = 80


class Action(StrEnum):
    """What a link does."""

    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence-1h"
    RESOLVE = "resolve"


LABELS = {Action.ACKNOWLEDGE: "Acknowledge", Action.SILENCE: "Silence for 1 h", Action.RESOLVE: "Resolve"}
"""What people read on them."""


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
    claims = {
        "id": secrets.token_urlsafe(12),
        "a": str(action),
        "g" if target.kind == "group" else "e": target.id.hex,
        **({"w": who[:_LONGEST_NAME]} if who else {}),
    }
    return f"{config.external_url}/a/{signed.sign(config, PURPOSE, claims, expires_at=now + life)}"


def of_group(config: Settings, group_id: UUID, now: datetime, *, who: str = "") -> tuple[message.Link, ...]:
    """What a message about a group offers to do about it. `who`: whom the message is sent to, where that is known."""
    target = Target("group", group_id)
    return tuple(
        message.Link(label, make(config, action, target, now=now, who=who)) for action, label in LABELS.items()
    )


def read(config: Settings, token: str, *, now: datetime) -> Link:
    """The link of a token. Raises `signed.Expired`, `signed.NotOurs`."""
    found = signed.read(config, PURPOSE, token)
    link = _link(found)
    signed.require_in_time(found, now)
    return link


def _link(found: Signed) -> Link:
    said = found.claims
    try:
        target = Target("group", UUID(said["g"])) if "g" in said else Target("episode", UUID(said["e"]))
        return Link(str(said["id"]), Action(said["a"]), target, found.expires_at, str(said.get("w", "")))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise signed.not_ours() from None
