"""`smm-admin modes`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.health.catalogs import tcp, use

CATALOG = (
    tcp("qdrant") + '[modes.no-vectors]\nwhile_down = ["qdrant"]\nfall_back = ["brand-context"]\nwait = ["publish"]\n'
)


@pytest.fixture
def modes(smm: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`smm-admin modes` with these words."""
    use(monkeypatch, home, CATALOG)
    return lambda *words: smm("modes", *words)


def test_a_mode_is_set_shown_and_left(modes: Callable[..., Ran]) -> None:
    assert modes("list").out == "no mode is on: every operation goes on as ever\n"
    entered = modes("enter", "no-vectors", "--reason", "qdrant moves", "--for", "2h", "--by", "ann")
    assert (entered.code, entered.err) == (0, "")
    assert entered.out.startswith("no-vectors is on until 2")
    shown = modes("list").out
    assert "person:ann" in shown
    assert "qdrant moves" in shown
    assert [line.split()[:2] for line in shown.splitlines()[-2:]] == [
        ["brand-context", "fall_back"],
        ["publish", "wait"],
    ]
    assert modes("list", "--json").json["operations"]["publish"]["effect"] == "wait"
    assert modes("leave", "no-vectors").out == "no-vectors is off\n"
    assert modes("list", "--json").json["modes"] == []


def test_operations_may_be_given(modes: Callable[..., Ran]) -> None:
    words = ("enter", "by-hand", "--reason", "x", "--wait", "a", "--wait", "b", "--fall-back", "c", "--json")
    made = modes(*words).json
    assert (made["wait"], made["fall_back"], made["until"]) == (["a", "b"], ["c"], None)
    left = modes("leave", "by-hand", "--json").json
    assert (left["name"], len(left["ended"]), left["held_by"]) == ("by-hand", 1, [])


def test_what_cannot_be_done_is_said_in_one_line(modes: Callable[..., Ran]) -> None:
    unknown = modes("leave", "no-vectors")
    assert (unknown.code, unknown.err) == (1, "smm-admin: no mode of this name is on\n")
    empty = modes("enter", "by-hand", "--reason", "x")
    assert empty.code == 2
    assert "must name operations" in empty.err
