"""An account's owner, as tests play them: a link, a browser with its cookies, a login at a platform's stand-in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from app import clock
from app.config import settings
from app.infra import ids
from app.infra.db import read_only, unit_of_work
from app.infra.secret import Secret
from app.tokens import connect_links, connecting, store, storing
from app.tokens.connect_links import ConnectLink
from app.tokens.connecting import Begun, Finished
from app.tokens.provider import Tokens
from app.tokens.store import Account, Held
from tests.health.catalogs import tcp

SERVICE = tcp("web")
SCOPES = {"instagram": '["instagram_business_basic"]', "x": '["tweet.read", "users.read", "offline.access"]'}


def table(serving: Any, platform: str, **changes: str) -> str:
    """[apps.PLATFORM] of a stand-in; a change is TOML, "" leaves the key out."""
    keys = {
        "client_id": f'"{serving.client_id}"',
        "client_secret": f'"{serving.client_secret}"',
        "base_url": f'"{serving.url}"',
        "login_url": f'"{serving.url}/oauth/authorize"',
        "scopes": SCOPES.get(platform, ""),
        "timeout": "1",
        **changes,
    }
    return "\n".join([SERVICE, f"[apps.{platform}]", *(f"{key} = {value}" for key, value in keys.items() if value), ""])


@dataclass
class Owner:
    """Whoever owns an account of `platform`; its link was made at `linked_at`."""

    platform: str
    external_id: str = "17841400000000001"
    name: str = "Cafe Blau"
    tenant: str = "acme"
    linked_at: datetime = field(default_factory=clock.now)
    begun: list[Begun] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.account = Account(ids.uuid7(), self.tenant, self.platform, self.external_id, self.name)
        with unit_of_work() as uow:
            store.insert(uow, self.account, self.linked_at)

    def holds(self, kind: str = storing.IMPORTED, *, at: datetime | None = None) -> int:
        """The account gets a token by other ways; its generation."""
        now = at or clock.now()
        with unit_of_work() as uow:
            held = store.lock(uow, self.account.id)
            tokens = Tokens(Secret("canary-access-old"), Secret("canary-refresh-old"), issued_at=now)
            return storing.put(uow, held, tokens, kind=kind, by="test", now=now)

    @property
    def held(self) -> Held:
        """The account as it stands."""
        with read_only() as session:
            return store.load_id(session, self.account.id)

    def url(self, *, now: datetime | None = None) -> str:
        """The address that a message to the owner has."""
        generation = self.held.status.generation
        return connect_links.make(settings(), self.account.id, generation=generation, now=now or self.linked_at)

    def link(self, **given: Any) -> ConnectLink:
        """The link, read."""
        return connect_links.read(settings(), self.url(**given).rpartition("/")[2], now=self.linked_at)

    def begins(self, link: ConnectLink | None = None, *, now: datetime | None = None) -> Begun:
        """Presses the button."""
        begun = connecting.begin(link or self.link(), now=now or clock.now())
        assert isinstance(begun, Begun), begun
        self.begun.append(begun)
        return begun

    def returns(self, begun: Begun, *, now: datetime | None = None, cookie: str | None = None, **more: str) -> Finished:
        """Consents, or does not, and comes back."""
        came = consented(begun.url) | more
        return connecting.finish(
            came["state"],
            begun.cookie if cookie is None else cookie,
            code=came.get("code", ""),
            error=came.get("error", ""),
            now=now or clock.now(),
        )

    def connects(self, link: ConnectLink | None = None) -> Finished:
        """All of it."""
        return self.returns(self.begins(link))


def consented(url: str) -> dict[str, str]:
    """What the platform sends its visitor back with."""
    answer = httpx.get(url, timeout=5, trust_env=False)
    assert answer.status_code == 302, answer.text
    return query_of(answer.headers["location"])


def query_of(url: str) -> dict[str, str]:
    """The last value of each name of an address's query."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
