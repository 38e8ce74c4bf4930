"""The first key makes itself when something is sealed, and never while something is stored that it does not open."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from app.config import settings
from app.errors import Misconfigured
from app.infra.db import unit_of_work
from app.tokens import attending, consents, importing, keyring, keys_in_use, logins, rewrapping
from app.tokens.provider import Refused
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use
from tests.tokens.keeping import CANARY, CATALOGUE, NOW, add, held, revealed

ROWS = "SELECT account_id, access, key_id, generation FROM token_status ORDER BY account_id"


@pytest.fixture
def fresh(ledger: Ledger, database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh installation beside its embedded database; where its keys are going to be."""
    use(monkeypatch, home, CATALOGUE)
    (home / "servers.json").write_text(json.dumps({"postgres": {"url": database}}))
    for variable in ("DATABASE_URL", "SMM_TOKEN_KEYS", "SMM_TOKEN_KEYS_FILE"):
        monkeypatch.delenv(variable, raising=False)
    settings.cache_clear()
    return home / "token.keys"


def away(file: Path) -> Path:
    return file.rename(file.with_name("away.keys"))


def test_the_first_key_makes_itself_for_who_seals_and_not_for_who_looks(fresh: Path) -> None:
    importing.bring_in(_row("1"), content_type="text/csv", by="person:ann", dry_run=True, now=NOW)
    assert keys_in_use.watch(NOW) == {}
    assert keyring.at_hand() is None
    with pytest.raises(Misconfigured):
        keyring.keyring()
    assert not fresh.exists()
    add("1")
    assert re.fullmatch(r"k20\d{6}-[0-9a-f]{4}", keyring.keyring().primary)
    assert fresh.stat().st_mode & 0o777 == 0o600
    assert revealed("1").access.reveal() == f"{CANARY}-1"


def test_a_lost_file_of_keys_is_said_and_no_other_one_takes_its_place(fresh: Path, ledger: Ledger) -> None:
    account = add("1")
    key_id, before = keyring.keyring().primary, ledger.sql(ROWS)
    kept = away(fresh)
    with pytest.raises(Misconfigured, match=r"token\.keys is missing.*put it back.*tokens keygen --write"):
        revealed("1")
    with pytest.raises(Misconfigured, match=rf"token\.keys is missing.* sealed with \({key_id}\): put it back"):
        add("2")
    with pytest.raises(Misconfigured, match=key_id):
        importing.bring_in(_row("2"), content_type="text/csv", by="person:ann", now=NOW)
    with pytest.raises(Misconfigured, match=key_id):
        rewrapping.run(by="person:ann")
    way = consents.way_of(account)
    assert isinstance(way, consents.Failure)
    found = attending.check(account.id, by="person:ann", now=NOW)
    assert isinstance(found, Refused)
    assert found.reason == "key_missing"
    assert keys_in_use.watch(NOW) == {key_id: "key_missing"}
    assert [row.subject for row in ledger.sql("SELECT subject FROM signals WHERE kind = 'tokens.key_missing'")] == [
        f"key:{key_id}"
    ]
    assert (fresh.exists(), ledger.sql(ROWS)) == (False, before)
    kept.rename(fresh)
    assert revealed("1").access.reveal() == f"{CANARY}-1"
    assert keys_in_use.watch(NOW) == {}


def test_a_login_that_waits_for_its_answer_needs_its_key_too(fresh: Path, ledger: Ledger) -> None:
    add("1", access_token=None, expires_in=None)
    account = held("1").account
    with unit_of_work() as uow:
        logins.begin(uow, account, pkce=True, now=clock.now(), life=timedelta(minutes=10))
    away(fresh)
    with pytest.raises(Misconfigured, match=r"token\.keys is missing"):
        add("2")
    ledger.sql("UPDATE token_connects SET used_at = now()")
    add("2")
    assert fresh.exists()


def test_when_it_is_really_lost_a_new_key_is_made_by_hand_and_the_old_file_still_opens_its_tokens(fresh: Path) -> None:
    add("1")
    old = keyring.keyring().primary
    kept = away(fresh)
    _, made = keys_in_use.write_first(settings(), NOW)
    add("2")
    assert made != old
    fresh.write_text(fresh.read_text() + kept.read_text())
    assert [revealed(account).access.reveal() for account in ("1", "2")] == [f"{CANARY}-1", f"{CANARY}-2"]


def test_with_a_database_of_ones_own_no_key_makes_itself(
    fresh: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    with pytest.raises(Misconfigured, match="there is no key for tokens: set SMM_TOKEN_KEYS"):
        add("1")
    assert not fresh.exists()


def _row(account: str) -> bytes:
    return f"tenant,platform,account,access_token,expires_in\nacme,instagram,{account},{CANARY},5000000\n".encode()
