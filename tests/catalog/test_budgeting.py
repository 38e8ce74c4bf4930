"""[tenants.NAME] and [budgets.NAME] as an operator writes them, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.catalog import Budgeting, lines_of, parse
from app.errors import Invalid
from tests.health.catalogs import tcp

BEFORE = tcp("web")
LINES = BEFORE.count("\n")


def good(text: str) -> Budgeting:
    return parse(BEFORE + text).budgeting


def problems(text: str) -> list[str]:
    """Without the file's name and the line."""
    with pytest.raises(Invalid) as caught:
        parse(BEFORE + text, subject="smm.toml")
    return [line.split(": ", 1)[1] for line in lines_of(caught.value)]


def budget(**keys: str) -> str:
    written = {"scope": '"tenant"', "period": '"day"', "amount": "5"} | keys
    return "[budgets.x]\n" + "".join(f"{key} = {value}\n" for key, value in written.items())


def test_a_budget_has_the_ladder_of_its_scope() -> None:
    found = good(budget()).budgets["x"]
    assert (found.units, found.counter, found.only) == (5_000_000, "budget_x", None)
    assert [(step.per_mille, step.severity, step.actions) for step in found.ladder] == [
        (750, "info", ("notify",)),
        (800, "warning", ("notify",)),
        (900, "error", ("notify",)),
        (950, "critical", ("notify",)),
        (1000, "critical", ("notify", "pause")),
        (1100, "critical", ("notify", "escalate")),
    ]
    whole = good(budget(scope='"global"')).budgets["x"]
    assert (whole.ladder[4].actions, whole.grace_hours) == (("notify", "throttle"), 2)
    cap = good(budget(scope='"agent"', period='"interaction"')).budgets["x"]
    assert [(step.per_mille, step.actions) for step in cap.ladder] == [(1000, ("notify", "stop"))]


def test_a_ladder_may_be_written_and_be_for_one() -> None:
    steps = '[{at = 0.5, team = "ml"}, {at = 1, severity = "error", actions = "cheaper"}]'
    found = good(budget(**{"for": '"acme"', "thresholds": steps})).budgets["x"]
    assert found.only == "acme"
    assert [(step.per_mille, step.team, step.actions) for step in found.ladder] == [
        (500, "ml", ("notify",)),
        (1000, None, ("cheaper",)),
    ]


def test_a_tenant_has_a_zone() -> None:
    found = good('[tenants.chai]\ntimezone = "Asia/Kolkata"\n')
    assert (found.zone_of("chai"), found.zone_of("other")) == ("Asia/Kolkata", "UTC")
    assert problems('[tenants.chai]\ntimezone = "Mars"\n') == [
        "tenants.chai.timezone: is no IANA time zone, such as Europe/Berlin"
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"scope": '"globel"'}, 'scope: must be "global", "tenant", "department", "user", "agent" or "skill"'),
        ({"amount": "0"}, "amount: must be more than 0"),
        ({"amount": "0.0000001"}, "amount: must be at least 0.000001"),
        ({"period": '"interaction"'}, "period: interaction is only for the scope agent"),
        ({"scope": '"global"', "for": '"acme"'}, "for: a global budget is for everybody"),
        ({"thresholds": "[{at = 0.9}, {at = 0.8}]"}, "thresholds: must rise, each share once"),
        (
            {"scope": '"agent"', "period": '"interaction"', "grace_hours": "2"},
            "period: an interaction has no hours, for grace_hours or `throttle`",
        ),
    ],
)
def test_a_mistake_is_named(keys: dict[str, str], said: str) -> None:
    [problem] = problems(budget(**keys))
    assert said in problem


def test_no_limit_may_be_named_as_budgets_are_counted() -> None:
    text = '[limits.budget_x]\ncapacity = 1\nwindow = "calendar"\nperiod = "day"\n'
    assert problems(text) == ['limits.budget_x: must not begin with "budget_": budgets are counted so']


def test_the_shipped_file_gives_each_tenant_a_day() -> None:
    found = parse(Path("deploy/smm-admin.toml").read_text()).budgeting
    assert {name: (one.scope, one.period, one.amount) for name, one in found.budgets.items()} == {
        "tenant_day": ("tenant", "day", 5.0)
    }
