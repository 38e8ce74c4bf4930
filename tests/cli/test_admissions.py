"""`smm-admin admissions`: what waits, and the question of the night: why does this wait?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from app.admission import admitting, requests
from app.config import settings
from app.infra import redis
from app.limits import keys
from tests.admission.limited import CATALOG
from tests.admission.pausing import pause
from tests.cli.conftest import Ran
from tests.health.catalogs import use

SPENDING = f"""{CATALOG}
[operations.think]
class = "interactive"
budgets = true

[operations.dream]
class = "background"
budgets = true

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 5
"""


@pytest.fixture
def admissions(smm: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`smm-admin admissions` with these words, under a catalogue with limits."""
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    smm("admissions", "list")
    return lambda *words: smm("admissions", *words)


def ask(operation: str, **more: object) -> dict[str, Any]:
    body = {"operation": operation, "account": "acme", **more}
    return admitting.admit([requests.parse(body, caller="the-test")])[0].document()


def test_what_waits_is_listed_shown_and_cancelled(admissions: Callable[..., Ran]) -> None:
    assert admissions("list").out == "nothing waits\n"
    made = [ask("post", id=str(number)) for number in range(3)]
    deferred_id = made[2]["deferred_id"]
    listed = admissions("list", "--account", "instagram/acme")
    assert listed.code == 0
    assert listed.out.splitlines()[1].split()[:4] == [deferred_id, "instagram/acme", "post", "waiting"]
    assert "posts" in listed.out
    assert admissions("list", "--operation", "reply", "--json").json["operations"] == []
    shown = admissions("show", deferred_id)
    assert "request id" in shown.out
    assert admissions("show", deferred_id, "--json").json["position"] == 1
    assert admissions("cancel", deferred_id).out == f"{deferred_id} is cancelled\n"
    assert admissions("list").out == "nothing waits\n"
    assert admissions("list", "--state", "any", "--json").json["operations"][0]["state"] == "cancelled"
    again = admissions("cancel", deferred_id)
    assert (again.code, again.out) == (1, "")


def test_trying_says_what_would_be_answered_and_consumes_nothing(admissions: Callable[..., Ran]) -> None:
    for _ in range(2):
        ran = admissions("try", "post", "--account", "acme")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("it may go on (room): go on\n")
        assert [line.split()[:2] for line in ran.out.splitlines()[3:6]] == [
            ["api", "0"], ["api_rolling", "0"], ["posts", "0"],
        ]  # fmt: skip
        assert "nobody waits" in ran.out


def test_trying_explains_why_something_waits(admissions: Callable[..., Ran]) -> None:
    for number in range(3):
        ask("post", id=str(number))
    pause("operation:post", reason="moving house")
    ran = admissions("try", "post", "--account", "acme")
    assert ran.code == 1
    assert ran.out.startswith("it would wait (pause): ")
    assert "held: " in ran.out
    assert "moving house" in ran.out
    posts = next(line for line in ran.out.splitlines() if line.startswith("posts"))
    assert posts.split()[1:5] == ["2", "2", "2", "1"]
    assert "others wait for " in ran.out
    assert "1 wait (1 interactive)" in ran.out
    document = admissions("try", "post", "--account", "instagram/acme", "--json").json
    assert (document["answer"]["decision"], document["behind"] is not None) == ("wait", True)
    assert [hold["effect"] for hold in document["holds"]] == ["wait"]


def test_trying_what_spends_money_needs_an_estimate(admissions: Callable[..., Ran]) -> None:
    missing = admissions("try", "draft", "--account", "acme", "--tenant", "t1")
    assert missing.code == 2
    assert "estimate" in missing.err
    fine = admissions("try", "draft", "--account", "acme", "--tenant", "t1", "--estimate", "1.25")
    assert fine.code == 0
    assert "$1.25" in fine.out
    large = admissions("try", "draft", "--account", "acme", "--tenant", "t1", "--estimate", "100")
    assert (large.code, large.out.startswith("it would be denied (too_large)")) == (1, True)


def test_trying_what_spends_in_budgets_needs_no_account(
    admissions: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, SPENDING)
    ran = admissions("try", "think", "--tenant", "acme", "--estimate", "0.5")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines() if line.startswith("budget_")] == [
        ["budget_tenant_day", "$0.00", "$5.00", "no", "limit", "$0.50", "now", ANY],
    ]  # fmt: skip
    large = admissions("try", "dream", "--tenant", "acme", "--estimate", "50")
    assert "dream needs $50.00 of the budget tenant_day, of which its class may have $5.00 at most" in large.out
    assert "account: is required" in admissions("try", "post").err


def test_what_is_wrong_is_said_in_one_line(admissions: Callable[..., Ran]) -> None:
    unknown = admissions("try", "pots", "--account", "acme")
    assert unknown.code == 2
    assert 'did you mean "post"' in unknown.err
    assert admissions("show", "nonsense").code == 2
    assert admissions("show", "019f0e6c-7d55-7c1e-9d1a-3a1f6f0c2b11").code == 1
    assert admissions("list", "--state", "odd").code == 2


def test_without_redis_nothing_can_be_tried(admissions: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    redis.client.cache_clear()
    ran = admissions("try", "post", "--account", "acme")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("smm-admin: Redis")
