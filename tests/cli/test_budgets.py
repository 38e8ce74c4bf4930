"""`smm-admin budgets`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app import clock
from tests.cli.conftest import Ran
from tests.costs.budgeted import BUDGETS
from tests.costs.spent import call, spent
from tests.health.catalogs import use


@pytest.fixture
def budgets(smm: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`smm-admin budgets` with these words."""
    use(monkeypatch, home, BUDGETS)
    return lambda *words: smm("budgets", *words)


def test_budgets_are_shown_raised_and_asked(budgets: Callable[..., Ran]) -> None:
    spent([call(clock.now(), cost_micro_usd=9_000_000)])
    listed = budgets("list")
    assert listed.out.splitlines()[0].split() == ["BUDGET", "PERIOD", "SUBJECT", "SPENT", "OF", "%", "ENDS"]
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [
        ["tenant_month", "month"],
        ["house_month", "month"],
    ]
    words = ("tenant_month", "--reason", "agreed", "--subject", "tenant:acme", "--by", "ann")
    raised = budgets("raise", words[0], "12", *words[1:])
    assert (raised.code, raised.out) == (0, "tenant_month of tenant:acme: $12.00\n")
    assert budgets("lower", words[0], "13", *words[1:]).code == 2
    lowered = budgets("lower", words[0], "11", *words[1:], "--until", "period", "--json").json
    assert (lowered["amount"], lowered["set_by"]) == (11.0, "person:ann")
    shown = budgets("show", "tenant_month", "--subject", "tenant:acme").out
    assert "ladder: 75 % notify, 80 % notify" in shown
    assert f"tenant:acme: $11.00 until {lowered['until']}, by person:ann: agreed" in shown
    asked = budgets("verdict", "--tenant", "acme", "--class", "background", "--json").json
    assert (asked["decision"], asked["budgets"][1]["amount"]) == ("allow", 11.0)
    assert budgets("verdict", "--tenant", "acme").out.startswith("allow: go on\nBUDGET")


def test_a_budget_is_made_and_removed_with_a_history(budgets: Callable[..., Ran]) -> None:
    assert budgets("history").out == "nobody has changed a budget\n"
    made = budgets("set", "chat_day", "2", "--reason", "a pilot", "--define", '{"scope": "skill", "period": "day"}')
    assert (made.code, made.out) == (0, "chat_day: $2 a day for each skill\n")
    assert budgets("set", "chat_day", "3", "--reason", "more").out == "chat_day: $3.00\n"
    assert budgets("remove", "chat_day", "--reason", "over").out == "chat_day: what people had set is set no longer\n"
    rows = [line.split() for line in budgets("history", "chat_day").out.splitlines()[1:]]
    assert budgets("history", "house_month").out == "nobody has changed house_month\n"
    words = ("set", "acme_day", "2", "--reason", "a pilot", "--define")
    made = budgets(*words, '{"scope": "tenant", "period": "day", "for": "acme"}')
    assert made.out == "acme_day: $2 a day for tenant acme\n"
    assert [(row[3], row[4], row[5]) for row in rows] == [
        ("removed", "$3.00", "-"),
        ("set", "$2.00", "$3.00"),
        ("defined", "-", "$2.00"),
    ]


def test_what_cannot_be_done_is_said_in_one_line(budgets: Callable[..., Ran]) -> None:
    for words, named in (
        (("set", "tenant_month", "0", "--reason", "x"), "amount: must be dollars"),
        (("set", "chat_day", "1", "--reason", "x", "--define", "[]"), "--define: must be a JSON object"),
        (("raise", "tenant_month", "11", "--reason", "x", "--until", "soon"), "until: must be period"),
        (("verdict", "--class", "urgent"), "class: must be critical"),
    ):
        refused = budgets(*words)
        assert refused.code == 2
        assert named in refused.err
    assert budgets("show", "tenant_mont").err == ('smm-admin: no budget is named so (did you mean "tenant_month"?)\n')
