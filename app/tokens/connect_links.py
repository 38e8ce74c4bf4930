"""Signed links with which an account's owner logs in again: for that one account and a time, until it is connected.

A link may be opened as often as one likes. It is of no use any more when the account was connected after it was made;
a refresh in between does not spoil it, since its owner may have been asked for another reason than the token's end.
Who finds such a link can do nothing with it but log in to the platform as that very account.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import UUID

from app import catalog
from app.config import Settings
from app.infra import signed

PREFIX = "/connect/"
PURPOSE = "connect links"
REACH = "set SMM_PUBLIC_URL to the address that owners reach"


@dataclass(frozen=True, slots=True)
class ConnectLink:
    """A token that was read. `generation`: the account's when the link was made."""

    account_id: UUID
    generation: int
    made_at: datetime
    expires_at: datetime
    token: str = field(repr=False)


def reach_problem(config: Settings) -> str:
    """Why an owner could not open a link: it leads to this host itself. Empty where that is not to be seen."""
    host = urlsplit(config.external_url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        is_here = host == "localhost" or host.endswith(".localhost")
    else:
        is_here = address.is_loopback or address.is_unspecified
    return f"links for owners begin with {config.external_url}, which only this host opens" if is_here else ""


def make(config: Settings, account_id: UUID, *, generation: int, now: datetime) -> str:
    """The address of a link, good for [tokens] link_hours. Raises Misconfigured without a key."""
    life = timedelta(hours=catalog.current().connecting.tokens.link_hours)
    claims = {"c": account_id.hex, "g": generation, "m": int(now.timestamp())}
    return f"{config.external_url}{PREFIX}{signed.sign(config, PURPOSE, claims, expires_at=now + life)}"


def read(config: Settings, token: str, *, now: datetime) -> ConnectLink:
    """The link of a token. Raises `signed.Expired`, `signed.NotOurs`."""
    found = signed.read(config, PURPOSE, token)
    try:
        account_id, generation = UUID(found.claims["c"]), int(found.claims["g"])
        made_at = datetime.fromtimestamp(found.claims["m"], UTC)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError):
        raise signed.not_ours() from None
    signed.require_in_time(found, now)
    return ConnectLink(account_id, generation, made_at, found.expires_at, token)
