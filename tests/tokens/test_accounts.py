"""Accounts are added whole or not at all, left alone, looked after again, and forgotten with a record."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.config import settings
from app.errors import Conflict, Invalid, Misconfigured, NotFound
from app.infra.db import unit_of_work
from app.tokens import accounts, climbing, store
from tests.fixtures.ledger import Ledger
from tests.tokens.keeping import CANARY, NOW, add, given, held, prepare, revealed, with_token

BY = "person:ann"


@pytest.fixture
def kept(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    prepare(monkeypatch, home)
    return ledger


def signals(kept: Ledger) -> list[str]:
    return [row.kind for row in kept.sql("SELECT kind FROM signals WHERE kind LIKE 'tokens.%' ORDER BY id")]


def history(kept: Ledger) -> list[str]:
    return [row.kind for row in kept.sql("SELECT kind FROM token_history ORDER BY id")]


def test_an_account_is_added_with_its_token_and_nobody_sees_it(kept: Ledger) -> None:
    made = add(name="Acme", contacts=["client-mail:a@example.com"], scopes="basic")
    found = held()
    assert (found.account.subject, found.status.generation, found.status.key_id) == ("account:instagram/1", 1, "k1")
    assert found.status.next_at is not None
    assert revealed().access.reveal() == f"{CANARY}-1"
    assert history(kept) == ["added", "imported"]
    assert signals(kept) == ["tokens.connected"]
    tables = ("token_history", "signals", "token_status", "jobs")
    everything = "".join(str(kept.sql(f"SELECT string_agg(t::text, '') AS rows FROM {table} t")) for table in tables)
    assert CANARY not in everything
    assert CANARY.encode().hex() not in everything
    with pytest.raises(Conflict), unit_of_work() as uow:
        accounts.add(uow, with_token("1", tenant="other"), by=BY, now=NOW)
    assert held().account == made or held().account.tenant == "acme"


def test_nothing_is_half_added(kept: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid), unit_of_work() as uow:
        accounts.add(uow, with_token(app="nowhere"), by=BY, now=NOW)
    monkeypatch.setenv("SMM_TOKEN_KEYS", "")
    settings.cache_clear()
    with pytest.raises(Misconfigured), unit_of_work() as uow:
        accounts.add(uow, with_token(), by=BY, now=NOW)
    assert kept.sql("SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM token_history) AS n")[0].n == 0


def test_an_account_without_a_token_waits_for_its_owner_and_gets_one_by_hand(kept: Ledger) -> None:
    with unit_of_work() as uow:
        accounts.add(uow, given("2", platform="x"), by=BY, now=NOW)
    assert (held("2", "x").status.grant, held("2", "x").status.next_at) == ("", None)
    with unit_of_work() as uow:
        token = {"access_token": "a", "refresh_token": "r", "expires_in": 7200}
        assert accounts.set_token(uow, "x", "2", token, by=BY, now=NOW) == 1
    assert held("2", "x").status.has_refresh
    with unit_of_work() as uow:
        assert accounts.set_token(uow, "x", "2", {"access_token": "b", "expires_in": 60}, by=BY, now=NOW) == 2
    assert (revealed("2", "x").access.reveal(), revealed("2", "x").refresh) == ("b", None)
    with pytest.raises(NotFound), unit_of_work() as uow:
        accounts.set_token(uow, "x", "3", {"access_token": "b", "expires_in": 60}, by=BY, now=NOW)


def test_what_is_changed_is_on_record_and_the_same_is_no_change(kept: Ledger) -> None:
    add()
    for _ in range(2):
        with unit_of_work() as uow:
            wanted = {"app": "instagram-eu", "contacts": ["client-mail:a@example.com"]}
            accounts.change(uow, "instagram", "1", wanted, by=BY, now=NOW)
    found = held()
    assert (found.account.app, found.account.contacts) == (
        "instagram-eu",
        ({"channel": "client-mail", "to": "a@example.com"},),
    )
    assert found.status.next_at == NOW, "another app may have another ladder: somebody looks"
    assert history(kept).count("changed") == 1
    with pytest.raises(Invalid, match="tenant: cannot be changed"), unit_of_work() as uow:
        accounts.change(uow, "instagram", "1", {"tenant": "other"}, by=BY, now=NOW)


def test_a_disabled_account_is_left_alone_until_it_is_enabled(kept: Ledger) -> None:
    add(expires_in=3600)
    kept.sql("UPDATE token_status SET paused = true, told = 'last'")
    for _ in range(2):
        with unit_of_work() as uow:
            accounts.disable(uow, "instagram", "1", reason="the client left", by=BY, now=NOW)
    found = held()
    assert (found.account.disabled_by, found.account.disabled_reason) == (BY, "the client left")
    assert (found.status.next_at, found.status.paused, found.status.told) == (None, False, "")
    assert signals(kept)[1:] == ["tokens.resumed", "tokens.recovered", "tokens.disabled"]
    for _ in range(2):
        with unit_of_work() as uow:
            accounts.enable(uow, "instagram", "1", by=BY, now=NOW)
    assert (held().account.disabled_at, held().status.next_at) == (None, NOW)
    assert signals(kept)[4:] == ["tokens.enabled"]
    with pytest.raises(Invalid, match="reason"), unit_of_work() as uow:
        accounts.disable(uow, "instagram", "1", reason=" ", by=BY, now=NOW)


def test_a_removed_account_leaves_its_record_and_lets_its_operations_go_on(kept: Ledger) -> None:
    add()
    kept.sql("UPDATE token_status SET paused = true")
    with unit_of_work() as uow:
        accounts.remove(uow, "instagram", "1", reason="over", by=BY, now=NOW)
    with pytest.raises(NotFound):
        held()
    assert kept.sql("SELECT count(*) AS n FROM token_status")[0].n == 0
    assert history(kept) == ["added", "imported", "resumed", "removed"]
    assert signals(kept) == ["tokens.connected", "tokens.resumed", "tokens.removed"]
    add(tenant="other")
    assert held().account.tenant == "other"


@pytest.mark.parametrize(("seconds", "days"), [(86_400, 1.0), (86_399, 0.99), (1, 0.0), (-1, -0.01), (-86_400, -1.0)])
def test_days_that_are_left_are_never_rounded_up(seconds: int, days: float) -> None:
    status = store.Status(expires_at=NOW + timedelta(seconds=seconds))
    assert climbing.days_left(status, NOW) == days
