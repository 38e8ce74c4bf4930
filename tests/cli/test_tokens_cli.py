"""`smm-admin tokens`: accounts, their tokens from stdin or files, keys; no output ever has a token."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from app.config import settings
from app.tokens.keyring import keyring
from tests.cli.conftest import Ran
from tests.fixtures.answering import Reply, answering
from tests.health.catalogs import use
from tests.tokens.keeping import CANARY, CATALOGUE, NEW, OLD, held, revealed, use_keys, with_token
from tests.tokens.rows import Kept, keep

ONE = "instagram/1"
LIMITED = """
[limits.posts]
platform = "instagram"
capacity = 25
window = "rolling"
period = "month"

[limits.spend]
currency = "usd"
per = "tenant"
capacity = 6.5
window = "calendar"
period = "month"

[operations.post]
platform = "instagram"
consumes = {posts = 1, spend = "estimate"}
"""


@pytest.fixture
def tokens(smm: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ran]:
    """`smm-admin tokens` with these words, `typed` on stdin; what it prints is searched for the canary."""
    use(monkeypatch, home, CATALOGUE + LIMITED)
    use_keys(monkeypatch, OLD)

    def call(*words: str, typed: str = "") -> Ran:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        ran = smm("tokens", *words)
        assert CANARY not in ran.out + ran.err
        return ran

    return call


def test_an_account_is_added_with_a_token_from_stdin_and_shown(tokens: Callable[..., Ran]) -> None:
    assert tokens("list").out == "no accounts yet: smm-admin tokens add\n"
    words = ("--tenant", "acme", "--name", "Acme", "--contact", "client-mail:a@example.com", "--expires-in", "5000000")
    made = tokens("add", ONE, *words, "--from", "-", typed=f"{CANARY}\n")
    assert made.code == 0, made.err
    assert made.out.startswith("instagram/1: good, generation 1, until ")
    assert revealed().access.reveal() == CANARY
    headings, line = tokens("list").out.splitlines()
    assert headings.split() == [
        "ACCOUNT", "NAME", "TENANT", "LEVEL", "STATE", "STEP", "DAYS", "EXPIRES", "NEXT", "WHY",
    ]  # fmt: skip
    assert line.split()[:5] == ["instagram/1", "Acme", "acme", "healthy", "good"]
    shown = tokens("show", ONE).out
    assert "client-mail:a@example.com" in shown
    assert [line.split()[-2:] for line in shown.splitlines() if line.startswith("limits")] == [
        ["posts", "0/25"], ["spend", "$0.00/$6.50"],
    ]  # fmt: skip
    assert tokens("show", ONE, "--json").json["key_id"] == "k1"
    assert list(tokens("list", "--json").json) == ["tokens", "as_of", "next"]
    assert tokens("add", ONE, *words[:2]).code == 1
    assert tokens("show", "instagram/2").code == 1
    assert tokens("show", "instagram").code == 2


def test_a_list_without_a_line_says_why_and_what_is_due_is_due_now(tokens: Callable[..., Ran]) -> None:
    near = 'there are no such accounts: instgram is no platform (did you mean "instagram"?)\n'
    assert tokens("list", "--platform", "instgram").out == near
    assert tokens("list", "--platform", "instagram").out == "there are no such accounts\n"
    now = clock.now()
    keep(
        Kept("1", token={"expires_at": now + timedelta(days=9), "next_at": now - timedelta(days=2)}),
        Kept("2", token={"expires_at": now + timedelta(days=50), "next_at": now + timedelta(days=30)}),
    )
    due, later = (line.split()[-2] for line in tokens("list").out.splitlines()[1:])
    assert (due, later) == ("now", clock.iso(now + timedelta(days=30)))


def test_arguments_that_are_no_text_are_no_crash(tokens: Callable[..., Ran]) -> None:
    odd = "a\udcff"
    assert tokens("add", f"instagram/{odd}", "--tenant", "acme").code == 2
    assert tokens("add", ONE, "--tenant", "acme", "--by", odd).code == 0
    assert tokens("disable", ONE, "--reason", odd, "--by", odd).code == 0
    for words in (("list", "--tenant"), ("list", "--platform"), ("report", "--tenant"), ("success", "--platform")):
        assert tokens(*words, odd).code == 0, words
    assert tokens("success", "--tenant", odd).code == 0
    assert tokens("reads", ONE, "--by", odd).code == 0


def test_a_token_is_set_from_a_file_or_stdin_and_never_from_an_argument(
    tokens: Callable[..., Ran], tmp_path: Path
) -> None:
    assert tokens("add", "x/7", "--tenant", "acme").out == "x/7: unconnected, generation 0\n"
    file = tmp_path / "token"
    file.write_text(f"{CANARY}\n{CANARY}-refresh\n")
    assert tokens("set", "x/7", "--from", str(file), "--scopes", "tweet.read users.read").code == 0
    refresh = revealed("7", "x").refresh
    assert refresh is not None
    assert (refresh.reveal(), held("7", "x").status.scopes) == (f"{CANARY}-refresh", ("tweet.read", "users.read"))
    assert tokens("set", "x/7", "--expires-in", "60", typed=f"{CANARY}-2\n").out.startswith("x/7: ")
    assert [one["kind"] for one in tokens("history", "x/7", "--json").json["history"]] == ["set", "set", "added"]
    for typed, words in (("", ()), (f"{CANARY}\n" * 3, ()), (CANARY, ("--expires-in", "soon")), ("é", ())):
        assert tokens("set", "x/7", *words, typed=typed).code == 2
    assert tokens("set", "x/7", "--from", str(tmp_path / "none")).code == 2
    assert tokens("set", "x/8", typed=CANARY).code == 1
    assert tokens("set", "x/7", "--token", "a").code == 2


def test_an_account_is_changed_left_alone_and_forgotten(tokens: Callable[..., Ran]) -> None:
    tokens("add", ONE, "--tenant", "acme")
    assert tokens("change", ONE, "--name", "New", "--contact", "client-chat:-5").code == 0
    assert (held().account.name, held().account.contacts) == ("New", ({"channel": "client-chat", "to": "-5"},))
    assert tokens("change", ONE, "--no-contacts").code == 0
    assert held().account.contacts == ()
    assert tokens("change", ONE).code == 2
    assert tokens("disable", ONE, "--reason", "over", "--by", "ann").out.startswith("instagram/1: disabled")
    assert held().account.disabled_by == "person:ann"
    assert tokens("enable", ONE).code == 0
    assert tokens("remove", ONE, "--yes", "--reason", "gone", "--by", "ann").out == "instagram/1 is removed\n"
    assert tokens("remove", ONE, "--yes").code == 1
    first, _, _, *rows = tokens("history", ONE).out.splitlines()
    assert (first[:27], first[-20:]) == ("instagram/1 was removed at ", " by person:ann: gone")
    assert [row.split()[1] for row in rows] == ["removed", "enabled", "disabled", "changed", "changed", "added"]


def test_a_file_is_imported_and_its_bad_rows_are_told(tokens: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps([with_token("1"), with_token("2", app="none", access_token=f"{CANARY}\u00e9")]))
    assert tokens("import", str(file), "--dry-run").out == "would be: 1 added, 1 rejected\n"
    done = tokens("import", str(file))
    assert (done.code, done.out) == (1, "1 added, 1 rejected\n")
    assert done.err.startswith("row 2: app is no [apps.NAME] of instagram: there is instagram-eu")
    again = tokens("import", "-", "--format", "ndjson", "--json", typed=json.dumps(with_token("1")))
    assert (again.code, again.json["unchanged"]) == (0, 1)
    assert tokens("import", "-").code == 2
    assert tokens("import", str(tmp_path / "accounts.xls")).code == 2
    lost = tokens("import", str(tmp_path / "lost.csv")).err
    assert lost == "smm-admin: arguments are not valid: FILE: cannot be read: No such file or directory\n"


def test_platforms_are_asked_and_owners_get_a_link(
    tokens: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens("add", ONE, "--tenant", "acme", "--expires-in", "5000000", "--from", "-", typed=CANARY)
    assert "/connect/" in tokens("link", ONE).out
    assert len(tokens("refresh", ONE).out.strip()) == 36
    answer = Reply(body={"access_token": f"{CANARY}-new", "token_type": "bearer", "expires_in": 5_183_944})
    with answering({"GET /refresh_access_token": answer}) as platform:
        use(monkeypatch, home, f'{CATALOGUE}\n[apps.instagram]\nbase_url = "{platform.url}"\n')
        assert tokens("refresh", ONE, "--wait").out == "instagram/1: refreshed\n"
        again = tokens("refresh", ONE, "--wait", "--json").json
        assert (again["outcome"], again["token"]["account"]) == ("refreshed", "1")
        refused = tokens("check", ONE)
    assert refused.code == 1
    assert refused.out.startswith("instagram/1: ")


def test_a_refresh_that_gave_no_token_is_exit_code_one(
    tokens: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens("add", ONE, "--tenant", "acme", "--expires-in", "5000000", "--from", "-", typed=CANARY)
    use_keys(monkeypatch, NEW)
    missing = tokens("refresh", ONE, "--wait", "--json")
    assert (missing.code, missing.json["outcome"], missing.json["reason"]) == (1, "waiting", "key_missing")
    tokens("disable", ONE, "--reason", "over")
    left = tokens("refresh", ONE, "--wait")
    assert (left.code, left.out.split()[:2]) == (1, ["instagram/1:", "nothing:"])


def test_keys_are_made_shown_changed_and_verified(
    tokens: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    tokens("add", ONE, "--tenant", "acme", "--expires-in", "5000000", "--from", "-", typed=CANARY)
    assert tokens("keygen", "--id", "k9").out.startswith("k9:")
    assert tokens("keygen", "--write").code == 1
    use_keys(monkeypatch, NEW)
    missing = tokens("keys", "--verify")
    assert missing.code == 1
    assert missing.err == "instagram/1: the token: key k1 is missing\n"
    failed = tokens("rewrap", "--wait")
    assert (failed.code, failed.out) == (1, "0 sealed anew, 1 left as they are\n")
    monkeypatch.delenv("SMM_TOKEN_KEYS")
    settings.cache_clear()
    (home / "token.keys").write_text(OLD)
    assert "new tokens are sealed with k8 from now on" in tokens("keygen", "--write", "--id", "k8").out
    assert keyring().ids == ("k8", "k1")
    assert tokens("rewrap", "--wait").out == "1 sealed anew\n"
    assert [line.split()[-1] for line in tokens("keys").out.splitlines()[1:]] == ["no", "yes"]
    assert len(tokens("rewrap").out.strip()) == 36


def test_keys_that_are_gone_are_shown_as_missing_and_none_is_made(
    tokens: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv("SMM_TOKEN_KEYS")
    settings.cache_clear()
    assert tokens("keys").out == "there are no keys, and nothing is sealed\n"
    (home / "token.keys").write_text(OLD)
    tokens("add", ONE, "--tenant", "acme", "--expires-in", "5000000", "--from", "-", typed=CANARY)
    (home / "token.keys").unlink()
    shown = tokens("keys", "--verify")
    assert (shown.code, shown.out.splitlines()[1].split()[:2]) == (1, ["k1", "no"])
    assert "there is no key for tokens (k1): set SMM_TOKEN_KEYS" in shown.err
    assert not (home / "token.keys").exists()


def test_a_new_key_has_an_id_that_no_other_has(tokens: Callable[..., Ran]) -> None:
    ids = {tokens("keygen").out.partition(":")[0] for _ in range(3)}
    assert len(ids) > 1
    assert all(re.fullmatch(r"k20\d{6}-[0-9a-f]{4}", one) for one in ids)


def test_nothing_is_logged_over_what_rewrap_says(tokens: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    tokens("add", ONE, "--tenant", "acme", "--expires-in", "5000000", "--from", "-", typed=CANARY)
    use_keys(monkeypatch, NEW)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    failed = tokens("rewrap", "--wait")
    assert failed.err == "instagram/1: the token: key k1 is missing\n"


def test_who_makes_a_link_learns_what_it_is_good_for(
    tokens: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens("add", "x/7", "--tenant", "acme")
    made = tokens("link", "x/7")
    assert (made.code, made.out.count("\n")) == (0, 1)
    until, here = made.err.splitlines()
    assert until.startswith("good until 20")
    assert "which only this host opens: set SMM_PUBLIC_URL" in here
    monkeypatch.setenv("SMM_PUBLIC_URL", "https://social.example.com")
    settings.cache_clear()
    tokens("add", ONE, "--tenant", "acme")
    assert tokens("link", ONE).err.splitlines()[1:] == [
        "nobody can log in with it yet: [apps.instagram] has no client_id"
    ]
    tokens("disable", ONE, "--reason", "moved")
    refused = tokens("link", ONE)
    assert (refused.code, refused.out) == (1, "")
    assert "instagram/1 is disabled" in refused.err
