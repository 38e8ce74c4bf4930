"""Accounts whose platforms are stand-ins, a clock that the test moves, and what became of it all."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.config import settings
from app.infra import ids
from app.infra.db import read_only, unit_of_work
from app.tokens import attending, store, storing, sweeping
from app.tokens.settling import Attended
from app.tokens.store import Account, Held
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use
from tests.tokens.platforms.serving import Serving

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
KEYS = "test:" + base64.b64encode(bytes(range(32))).decode()

_APP = """
[apps.{name}]
platform = "{at}"
client_id = "{client_id}"
client_secret = "{client_secret}"
base_url = "{base_url}"
login_url = "{login_url}"
timeout = 1
refreshes_per_minute = {rate}
"""
_BEGINNING = """
[services.redis]
kind = "redis"

[channels.letters]
kind = "email"
host = "127.0.0.1"
port = 9
from = "us@example.com"
"""


class Scene:
    """What a test does with accounts. `now` is the time for everything but the ledger of jobs.

    `rate`: an app's refreshes a minute in the next catalogue.
    """

    def __init__(self, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = ledger
        self.now = START
        self.rate = 0
        self._home, self._monkeypatch = home, monkeypatch
        self._platforms: list[Serving] = []

    def catalogue(self, *platforms: Any, more: str = "") -> None:
        """From now on these are the apps, and their clocks follow."""
        self._platforms = list(platforms)
        apps = [self._app(one.app()) for one in platforms]
        use(self._monkeypatch, self._home, _BEGINNING + "".join(apps) + more)
        self.at(self.now)

    def at(self, moment: datetime) -> None:
        """Let it be this time, also on the platforms."""
        self.now = moment
        for platform in self._platforms:
            platform.now = moment

    def after(self, **span: float) -> None:
        """Let time pass."""
        self.at(self.now + timedelta(**span))

    def account(self, platform: Any, name: str, *, tenant: str = "acme", contacts: int = 1, **given: Any) -> Held:
        """An account with a token that its platform gave: `age`, `life` as the stand-in's `give` has them."""
        own = platform.id_of(name) if hasattr(platform, "id_of") else name
        letters = tuple({"channel": "letters", "to": f"{place}.{name}@example.com"} for place in range(contacts))
        made = Account(ids.uuid7(), tenant, platform.platform, own, name, contacts=letters)
        with unit_of_work() as uow:
            assert store.insert(uow, made, self.now)
            held = store.lock(uow, made.id)
            assert held is not None
            storing.put(uow, held, platform.give(name, **given), kind=storing.IMPORTED, by="test", now=self.now)
        return self.held(held)

    def connect(self, one: Held, platform: Any) -> None:
        """Its owner logs in again."""
        tokens = platform.give(one.account.name, age=timedelta())
        with unit_of_work() as uow:
            held = store.lock(uow, one.account.id)
            assert held is not None
            storing.put(uow, held, tokens, kind=storing.CONNECTED, by="owner", now=self.now)

    def held(self, one: Held) -> Held:
        """The account as it is now."""
        with read_only() as session:
            return store.load_id(session, one.account.id)

    def attend(self, one: Held, *, force: bool = False) -> Attended:
        """Look at one token, whoever should."""
        return attending.attend(one.account.id, force=force, now=self.now)

    def sweep(self) -> list[Attended]:
        """One pass of the tick, and the jobs that it submits."""
        sweeping.sweep(self.now)
        waiting = self.ledger.sql(
            "DELETE FROM jobs WHERE task = :task RETURNING (kwargs->>'account_id')::uuid AS id", task=sweeping.ATTEND
        )
        return [attending.attend(row.id, now=self.now) for row in sorted(waiting)]

    def next_at(self) -> tuple[datetime | None, datetime | None]:
        """When a token has to be looked at next, and when all of a time zone."""
        [row] = self.ledger.sql(
            "SELECT (SELECT min(next_at) FROM token_status) AS one, (SELECT min(due_at) FROM token_looks) AS whole"
        )
        return row.one, row.whole

    def attend_due(self) -> list[Attended]:
        """What the jobs of a pass do, without the pass."""
        due = self.ledger.sql("SELECT account_id FROM token_status WHERE next_at <= :now ORDER BY 1", now=self.now)
        return [attending.attend(row.account_id, now=self.now) for row in due]

    def kinds(self, one: Held) -> list[str]:
        """What happened to it, in order."""
        return [row.kind for row in self.history(one)]

    def history(self, one: Held, *kinds: str) -> list[Any]:
        """The same as rows: kind, at, reason, facts."""
        rows: list[Any] = self.ledger.sql(
            "SELECT kind, at, reason, facts FROM token_history WHERE account_id = :id ORDER BY id", id=one.account.id
        )
        return [row for row in rows if not kinds or row.kind in kinds]

    def signals(self, *kinds: str, subject: str | None = None) -> list[Any]:
        """What was told, in order: kind, subject, labels, facts."""
        rows: Iterable[Any] = self.ledger.sql(
            "SELECT kind, subject, labels, facts FROM signals WHERE kind LIKE 'tokens.%' ORDER BY id"
        )
        return [row for row in rows if (not kinds or row.kind in kinds) and subject in (None, row.subject)]

    def messages(self, one: Held) -> list[tuple[int, str, str]]:
        """What its owner is told: climb, step, address."""
        rows = self.ledger.sql(
            "SELECT climb, step, recipient FROM token_messages WHERE account_id = :id ORDER BY id", id=one.account.id
        )
        return [tuple(row) for row in rows]

    def _app(self, app: Any) -> str:
        secret = app.client_secret.get_secret_value() if app.client_secret else ""
        return _APP.format(
            name=app.name, at=app.at, client_id=app.client_id, client_secret=secret, base_url=app.base_url,
            login_url=app.login_url, rate=self.rate,
        )  # fmt: skip


@pytest.fixture
def scene(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """No accounts yet, and no platform."""
    monkeypatch.setenv("SMM_TOKEN_KEYS", KEYS)
    settings.cache_clear()
    return Scene(ledger, home, monkeypatch)
