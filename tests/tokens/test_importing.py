"""Files of accounts: good rows are kept, bad ones told by row, the same file again changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid
from app.tokens import importing
from app.tokens.import_rows import CSV, JSON, LINES, read
from app.tokens.importing import Imported
from tests.fixtures.ledger import Ledger
from tests.tokens.keeping import CANARY, NEW, NOW, add, given, held, prepare, put, revealed, use_keys, with_token

HEADINGS = "tenant,platform,account,name,access_token,refresh_token,expires_in,scopes,email,contacts"
GOOD = f"acme,instagram,11,Acme,{CANARY}-11,,5000000,basic publish,a@example.com,client-chat:-100"


@pytest.fixture
def kept(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    prepare(monkeypatch, home)
    return ledger


def bring_in(rows: Any, kind: str = JSON, **more: Any) -> Imported:
    raw = rows if isinstance(rows, str) else json.dumps(rows)
    done = importing.bring_in(raw.encode(), content_type=kind, by="person:ann", now=NOW, **more)
    assert CANARY not in json.dumps(done.document())
    return done


def errors(done: Imported) -> dict[int, set[str]]:
    return {one["row"]: {error["field"] for error in one["errors"]} for one in done.document()["rejected"]}


def counts(done: Imported) -> tuple[int, ...]:
    return (*done.counts.values(), done.rejected_count)


def test_good_rows_of_a_csv_are_kept_and_bad_ones_told_by_row(kept: Ledger) -> None:
    bad = f"acme,instagramm,12,Other,{CANARY} 12,,ten,,nowhere,"
    short = f"acme,instagram,{CANARY}"
    again = GOOD.replace("Acme,", "Once more,")
    file = "\ufeff" + "\r\n".join((HEADINGS, GOOD, "", bad, short, again, "acme,x,13,,,,,,,"))
    done = bring_in(file, CSV)
    assert counts(done) == (2, 0, 0, 0, 3)
    assert errors(done) == {4: {"platform", "access_token", "email"}, 5: {"row"}, 6: {"account"}}
    assert "first in row 2" in done.rejected[2]["errors"][0]["message"]
    assert held("11").account.contacts == (
        {"channel": "client-chat", "to": "-100"},
        {"channel": "client-mail", "to": "a@example.com"},
    )
    assert (held("11").status.scopes, held("13", "x").status.grant) == (("basic", "publish"), "")
    assert revealed("11").access.reveal() == f"{CANARY}-11"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_spreadsheets_own_separators_are_recognised(separator: str) -> None:
    """With one in a quoted value: an address of a channel may follow another one."""
    line = GOOD.replace("client-chat:-100", '"client-chat:-100; client-mail:b@example.com"')
    file = "\ufeff" + "\r\n".join((HEADINGS.replace(",", separator), line.replace(",", separator)))
    (row,) = read(file.encode(), CSV)
    assert (row.number, row.problem) == (2, None)
    assert (row.values["account"], row.values["contacts"]) == ("11", "client-chat:-100; client-mail:b@example.com")


def test_broken_json_is_told_with_its_place_once() -> None:
    for broken, said in (
        ('[{"tenant": "ac\nme"}]', "is no JSON: Invalid control character at line 1, column 16"),
        ('[{"tenant": "acme]', "is no JSON: Unterminated string starting at line 1, column 13"),
        ("[1", "is no JSON: Expecting ',' delimiter at line 1, column 3"),
    ):
        with pytest.raises(Invalid) as found:
            list(read(broken.encode(), JSON))
        assert [problem.message for problem in found.value.problems] == [said]


def test_a_dry_run_says_what_would_be_and_the_same_file_again_changes_nothing(kept: Ledger) -> None:
    rows = [with_token("1"), with_token("2", platform="x", refresh_token="r")]
    assert counts(bring_in(rows, dry_run=True)) == (2, 0, 0, 0, 0)
    assert kept.sql("SELECT count(*) AS n FROM accounts")[0].n == 0
    assert counts(bring_in(rows)) == (2, 0, 0, 0, 0)
    before = kept.sql("SELECT * FROM token_status ORDER BY account_id")
    for replace in (False, True):
        assert counts(bring_in(rows, replace=replace)) == (0, 0, 0, 2, 0)
    assert kept.sql("SELECT * FROM token_status ORDER BY account_id") == before
    assert kept.sql("SELECT count(*) AS n FROM token_history")[0].n == 4
    assert counts(bring_in("\n".join(json.dumps(row) for row in [*rows, 5]) + "\n{", LINES)) == (0, 0, 0, 2, 2)


def test_another_token_takes_the_place_of_the_stored_one_only_when_that_is_asked_for(kept: Ledger) -> None:
    add("1")
    add("2", platform="x", refresh_token="r")
    rows = [with_token("1", access_token=f"{CANARY}-new", name="New"), with_token("2", platform="x", refresh_token="s")]
    refused = bring_in(rows)
    assert counts(refused) == (0, 0, 0, 0, 2)
    assert errors(refused) == {1: {"access_token"}, 2: {"access_token"}}
    assert (held("1").status.generation, held("1").account.name) == (1, "")
    assert counts(bring_in(rows, replace=True, dry_run=True)) == (0, 2, 0, 0, 0)
    assert counts(bring_in(rows, replace=True)) == (0, 2, 0, 0, 0)
    assert (held("1").status.generation, held("1").account.name) == (2, "New")
    assert revealed("1").access.reveal() == f"{CANARY}-new"
    other = bring_in([with_token("1", tenant="other")], replace=True)
    assert errors(other) == {1: {"tenant"}}


def test_a_file_of_yesterday_does_not_put_back_what_was_refreshed_since(kept: Ledger) -> None:
    rows = [with_token("1")]
    bring_in(rows)
    put("1", f"{CANARY}-refreshed")
    refused = bring_in(rows, replace=True)
    assert errors(refused) == {1: {"access_token"}}
    assert revealed("1").access.reveal() == f"{CANARY}-refreshed"


def test_what_cannot_be_compared_is_not_overwritten(kept: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add("1")
    before = held("1").access
    use_keys(monkeypatch, NEW)
    assert "does not open" in bring_in([with_token("1")]).rejected[0]["errors"][0]["message"]
    assert held("1").access == before
    assert counts(bring_in([with_token("1")], replace=True)) == (0, 1, 0, 0, 0)
    assert revealed("1").access.reveal() == f"{CANARY}-1"


def test_an_account_that_had_none_gets_its_token(kept: Ledger) -> None:
    bring_in([given("1")])
    assert counts(bring_in([with_token("1")])) == (0, 0, 1, 0, 0)
    assert counts(bring_in([given("1")])) == (0, 0, 0, 1, 0)
    assert held("1").status.generation == 1


def test_many_rows_come_in_by_batches(kept: Ledger) -> None:
    rows = [with_token(str(number)) for number in range(1, 232)]
    rows[210]["expires_in"] = -1
    done = bring_in(rows)
    assert counts(done) == (230, 0, 0, 0, 1)
    assert errors(done) == {211: {"expires_in"}}
    assert kept.sql("SELECT count(*) AS n FROM token_status WHERE generation = 1")[0].n == 230


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (b"", CSV, "column 0|no rows|no column"),
        (f"{CANARY},x\n".encode(), CSV, "column 1: has a heading that is not known"),
        (b"tenant,platform,account,tenant\n", CSV, "column 4: is a second tenant"),
        (b'tenant,platform,account\n"a', CSV, "is no CSV"),
        (b"\xff\xfe", CSV, "is no text in UTF-8"),
        (b"{}", JSON, "must be a JSON array"),
        (b"[]", JSON, "holds no rows"),
        (f"[{CANARY}".encode(), JSON, "is no JSON"),
        (b"[" * 100_000, JSON, "is no JSON"),
        (b"[]", "text/html", "must be text/csv"),
    ],
)
def test_what_is_no_such_file_is_refused_without_quoting_it(raw: bytes, kind: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        list(read(raw, kind))
    assert CANARY not in str(refused.value)
