"""What people give about an account and its token, checked: every field that is wrong is named, no value is quoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.catalog import Catalog, did_you_mean
from app.errors import Invalid, Misconfigured, Problem
from app.infra.text import storable
from app.notify import specs
from app.tokens import given_times as times
from app.tokens.given_reading import SECRETS, Reading
from app.tokens.provider import Tokens
from app.tokens.providers import platforms

TIMES = ("expires_at", "expires_in", "issued_at", "refresh_expires_at")
TOKEN = (*SECRETS, *TIMES, "scopes", "token_type")
CHANGEABLE = ("name", "app", "contacts", "telegram", "email")
FIELDS = ("tenant", "platform", "account", *CHANGEABLE, *TOKEN)
"""Names of what can be given: members of a body, columns of a file."""

MOST_CONTACTS = 20
LONGEST_ADDRESS = 320


@dataclass(frozen=True, slots=True)
class Wanted:
    """An account as it shall be; `tokens` None: it is not connected yet. None of the others: not given."""

    tenant: str
    platform: str
    external_id: str
    name: str | None = None
    app: str | None = None
    contacts: tuple[dict[str, str], ...] | None = None
    tokens: Tokens | None = None

    @property
    def key(self) -> str:
        """How people name it: PLATFORM/ACCOUNT."""
        return f"{self.platform}/{self.external_id}"


def split(key: str) -> tuple[str, str]:
    """Platform and account of PLATFORM/ACCOUNT. Raises Invalid."""
    platform, slash, external_id = key.partition("/")
    if not slash or not platform or not external_id or storable(key) != key:
        raise Invalid([Problem("account", "must be PLATFORM/ACCOUNT, such as instagram/17841400000000001")])
    return platform, external_id


class Checker:
    """Checks by one catalogue and at one time, for as many accounts as there are."""

    def __init__(self, catalog: Catalog, now: datetime) -> None:
        self._catalog = catalog
        self._now = now
        self._channels = specs.resolve_all(catalog)

    def account(self, given: Mapping[str, Any]) -> Wanted:
        """A whole account, with its token where there is one. Raises Invalid."""
        reading = Reading(given, FIELDS)
        tenant, platform, account = reading.tenant(), reading.platform(), reading.account()
        name, app = reading.text("name"), self._app(reading, platform)
        contacts, tokens = self._contacts(reading), self._tokens(reading, platform, required=False)
        reading.conclude("account")
        return Wanted(tenant, platform, account, name, app, contacts, tokens)

    def changes(self, platform: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of an account that shall be others: `name`, `app`, `contacts`. Raises Invalid."""
        sealed = {field for field in ("tenant", "platform", "account") if field in given}
        reading = Reading({name: value for name, value in given.items() if name not in sealed}, CHANGEABLE)
        for field in sorted(sealed):
            reading.wrong(field, "cannot be changed: a token is sealed for it; remove the account and add it anew")
        found: dict[str, Any] = {}
        if "name" in given:
            found["name"] = reading.text("name") or ""
        if "app" in given:
            found["app"] = self._app(reading, platform) or ""
        if any(field in given for field in ("contacts", "telegram", "email")):
            found["contacts"] = self._contacts(reading) or ()
        if not found and not sealed and not reading.problems:
            reading.wrong("body", f"names nothing to change: {', '.join(CHANGEABLE)}")
        reading.conclude("account")
        return found

    def token(self, platform: str, given: Mapping[str, Any]) -> Tokens:
        """A token by itself. Raises Invalid."""
        reading = Reading(given, TOKEN)
        tokens = self._tokens(reading, platform, required=True)
        reading.conclude("token")
        assert tokens is not None  # noqa: S101 - without one there is a problem
        return tokens

    def _app(self, reading: Reading, platform: str) -> str | None:
        name = reading.text("app")
        if name and platform and self._catalog.connecting.app_of(platform, name) is None:
            fitting = [app.name for app in self._catalog.connecting.apps.values() if app.at == platform]
            known = f": there is {', '.join(fitting)}" if fitting else ""
            reading.wrong("app", f"is no [apps.NAME] of {platform}{known}{did_you_mean(name, fitting)}")
        return name

    def _contacts(self, reading: Reading) -> tuple[dict[str, str], ...] | None:
        given = reading.contacts()
        if len(given) > MOST_CONTACTS:
            reading.wrong("contacts", f"must be at most {MOST_CONTACTS}")
            return None
        found = [self._contact(reading, where, one) for where, one in given]
        found += [self._by_kind(reading, kind) for kind in ("telegram", "email")]
        kept = [one for one in found if one is not None]
        if len(kept) > MOST_CONTACTS:
            reading.wrong("contacts", f"must be at most {MOST_CONTACTS}")
        unique = {(one["channel"], one.get("to")): one for one in kept}
        return tuple(unique.values()) if kept or reading.has("contacts") else None

    def _by_kind(self, reading: Reading, kind: str) -> dict[str, str] | None:
        """`telegram` and `email` are addresses on the channel of that kind."""
        to = reading.text(kind, most=LONGEST_ADDRESS)
        if not to:
            return None
        channels = [channel.name for channel in self._catalog.telling.channels.values() if channel.kind == kind]
        if kind in channels:
            channels = [kind]
        if len(channels) != 1:
            there = "no channel is" if not channels else f"{', '.join(channels)} are"
            reading.wrong(kind, f"{there} of this kind: name the channel in contacts")
            return None
        return self._contact(reading, kind, {"channel": channels[0], "to": to})

    def _contact(self, reading: Reading, where: str, one: object) -> dict[str, str] | None:
        given = one if isinstance(one, Mapping) else {}
        channel, to = given.get("channel"), given.get("to")
        if not isinstance(channel, str) or not set(given) <= {"channel", "to"} or not isinstance(to, str | None):
            reading.wrong(where, 'must be {"channel": NAME, "to": ADDRESS}')
            return None
        channels = self._catalog.telling.channels
        if channel not in channels:
            reading.wrong(where, f"names a channel that is none of the catalogue's{did_you_mean(channel, channels)}")
            return None
        if to and (len(to) > LONGEST_ADDRESS or not to.isprintable()):
            reading.wrong(where, f"must have an address of one line, of at most {LONGEST_ADDRESS} characters")
            return None
        spec = self._channels.get(channel)
        if spec is not None and bool(to) != spec.module.TAKES_TO:
            needed = "needs an address (to)" if not to else "has no addresses to choose from: leave `to` out"
            reading.wrong(where, f"{channel} {needed}")
            return None
        try:
            if spec is not None:
                spec.destination(to)
        except Misconfigured as error:
            reading.wrong(where, f"{channel}: {error}")
            return None
        return {"channel": channel, "to": to} if to else {"channel": channel}

    def _tokens(self, reading: Reading, platform: str, *, required: bool) -> Tokens | None:
        access, refresh = reading.secret("access_token"), reading.secret("refresh_token")
        if access is None:
            given = [field for field in TOKEN if reading.has(field) and field != "access_token"]
            if (required or given) and not reading.is_wrong("access_token"):
                reading.wrong("access_token", f"is needed{f' beside {given[0]}' if given else ''}")
            return None
        provider = platforms().get(platform)
        moments = times.read(
            {field: reading.value(field) for field in TIMES}, self._now, reading.problems,
            traits=None if provider is None else provider.TRAITS, has_refresh=refresh is not None,
        )  # fmt: skip
        return Tokens(
            access, refresh, moments.issued_at, moments.expires_at, moments.refresh_expires_at, reading.scopes(),
            reading.text("token_type", most=40) or "",
        )  # fmt: skip
