"""Scopes as they are written, and what they reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.access import scopes
from app.access.callers import Caller, NotAllowed, Role
from app.access.scopes import EVERYTHING, KINDS, TOKENS_READ, Scope
from app.errors import Invalid, NotFound

HERE = {"platforms": ("instagram", "x"), "tasks": ("tasks.posts.publish",)}


def service(*texts: str) -> Caller:
    return Caller("publisher", Role.SERVICE, scopes.parse_all(texts))


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("tokens:read", Scope("tokens:read")),
        ("tokens:read:instagram", Scope("tokens:read", "instagram")),
        ("tokens:read:instagram/17:84", Scope("tokens:read", "instagram/17:84")),
        ("tokens:list:tenant=Acme & Sons", Scope("tokens:list", "tenant=Acme & Sons")),
        ("admissions", Scope("admissions")),
        ("jobs:submit:tasks.posts.publish", Scope("jobs:submit", "tasks.posts.publish")),
        ("timeline:read:tokens", Scope("timeline:read", "tokens")),
    ],
)
def test_a_scope_is_its_name_and_maybe_a_selector(text: str, scope: Scope) -> None:
    assert scopes.parse(text) == scope
    assert str(scope) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tokens:raed", 'is no scope (did you mean "tokens:read"?)'),
        ("tokens:reads:x", 'did you mean "tokens:read"?'),
        ("", "is no scope; there are"),
        ("admissions:all", "admissions stands alone"),
        ("tokens:read:", "after tokens:read: must be PLATFORM, PLATFORM/ACCOUNT or tenant=TENANT"),
        ("tokens:read:tenant=", "after tokens:read:"),
        ("tokens:read:instagram/", "after tokens:read:"),
        ("tokens:read:instagram/a\nb", "after tokens:read:"),
        ("tokens:read:Instagram", "after tokens:read:"),
        ("jobs:submit:a b", "after jobs:submit: must be TASK"),
        ("x" * 501, "at most 500"),
    ],
)
def test_what_is_no_scope_is_told_with_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(Invalid) as found:
        scopes.parse(text)
    assert said in str(found.value)


def test_all_wrong_scopes_are_named_and_selectors_are_compared_with_what_there_is() -> None:
    given = ["tokens:read:instagrm", "jobs:submit:tasks.posts.publsh", "tokens:read:x", "tokens:list:tenant=x", "nope"]
    with pytest.raises(Invalid) as found:
        scopes.parse_all(given, **HERE)
    assert [problem.field for problem in found.value.problems] == ["scopes[0]", "scopes[1]", "scopes[4]"]
    assert 'did you mean "instagram"?' in found.value.problems[0].message
    assert 'did you mean "tasks.posts.publish"?' in found.value.problems[1].message


def test_scopes_of_one_name_add_up_and_others_do_not_count() -> None:
    reach = service("tokens:read:instagram", "tokens:read:x/7", "tokens:read:tenant=acme", "tokens:list").reach(
        TOKENS_READ
    )
    assert reach.covers("zeta", "instagram", "1")
    assert reach.covers("zeta", "x", "7")
    assert reach.covers("acme", "tiktok", "1")
    assert not reach.covers("zeta", "x", "8")
    assert not reach.covers("x/7", "threads", "instagram")
    assert not service("tokens:list").reach(TOKENS_READ).covers("acme", "x", "7")
    assert service("tokens:read", "tokens:read:x").reach(TOKENS_READ).covers("zeta", "threads", "1")


def test_admins_reach_everything() -> None:
    admin = Caller("ann", Role.ADMIN)
    assert admin.reach(TOKENS_READ) == EVERYTHING
    admin.require_endpoint("POST", "/api/v1/keys")
    admin.require_task("tasks.any")
    admin.require_signals(None)
    admin.require_own("somebody", "no such thing")


def test_an_endpoint_that_declares_nothing_is_for_admins() -> None:
    caller = service("admissions")
    caller.require_endpoint("POST", "/api/v1/admissions")
    caller.require_endpoint("GET", "/api/v1/contract")
    with pytest.raises(NotAllowed, match="for keys of admins"):
        caller.require_endpoint("POST", "/api/v1/keys")
    with pytest.raises(NotAllowed, match="lacks the scope costs:record"):
        caller.require_endpoint("POST", "/api/v1/costs/calls")


def test_a_key_names_the_tasks_it_may_and_no_others() -> None:
    caller = service("jobs:submit:tasks.posts.publish")
    caller.require_tasks({"task": "tasks.posts.publish", "callback": {"task": "tasks.posts.publish"}})
    caller.require_tasks({"callback": {"url": "http://x"}})
    for body in ({"task": "tasks.other"}, {"callback": {"task": "tasks.other"}}):
        with pytest.raises(NotAllowed, match="lacks the scope jobs:submit:tasks.other"):
            caller.require_tasks(body)
    service("jobs:submit").require_tasks({"task": "tasks.other"})


@pytest.mark.parametrize(
    ("kind", "is_allowed"),
    [("tokens.refreshed", True), ("tokens.*", True), ("tokens*", False), ("health.down", False), (None, False)],
)
def test_a_key_reads_the_signals_of_its_word(kind: str | None, is_allowed: bool) -> None:
    caller = service("timeline:read:tokens")
    if is_allowed:
        caller.require_signals(kind)
    else:
        with pytest.raises(NotAllowed, match="lacks the scope timeline:read"):
            caller.require_signals(kind)


def test_what_is_somebody_elses_does_not_exist() -> None:
    service("admissions").require_own("publisher", "no such thing")
    with pytest.raises(NotFound, match="no such thing"):
        service("admissions").require_own("ann", "no such thing")


def test_every_scope_is_asked_for_by_some_endpoint() -> None:
    assert set(scopes.ENDPOINTS.values()) == {*KINDS, scopes.ANY_KEY}


def test_the_page_names_every_scope_with_its_endpoints() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "access.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    assert set(KINDS) <= set(rows)
    for endpoint, scope in scopes.ENDPOINTS.items():
        where = page if scope == scopes.ANY_KEY else rows[scope]
        assert endpoint in where or scope == scopes.ADMISSIONS, endpoint
