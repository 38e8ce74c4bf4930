"""`smm-admin pauses`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app import clock
from app.admission import pauses as domain
from app.infra.db import unit_of_work
from tests.cli.conftest import Ran


@pytest.fixture
def pauses(smm: Callable[..., Ran]) -> Callable[..., Ran]:
    """`smm-admin pauses` with these words."""
    return lambda *words: smm("pauses", *words)


def test_a_scope_is_paused_shown_and_lifted(pauses: Callable[..., Ran]) -> None:
    assert pauses("list").out == "nothing is paused\n"
    made = pauses("set", "account:instagram/anna", "--reason", "an audit", "--for", "2h", "--by", "ann")
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith("account:instagram/anna is paused until 2")
    shown = pauses("list").out.splitlines()
    assert shown[0].split() == ["SCOPE", "FROM", "CLASS", "EFFECT", "SET", "BY", "SINCE", "UNTIL", "REASON"]
    assert shown[1].split()[:4] == ["account:instagram/anna", "critical", "wait", "person:ann"]
    assert pauses("lift", "account:instagram/anna").out == "account:instagram/anna goes on\n"
    assert pauses("list", "--json").json == {"pauses": []}


def test_background_work_is_paused_alone(pauses: Callable[..., Ran]) -> None:
    words = ("set", "all", "--reason", "x", "--class", "background", "--effect", "deny", "--json")
    made = pauses(*words).json
    assert (made["class"], made["effect"], made["until"]) == ("background", "deny", None)
    assert pauses("set", "all", "--reason", "x").out == "all is paused until it is lifted\n"
    assert [one["scope"] for one in pauses("list", "--scope", "all", "--json").json["pauses"]] == ["all"]
    assert pauses("list", "--scope", "tenant:x").out == "nothing is paused\n"


def test_what_others_hold_is_lifted_by_force(pauses: Callable[..., Ran]) -> None:
    with unit_of_work() as uow:
        domain.set_pause(uow, "all", by="budgets", reason="spent", now=clock.now())
    refused = pauses("lift", "all")
    assert refused.code == 1
    assert "paused by budgets" in refused.err
    pauses("set", "all", "--reason", "x")
    assert pauses("lift", "all").out == "all is still paused by budgets\n"
    lifted = pauses("lift", "all", "--force", "--why", "it is 3 a.m.", "--json").json
    assert ([one["holder"] for one in lifted["ended"]], lifted["held_by"]) == (["budgets"], [])


def test_what_cannot_be_done_is_said_in_one_line(pauses: Callable[..., Ran]) -> None:
    unknown = pauses("lift", "all")
    assert (unknown.code, unknown.err) == (1, "smm-admin: all is not paused\n")
    for words, named in (
        (("set", "nothing", "--reason", "x"), "scope: must be all, platform:P"),
        (("set", "all", "--reason", "x", "--class", "urgent"), "class: must be critical"),
        (("set", "all", "--reason", "x", "--effect", "stop"), "effect: must be wait"),
        (("set", "all", "--reason", "x", "--for", "long"), "--for"),
    ):
        refused = pauses(*words)
        assert (refused.code, refused.out) == (2, "")
        assert named in refused.err
        assert len(refused.err.splitlines()) == 1
