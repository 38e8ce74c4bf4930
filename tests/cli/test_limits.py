"""`smm-admin limits`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.admission import admitting, requests
from app.cli.limits import bar
from app.config import settings
from app.infra import redis
from app.limits import keys
from tests.admission.limited import CATALOG
from tests.admission.pausing import pause
from tests.cli.conftest import Ran
from tests.health.catalogs import use
from tests.web.test_limits_api import closed, stored


@pytest.fixture
def limits(smm: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`smm-admin limits` with these words, under a catalogue with limits."""
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    smm("limits", "show", "--account", "instagram/nobody")
    return lambda *words: smm("limits", *words)


def ask(operation: str, **more: object) -> None:
    admitting.admit([requests.parse({"operation": operation, "account": "acme", **more}, caller="the-test")])


def test_an_account_is_shown_with_bars_holds_and_who_waits(limits: Callable[..., Ran]) -> None:
    for _ in range(3):
        ask("post")
    pause("account:instagram/acme", reason="moving house", least=3)
    ran = limits("show", "--account", "instagram/acme")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("instagram/acme, as of 2")
    posts = next(line for line in lines if line.startswith("posts"))
    assert posts.split()[1:5] == ["2", "2", "100.0", f"[{'#' * 20}]"]
    assert posts.endswith("what needs it waits")
    api = next(line for line in lines if line.startswith("api "))
    assert api.split()[1:5] == ["4", "10", "40.0", f"[{'#' * 8}{'-' * 12}]"]
    assert "account:instagram/acme: background operations" in ran.out
    assert "moving house" in ran.out
    assert "1 wait (1 interactive)" in ran.out
    assert "  1 post (oldest since 2" in ran.out
    document = limits("show", "--account", "instagram/acme", "--limit", "posts", "--json").json
    assert [(item["name"], item["used"]) for item in document["limits"]] == [("posts", 2)]
    assert document["live"] is True


def test_without_an_account_the_fullest_are_shown(limits: Callable[..., Ran]) -> None:
    assert limits("show").out == "nothing is used of any limit\n"
    stored("half", "api", 5, 10)
    stored("full", "posts", 2, 2)
    rows = [line.split()[:2] for line in limits("show").out.splitlines()[1:]]
    assert rows == [["instagram/full", "posts"], ["instagram/half", "api"]]
    assert len(limits("show", "--most", "1", "--json").json["limits"]) == 1


def test_what_is_over_is_listed(limits: Callable[..., Ran]) -> None:
    assert limits("history").out == "no window was closed in this time\n"
    closed("acme", "api", 10, hours=2, in_a_row=3)
    closed("acme", "api", 4, hours=50)
    ran = limits("history", "--account", "instagram/acme", "--limit", "api")
    assert len(ran.out.splitlines()) == 2
    assert ran.out.splitlines()[1].split()[3:] == ["10", "10", "10", "100.0", "1", "2", "3"]
    assert len(limits("history", "--since", "7d", "--json").json["windows"]) == 2


def test_while_redis_is_away_stored_figures_are_shown(
    limits: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored("acme", "posts", 2, 2)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    redis.client.cache_clear()
    ran = limits("show", "--account", "instagram/acme")
    assert ran.code == 0
    assert "note: the counters do not answer" in ran.out
    assert "what needs it waits" in ran.out


def test_what_is_wrong_is_said_in_one_line(limits: Callable[..., Ran]) -> None:
    assert limits("show", "--account", "acme").code == 2
    unknown = limits("show", "--account", "instagram/acme", "--limit", "pots")
    assert (unknown.code, unknown.err) == (1, 'smm-admin: no limit is named so (did you mean "posts"?)\n')
    assert limits("show", "--account", "instagrm/acme").code == 1
    assert limits("history", "--since", "yesterday").code == 2


@pytest.mark.parametrize(("percentage", "drawn"), [(0, 0), (4.9, 0), (5, 1), (99.9, 19), (100, 20), (250, 20)])
def test_a_bar_is_full_only_when_all_is_used(percentage: float, drawn: int) -> None:
    assert bar(percentage) == f"[{'#' * drawn}{'-' * (20 - drawn)}]"


def test_the_status_shows_the_fullest_account_of_each_limit(
    limits: Callable[..., Ran], smm: Callable[..., Ran]
) -> None:
    assert "FULLEST ACCOUNT" not in smm("status").out
    stored("full", "posts", 2, 2)
    ran = smm("status")
    assert "FULLEST ACCOUNT" in ran.out
    posts = next(line for line in ran.out.splitlines() if line.startswith("posts"))
    assert posts.split() == ["posts", "2", "2", "100.0", "instagram/full", "1"]
    assert smm("status", "--json").json["rate_limits"]["posts"]["used"] == 2
