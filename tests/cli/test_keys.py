"""`smm-admin keys`, and who asked for tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from app import clock
from app.access.callers import Caller, Role
from app.tokens import giving
from app.tokens.giving import Ask
from tests.cli.conftest import Ran
from tests.tokens.rows import Kept, keep


def test_a_key_is_made_listed_and_revoked(smm: Callable[..., Ran]) -> None:
    assert smm("keys", "list").out == "nobody has made a key\n"
    made = smm(
        "keys", "create", "publisher", "--scope", "tokens:read:instagram", "--scope", "admissions", "--by", "ann"
    )
    assert made.code == 0
    assert made.out.startswith("smm_")
    assert len(made.out.splitlines()) == 1
    assert "is not shown again" in made.err
    assert smm("keys", "create", "publisher", "--scope", "admissions").code == 1
    [heading, row] = smm("keys", "list").out.splitlines()
    assert heading.split() == ["NAME", "ROLE", "STATE", "EXPIRES", "LAST", "USED", "SCOPES"]
    assert row.split()[:3] == ["publisher", "service", "good"]
    assert row.split()[4:] == ["-", "tokens:read:instagram", "admissions"]
    assert made.out.strip() not in smm("keys", "list", "--json").out
    assert smm("keys", "revoke", "publisher").out == "publisher is revoked\n"
    assert smm("keys", "list").out == "nobody has made a key\n"
    assert smm("keys", "list", "--all", "--json").json["keys"][0]["state"] == "revoked"


def test_what_is_no_scope_is_told_with_what_was_meant(smm: Callable[..., Ran]) -> None:
    refused = smm("keys", "create", "publisher", "--scope", "tokens:reed:instagram", "--scope", "tokens:read:instagrm")
    assert refused.code == 2
    assert 'did you mean "tokens:read"?' in refused.err
    assert 'did you mean "instagram"?' in refused.err


def test_who_asked_for_a_token_is_shown(smm: Callable[..., Ran]) -> None:
    keep(Kept("17", token={"grant_state": "dead"}))
    ask = Ask(Caller("publisher", Role.ADMIN), "publish post", "10.0.0.7", timedelta(minutes=1))
    giving.give("instagram", "17", ask, now=clock.now())
    [_, row] = smm("tokens", "reads", "instagram/17").out.splitlines()
    assert row.split()[1:] == ["publisher", "dead", "publish", "post", "10.0.0.7", "1"]
    assert smm("tokens", "reads", "instagram/17", "--by", "other").out.startswith("nobody has asked")
    assert smm("tokens", "reads", "instagram").code == 2
    assert smm("tokens", "reads", "instagram/18").code == 1
