"""Signed texts that go into addresses: who holds one may do what it says until its time is over.

A token is the URL-safe base64 of compact JSON, a dot, and that of its HMAC-SHA256 under a key made of the
installation's for one purpose. Nothing in it is secret but the right to use it: who logs a token gives that right away.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.config import Settings
from app.errors import Invalid, Problem
from app.infra import adminkey

LONGEST = 700
"""Characters of the longest token that is looked at."""

_VERSION = 1
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")


class Expired(Invalid):
    """The link was good, and its time is over."""


class NotOurs(Invalid):
    """This installation did not sign it, or a part of it is missing."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good token says, as it was given to `sign`."""

    claims: Mapping[str, Any]
    expires_at: datetime


def sign(config: Settings, purpose: str, claims: Mapping[str, Any], *, expires_at: datetime) -> str:
    """A token that says `claims`, to the second. Raises Misconfigured without a key."""
    payload = {"v": _VERSION, **claims, "x": int(expires_at.timestamp())}
    body = text_of(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode())
    return f"{body}.{_signature(config, purpose, body)}"


def read(config: Settings, purpose: str, token: str) -> Signed:
    """What a token says, expired or not. Raises NotOurs for what was not signed here for the purpose."""
    if len(token) > LONGEST or not _SHAPE.fullmatch(token):
        raise not_ours()
    body, _, signature = token.partition(".")
    if not hmac.compare_digest(signature, _signature(config, purpose, body)):
        raise not_ours()
    try:
        payload = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if payload.pop("v") != _VERSION:
            raise not_ours()
        return Signed(payload, datetime.fromtimestamp(payload.pop("x"), UTC))
    except (binascii.Error, AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError):
        raise not_ours() from None  # signed by us, though maybe by another version of us


def require_in_time(signed: Signed, now: datetime) -> None:
    """Raises Expired."""
    if signed.expires_at <= now:
        raise Expired([Problem("link", "has expired")], subject="link")


def not_ours() -> NotOurs:
    """For a token that says what its reader does not understand, too."""
    return NotOurs([Problem("link", "is none of this installation's, or is damaged")], subject="link")


def text_of(raw: bytes) -> str:
    """Bytes as URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signature(config: Settings, purpose: str, body: str) -> str:
    key = adminkey.derived(config, purpose)
    return text_of(hmac.new(key.encode(), body.encode(), hashlib.sha256).digest())
