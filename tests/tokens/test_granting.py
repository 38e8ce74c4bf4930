"""Answers with tokens in them: every way in which they can be odd, and that nothing odd is believed."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.tokens.granting import LONGEST_LIFE, end_of, granted, moment_of, scopes_of
from app.tokens.provider import LONGEST_TOKEN, Granted, Refused, Traits, Trouble

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIFE = timedelta(days=60)
STAYS, ROTATES = Traits(life=LIFE), Traits(life=LIFE, rotates=True)


@pytest.mark.parametrize(("value", "ends_in", "note"), [
    (5_184_000, LIFE, ""),
    ("5184000", LIFE, ""),
    (5_184_000.7, LIFE, ""),
    (1, timedelta(seconds=1), ""),
    (None, LIFE, "expires_in_missing"),
    (0, LIFE, "expires_in_zero"),
    ("0", LIFE, "expires_in_zero"),
    (-5, LIFE, "expires_in_negative"),
    ("-5", LIFE, "expires_in_negative"),
    ("soon", LIFE, "expires_in_unreadable"),
    ("", LIFE, "expires_in_unreadable"),
    ("9" * 31, LIFE, "expires_in_unreadable"),
    ("\u0661\u0662", LIFE, "expires_in_unreadable"),
    (True, LIFE, "expires_in_unreadable"),
    (math.nan, LIFE, "expires_in_unreadable"),
    (math.inf, LIFE, "expires_in_unreadable"),
    ([5], LIFE, "expires_in_unreadable"),
    (10**12, LIFE, "expires_in_absurd"),
    (10**400, LIFE, "expires_in_absurd"),
])  # fmt: skip
def test_an_end_is_counted_from_now_and_else_by_the_life_that_is_known(value: object, ends_in: timedelta, note: str):
    assert end_of(value, now=NOW, life=LIFE) == (NOW + ends_in, note)


@pytest.mark.parametrize("value", [None, 0, "0"], ids=repr)
def test_where_a_token_may_live_for_ever_nothing_said_means_for_ever(value: object):
    assert end_of(value, now=NOW, life=LIFE, never=True) == (None, "")


@pytest.mark.parametrize("value", [-1, "soon", 10**12, True])
def test_nonsense_does_not_mean_for_ever(value: object):
    assert end_of(value, now=NOW, life=LIFE, never=True)[0] == NOW + LIFE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(value=JSON, never=st.booleans())
def test_any_end_is_later_than_now_and_not_absurdly_late(value: Any, never: bool):
    ends_at, note = end_of(value, now=NOW, life=LIFE, never=never)
    assert ends_at is None or NOW < ends_at <= NOW + LONGEST_LIFE
    assert never or ends_at is not None
    assert note in {"", *(f"expires_in_{odd}" for odd in ("missing", "zero", "negative", "unreadable", "absurd"))}


def test_all_that_an_answer_says_is_kept():
    found = granted(
        {
            "access_token": "canary-a", "refresh_token": "canary-r", "expires_in": 7200, "token_type": "Bearer",
            "scope": "a.read, b.write", "refresh_expires_in": "31536000",
        },
        traits=ROTATES, now=NOW,
    )  # fmt: skip
    assert isinstance(found, Granted)
    tokens = found.tokens
    assert tokens.refresh is not None
    assert (tokens.access.reveal(), tokens.refresh.reveal()) == ("canary-a", "canary-r")
    assert (tokens.issued_at, tokens.expires_at) == (NOW, NOW + timedelta(hours=2))
    assert tokens.refresh_expires_at == NOW + timedelta(days=365)
    assert (tokens.scopes, tokens.token_type, found.note) == (("a.read", "b.write"), "bearer", "")
    assert "canary" not in repr(found)


@pytest.mark.parametrize("token", [
    None, "", " ", "a b", "a\n", "a\x00", "caf\u00e9", "\ud800", 5, True, ["a"], {"a": 1}, "x" * (LONGEST_TOKEN + 1),
])  # fmt: skip
def test_what_cannot_be_a_token_is_refused_and_lost_where_the_old_one_is_gone(token: object):
    for traits, trouble in ((STAYS, Trouble.UNKNOWN), (ROTATES, Trouble.LOST)):
        found = granted({"access_token": token, "expires_in": 5}, traits=traits, now=NOW)
        assert isinstance(found, Refused)
        assert (found.trouble, found.reason) == (trouble, "unreadable_answer")
    if token:
        found = granted({"access_token": "good", "refresh_token": token}, traits=ROTATES, now=NOW)
        assert isinstance(found, Refused)


def test_an_answer_without_a_refresh_token_leaves_the_old_one():
    for absent in ({}, {"refresh_token": None}, {"refresh_token": ""}):
        found = granted({"access_token": "good", **absent}, traits=ROTATES, now=NOW)
        assert isinstance(found, Granted)
        assert found.tokens.refresh is None


@pytest.mark.parametrize(("value", "scopes"), [
    ("a b,c", ("a", "b", "c")), (["a", "b"], ("a", "b")), (["a", 5, "x y", "\u00e9"], ("a",)), ("", ()), (None, ()),
    ({"a": 1}, ()),
])  # fmt: skip
def test_scopes_come_as_lists_or_as_texts(value: object, scopes: tuple[str, ...]):
    assert scopes_of(value) == scopes


@pytest.mark.parametrize("value", [0, -1, "x", None, True, 10**15], ids=repr)
def test_a_moment_that_is_none_is_not_believed(value: object):
    assert moment_of(value) is None
    assert moment_of("1772366400") == NOW
