"""Messages to owners in a test's hands: real rows, jobs, a Telegram and a mail server; the test is the worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.config import settings
from app.infra import ids
from app.infra.db import read_only, unit_of_work
from app.jobs import relay, spec, worker
from app.jobs.worker import AttemptFailed, Claim
from app.notify import bucket
from app.tokens import delivering, store, telling
from app.tokens.rows import Account, Held
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import tcp, use
from tests.notify.servers import LOCAL, TOKEN, ChannelServer, MailServer, channel_server, mail_server

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
PUBLIC = "https://social.example.com"
MAIL, CHAT = {"channel": "letters", "to": "ann@studio.example"}, {"channel": "chat", "to": "77"}

CATALOG = (
    tcp("shop")
    + """
[channels.chat]
kind = "telegram"
token = "{token}"
base_url = "{chats}"
timeout = 1
rate_per_second = 1000
burst = 1000
allow = {allow}

[channels.letters]
kind = "email"
host = "127.0.0.1"
port = {mail}
security = "none"
from = "Social Desk <hello@agency.example>"
fallback = ["chat", "spare"]
timeout = 2
rate_per_second = 1000
burst = 1000
allow = {allow}

[channels.spare]
kind = "email"
host = "127.0.0.1"
port = {spare}
security = "none"
from = "hello@agency.example"
timeout = 2
allow = {allow}

[channels.narrow]
kind = "telegram"
token = "{token}"
base_url = "{chats}"
rate_per_second = 0.1
burst = 1
allow = {allow}

[channels.off]
kind = "telegram"
token = "{token}"
enabled = false

[channels.pager]
kind = "pagerduty"

[channels.hook]
kind = "webhook"
url = "{chats}/hook"
allow = {allow}

[tenants.acme]
timezone = "Europe/Berlin"
contacts = [{{channel = "letters", to = "owner@acme.example"}}]
"""
)


class Letterbox:
    """Accounts in trouble, their messages and jobs, and the servers that these go to. `now`: when tries are made."""

    def __init__(self, ledger: Ledger, chats: ChannelServer, mail: MailServer, spare: MailServer) -> None:
        self.ledger, self.chats, self.mail, self.spare = ledger, chats, mail, spare
        self.sql = ledger.sql
        self.now = NOW + timedelta(minutes=1)

    def account(
        self, name: str = "studio.berlin", *contacts: dict[str, str], told: str = "reconnect", **status: Any
    ) -> Account:
        """An account in its first climb, at that step; columns of token_status as `status`."""
        made = Account(ids.uuid7(), "acme", "instagram", name, name, contacts=contacts)
        given = {
            "generation": 3, "grant_state": "good", "attempts": 3, "climb": 1, "told": told, "access": b"x",
            "expires_at": NOW + timedelta(days=8), "issued_at": NOW - timedelta(days=52), **status,
        }  # fmt: skip
        with unit_of_work() as uow:
            store.insert(uow, made, NOW)
            sets = ", ".join(f"{column} = :{column}" for column in given)
            uow.execute(f"UPDATE token_status SET {sets} WHERE account_id = :id", id=made.id, **given)
        return made

    def becomes(self, account: Account, **status: Any) -> None:
        """Columns of its status change."""
        sets = ", ".join(f"{column} = :{column}" for column in status)
        self.sql(f"UPDATE token_status SET {sets} WHERE account_id = :id", id=account.id, **status)

    def plan(self, account: Account, step: str = "reconnect", *, climb: int = 1, now: datetime = NOW) -> int:
        """What the ladder does."""
        with unit_of_work() as uow:
            return telling.plan(uow, account, climb=climb, step=step, now=now)

    def held(self, account: Account) -> Held:
        with read_only() as session:
            return store.load_id(session, account.id)

    def rows(self, account: Account) -> list[Any]:
        """Its messages in order."""
        return list(self.sql("SELECT * FROM token_messages WHERE account_id = :id ORDER BY id", id=account.id))

    def states(self, account: Account) -> list[tuple[str, str, str]]:
        """(step, channel, state) of each."""
        return [(row.step, row.channel, row.state) for row in self.rows(account)]

    def jobs(self) -> list[UUID]:
        """Messages that have a job."""
        rows = self.sql("SELECT key FROM jobs WHERE task = :task ORDER BY id", task=telling.TASK)
        return [UUID(row.key) for row in rows]

    def claim(self, message: UUID) -> Claim | None:
        """Answer its job's doorbell."""
        self.sql("UPDATE jobs SET not_before = now() WHERE key = :key AND state = 'scheduled'", key=str(message))
        relay.relay()
        rows = self.sql("SELECT id FROM jobs WHERE key = :key ORDER BY id DESC", key=str(message))
        return next((found for row in rows if (found := worker.claim(row.id, worker="a-worker")) is not None), None)

    def attempt(self, claimed: Claim) -> AttemptFailed | None:
        """One attempt of a claimed job; how it failed, if it did."""
        try:
            worker.run(claimed, spec.get(telling.TASK), partial(delivering.deliver, now=self.now))
        except AttemptFailed as failed:
            return failed
        return None

    def work(self, message: UUID) -> AttemptFailed | None:
        """Claim and run one attempt, now."""
        claimed = self.claim(message)
        assert claimed is not None
        return self.attempt(claimed)

    def all(self) -> None:
        """Every message that has a job gets one attempt."""
        for message in self.jobs():
            self.work(message)

    def history(self, account: Account) -> list[Any]:
        return list(self.sql("SELECT * FROM token_history WHERE account_id = :id ORDER BY at, id", id=account.id))

    def signals(self) -> list[tuple[str, dict[str, Any]]]:
        return [(row.kind, row.facts) for row in self.sql("SELECT kind, facts FROM signals ORDER BY id")]


@pytest.fixture
def box(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Letterbox]:
    """Channels `chat`, `letters` (whose fallbacks are `chat` and `spare`), `narrow`, `hook`; `off`; `pager`."""
    monkeypatch.setattr(delivering, "REST_SECONDS", 0.0)  # tries follow one another at once here
    monkeypatch.setenv("SMM_PUBLIC_URL", PUBLIC)
    bucket.forget()
    with channel_server() as chats, mail_server() as mail, mail_server() as spare:
        places = {"chats": chats.base, "mail": mail.port, "spare": spare.port}
        use(monkeypatch, home, CATALOG.format(token=TOKEN, allow=json.dumps(LOCAL), **places))
        settings.cache_clear()
        yield Letterbox(ledger, chats, mail, spare)
    bucket.forget()
