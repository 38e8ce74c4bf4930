"""`smm-admin prices`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.costs import repricing
from tests.cli.conftest import Ran


@pytest.fixture
def prices(smm: Callable[..., Ran]) -> Callable[..., Ran]:
    """`smm-admin prices` with these words."""
    return lambda *words: smm("prices", *words)


SET = ("set", "moonshot/kimi-k2.5", "--input", "0.5", "--output", "2.50")


def test_a_fresh_installation_has_prices_and_people_set_their_own(prices: Callable[..., Ran]) -> None:
    assert prices("list").out == "no price is known\n"
    repricing.keep()
    assert prices("diff").out == "the table has the package's prices\n"
    shown = prices("show", "moonshot/kimi-k2.5").out.splitlines()
    assert shown[0].split()[:5] == ["MODEL", "INPUT", "CACHED", "CACHE", "WRITE"]
    assert shown[1].split()[:5] == ["moonshotai/kimi-k2.5", "0.6", "0.1", "-", "3"]
    assert shown[2].startswith("genai-prices ")
    assert (
        "from 200,001 input tokens on: 10 / 1 / 12.5 / 37.5"
        in prices("show", "anthropic/claude-opus-4-6", "--at", "2026-03-01").out
    )

    made = prices(*SET, "--note", "our contract", "--by", "ann", "--json").json
    assert (made["provider"], made["input"], made["cached"], made["set_by"]) == ("moonshotai", 0.5, None, "ann")
    own = prices(*SET, "--tenant", "acme", "--to", "2099-01-01").out
    assert "acme" in own
    assert [row["change"] for row in prices("diff", "--json").json["changes"]] == ["kept"]
    assert prices("import").out.splitlines()[-1] == "1 kept"
    assert prices("import", "--yes").out == "1 kept\n"
    history = prices("history", "moonshot/kimi-k2.5", "--tenant", "acme", "--json").json["versions"]
    assert [(one["tenant"], one["source"].split()[0]) for one in history] == [
        ("acme", "set"),
        ("", "set"),
        ("", "genai-prices"),
    ]
    found = prices("list", "kimi", "k2.5", "--provider", "moonshot", "--limit", "1", "--json").json
    assert (found["total"], found["prices"][0]["note"]) == (2, "our contract")
    assert prices("end", "moonshot/kimi-k2.5").out == "the price of moonshotai/kimi-k2.5 ended\n"
    assert prices("import", "--yes").out == "1 new\n"
    assert prices("reprice", "--model", "moonshot/kimi-k2.5").out == "0 calls were priced: $0.00\n"


def test_what_cannot_be_done_is_said_by_its_field(prices: Callable[..., Ran]) -> None:
    for words, code, said in (
        (("show", "kimi"), 2, "model: must be PROVIDER/MODEL"),
        (("show", "moonshot/none"), 1, "no price is known for moonshot/none"),
        (("show", "moonshot/none", "--at", "noon"), 2, "--at: is no time"),
        (("set", "a/b", "--input", "-1", "--output", "1"), 2, "input: must be dollars"),
        (("set", "a/b", "--input", "1", "--output", "0.0000005"), 2, "output: is less than a millionth of a dollar"),
        ((*SET, "--from", "soon"), 2, "from: is no time"),
        (("end", "a/b"), 1, "no price for a/b that was set by hand counts now"),
        (("reprice", "--model", "a/b", "--since", "long"), 2, "--since: is no length of time"),
    ):
        ran = prices(*words)
        assert (ran.code, said in ran.err) == (code, True), ran.err
