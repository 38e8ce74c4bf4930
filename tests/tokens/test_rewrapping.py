"""Keys change, go missing, or are not what they were: what opens is sealed anew, and nothing is ever overwritten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import clock
from app.config import settings
from app.errors import Conflict, Invalid
from app.infra import crypto
from app.infra.crypto import Damaged, KeyMissing
from app.infra.db import read_only, unit_of_work
from app.infra.secret import Secret
from app.jobs import spec, worker
from app.tokens import envelope, keys_in_use, rewrapping
from app.tokens.keyring import keyring
from tasks import tokens_keys
from tests.fixtures.ledger import Ledger
from tests.tokens.keeping import CANARY, NEW, NOW, OLD, OTHER_BYTES, add, held, prepare, put, revealed, use_keys

ROWS = "SELECT * FROM token_status ORDER BY account_id"
KEY_SIGNALS = "SELECT kind, subject, facts FROM signals WHERE subject LIKE 'key:%' ORDER BY id"


@pytest.fixture
def kept(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    prepare(monkeypatch, home)
    return ledger


def uses() -> dict[str, tuple[int, int, int, bool, bool]]:
    with read_only() as session:
        found = keys_in_use.read(session, keyring(), clock.now())
    return {use.key_id: (use.present, use.previous, use.logins, use.at_hand, use.may_go) for use in found}


def begin_login(kept: Ledger, account: str) -> None:
    found = held(account).account
    sealed = envelope.seal(keyring(), found.place, "verifier", 0, Secret("v3rifier"))
    kept.sql(
        "INSERT INTO token_connects (id, account_id, state_hash, browser_hash, verifier, key_id, expires_at)"
        " VALUES (gen_random_uuid(), :id, :hash, '', :data, :key, now() + interval '10 minutes')",
        id=found.id,
        hash=account.encode(),
        data=sealed.data,
        key=sealed.key_id,
    )


def test_all_is_sealed_anew_and_the_old_key_may_go(kept: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add("1")
    add("2", platform="x", refresh_token="r3fresh")
    put("1", f"{CANARY}-second")
    begin_login(kept, "1")
    assert uses() == {"k1": (2, 1, 1, True, False)}
    use_keys(monkeypatch, NEW, OLD)
    assert uses()["k2"] == (0, 0, 0, True, False)
    done = rewrapping.run(by="person:ann")
    assert (done.accounts, done.logins, done.stuck_count) == (2, 1, 0)
    assert uses() == {"k2": (2, 1, 1, True, False), "k1": (0, 0, 0, True, True)}
    use_keys(monkeypatch, NEW)
    assert revealed("1").access.reveal() == f"{CANARY}-second"
    refresh = revealed("2", "x").refresh
    assert refresh is not None
    assert refresh.reveal() == "r3fresh"
    assert not list(rewrapping.find_unreadable())
    [row] = kept.sql("SELECT verifier, key_id FROM token_connects")
    login = crypto.Sealed(row.key_id, bytes(row.verifier))
    assert envelope.unseal(keyring(), held("1").account.place, "verifier", 0, login).reveal() == "v3rifier"
    before = kept.sql(ROWS)
    assert rewrapping.run(by="person:ann").accounts == 0
    assert kept.sql(ROWS) == before
    assert [row.kind for row in kept.sql("SELECT kind FROM token_history WHERE kind = 'rewrapped'")] == [
        "rewrapped"
    ] * 2


def test_what_does_not_open_is_named_and_left_and_the_others_go_on(
    kept: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("1")
    use_keys(monkeypatch, "k3:" + OLD.partition(":")[2])
    for account in ("2", "3"):
        add(account)
    use_keys(monkeypatch, NEW, OLD)
    before = {account: held(account).access for account in ("2", "3")}
    for _ in range(2):
        done = rewrapping.run(by="person:ann")
        assert {(one.account, one.key_id, one.reason) for one in done.stuck} == {
            ("instagram/2", "k3", "key_missing"),
            ("instagram/3", "k3", "key_missing"),
        }
        named = [
            {name: one[name] for name in ("platform", "account", "key_id")} for one in done.document()["unreadable"]
        ]
        assert {"platform": "instagram", "account": "2", "key_id": "k3"} in named
    assert {account: held(account).access for account in ("2", "3")} == before
    assert held("1").status.key_id == "k2"
    assert [(row.kind, row.subject) for row in kept.sql(KEY_SIGNALS)] == [("tokens.key_missing", "key:k3")]
    use_keys(monkeypatch, NEW, "k3:" + OLD.partition(":")[2])
    assert rewrapping.run(by="person:ann").accounts == 2
    assert [row.kind for row in kept.sql(KEY_SIGNALS)] == ["tokens.key_missing", "tokens.key_found"]


def test_a_key_with_other_bytes_under_the_same_id_is_noticed_before_its_tokens_are_due(
    kept: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("1")
    add("2")
    before = kept.sql(ROWS)
    use_keys(monkeypatch, OTHER_BYTES)
    assert {one.reason for one in rewrapping.find_unreadable()} == {"damaged"}
    for _ in range(2):
        with unit_of_work() as uow:
            assert keys_in_use.look(uow, keyring(), NOW) == {"k1": "damaged"}
    use_keys(monkeypatch, NEW, OTHER_BYTES)
    assert {one.reason for one in rewrapping.run(by="person:ann").stuck} == {"damaged"}
    assert kept.sql(ROWS) == before
    with pytest.raises(Damaged):
        revealed("1")
    use_keys(monkeypatch, OLD)
    with unit_of_work() as uow:
        assert keys_in_use.look(uow, keyring(), NOW) == {}
    assert [row.kind for row in kept.sql(KEY_SIGNALS)] == ["tokens.key_missing", "tokens.key_found"]


def test_ciphertext_of_another_row_is_refused_and_does_not_stop_the_others(
    kept: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in ("1", "2", "3"):
        add(account)
    one, two = (held(account) for account in ("1", "2"))
    for row, other in ((one, two), (two, one)):
        assert other.access is not None
        kept.sql("UPDATE token_status SET access = :a WHERE account_id = :id", a=other.access.data, id=row.account.id)
    with pytest.raises(Damaged):
        revealed("1")
    swapped = held("1").access
    use_keys(monkeypatch, NEW, OLD)
    done = rewrapping.run(by="person:ann")
    assert {stuck.account for stuck in done.stuck} == {"instagram/1", "instagram/2"}
    assert (done.accounts, held("1").access, held("3").status.key_id) == (1, swapped, "k2")
    assert kept.sql(KEY_SIGNALS) == [], "the key is right: it opened others"


def test_a_refresh_in_between_is_never_overwritten(kept: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add("1")
    use_keys(monkeypatch, NEW, OLD)
    with unit_of_work() as uow:
        rows = uow.execute(rewrapping._ROWS, after=rewrapping.START, primary="k2", limit=10).all()
        done = rewrapping.Rewrapped()
        columns = rewrapping._columns(keyring(), rows[0], done)
    assert columns is not None
    put("1", f"{CANARY}-refreshed")
    with unit_of_work() as uow:
        assert uow.execute(rewrapping._STORE, **{name: [value] for name, value in columns.items()}).all() == []
    assert (held("1").status.generation, revealed("1").access.reveal()) == (2, f"{CANARY}-refreshed")
    assert rewrapping.run(by="person:ann").accounts == 1, "the token before it, which is still under the old key"


def test_a_missing_key_says_so_wherever_a_token_is_opened(kept: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add("1")
    use_keys(monkeypatch, NEW)
    with pytest.raises(KeyMissing, match='"k1" is not among those of this installation') as missing:
        revealed("1")
    assert CANARY not in str(missing.value)
    assert uses() == {"k2": (0, 0, 0, True, False), "k1": (1, 0, 0, False, False)}


def test_the_job_goes_on_in_another_one_where_it_takes_long(kept: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for account in ("1", "2", "3"):
        add(account)
    use_keys(monkeypatch, NEW, OLD)
    monkeypatch.setattr(tokens_keys, "SECONDS", -1.0)
    job = kept.submit(rewrapping.REWRAP, by="person:ann")

    def run() -> None:
        claimed = kept.claim(job)
        assert claimed is not None
        worker.run(claimed, spec.get(claimed.task), tokens_keys.rewrap)

    run()
    assert (kept.get(job).result or {})["finished"] is False
    [job] = [row.id for row in kept.sql("SELECT id FROM jobs WHERE task = :task", task=rewrapping.REWRAP)]
    monkeypatch.setattr(tokens_keys, "SECONDS", 60.0)
    run()
    result = kept.get(job).result or {}
    assert (result["finished"], result["rewrapped_so_far"], held("3").status.key_id) == (True, 3, "k2")


def test_a_new_key_is_put_first_and_the_others_stay(kept: Ledger, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    with pytest.raises(Conflict):
        keys_in_use.write_first(settings(), NOW)
    monkeypatch.delenv("SMM_TOKEN_KEYS")
    settings.cache_clear()
    file = home / "token.keys"
    file.write_text(f"# ours\n{OLD}\n")
    made = [keys_in_use.write_first(settings(), NOW) for _ in range(2)]
    assert {place for place, _ in made} == {file}
    assert all(re.fullmatch("k20270301-[0-9a-f]{4}", key_id) for _, key_id in made)
    assert keyring().ids == (made[1][1], made[0][1], "k1")
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Invalid, match="is taken"):
        keys_in_use.write_first(settings(), NOW, "k1")
