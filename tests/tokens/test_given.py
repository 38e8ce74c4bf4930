"""What people give about an account: every wrong field is named, and no value is quoted."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as any_of
from hypothesis import settings as trying
from hypothesis import strategies as st

from app.catalog import parse
from app.errors import Invalid
from app.notify.specs import catalog_problems
from app.tokens.given import CHANGEABLE, FIELDS, TOKEN, Checker
from app.tokens.given_reading import MOST_UNKNOWN, Reading
from tests.tokens.keeping import CANARY, CATALOGUE, NOW, given, with_token

CHECKER = Checker(parse(CATALOGUE, [catalog_problems]), NOW)


def wrong(values: dict[str, Any]) -> dict[str, str]:
    """Fields and what is wrong with them."""
    with pytest.raises(Invalid) as refused:
        CHECKER.account(values)
    assert CANARY not in str(refused.value)
    return {problem.field: problem.message for problem in refused.value.problems}


def test_all_that_is_good_is_taken() -> None:
    found = CHECKER.account(
        with_token(
            "178",
            name="Café Ünder 👩‍👧",
            app="instagram-eu",
            contacts=[{"channel": "client-mail", "to": "a@example.com"}, "client-chat:-100"],
            email="b@example.com",
            telegram="-100",
            scopes="a,b  c a",
            issued_at="2027-02-01T12:00:00+01:00",
        )
    )
    assert (found.key, found.tenant, found.name, found.app) == (
        "instagram/178",
        "acme",
        "Café Ünder 👩‍👧",
        "instagram-eu",
    )
    assert found.contacts == (
        {"channel": "client-mail", "to": "a@example.com"},
        {"channel": "client-chat", "to": "-100"},
        {"channel": "client-mail", "to": "b@example.com"},
    )
    assert found.tokens is not None
    assert found.tokens.scopes == ("a", "b", "c")
    assert found.tokens.issued_at == datetime(2027, 2, 1, 11, tzinfo=UTC)
    assert found.tokens.expires_at == datetime(2027, 2, 1, 11, tzinfo=UTC) + timedelta(seconds=5_000_000)
    assert CANARY not in repr(found)


def test_every_wrong_field_is_named_at_once() -> None:
    found = wrong(
        {
            "tenant": "a\nb",
            "platform": "instagramm",
            "account": "a/b",
            "name": "x" * 201,
            "contacts": [{"channel": "client-male", "to": "a@example.com"}, "client-mail", 7],
            "email": "nowhere",
            "telegram": 5,
            "access_token": f"{CANARY} {CANARY}",
            "refresh_token": CANARY * 300,
            "scopes": 5,
            "colour": "red",
        }
    )
    assert set(found) == {
        "tenant", "platform", "account", "name", "contacts.0", "contacts.1", "contacts.2", "email", "telegram",
        "access_token", "refresh_token", "scopes", "colour",
    } - {"scopes"}  # fmt: skip
    assert 'did you mean "instagram"?' in found["platform"]
    assert 'did you mean "client-mail"?' in found["contacts.0"]
    assert set(wrong({})) == {"tenant", "platform", "account"}


def test_an_app_must_be_there_and_of_the_platform() -> None:
    assert "there is instagram-eu" in wrong(given(app="x"))["app"]
    assert "is no [apps.NAME] of threads" in wrong(given(platform="threads", app="instagram-eu"))["app"]
    assert wrong(given(contacts="console:5"))["contacts"].endswith("leave `to` out")
    for to in ("a\0b@example.com", "a\x01@example.com", "a" * 400 + "@example.com"):
        assert "one line" in wrong(given(contacts=[{"channel": "client-mail", "to": to}]))["contacts.0"]


@pytest.mark.parametrize("around", ['{{"access_token":"{}"}}', '"{}"', "'{}'", "<html>{}</html>"])
def test_what_has_something_around_it_is_no_token(around: str) -> None:
    assert "alone" in wrong(with_token(access_token=around.format(CANARY)))["access_token"]


def test_a_name_that_is_none_is_not_quoted_as_it_may_be_a_token() -> None:
    many = Reading({f"x{place}": 1 for place in range(50_000)}, FIELDS)
    assert len(many.problems) == MOST_UNKNOWN + 1
    assert many.problems[-1].message == f"and {50_000 - MOST_UNKNOWN} more that are not known"
    with pytest.raises(Invalid) as refused:
        CHECKER.account(given(contacts=[7] * 10_000))
    assert len(refused.value.problems) == 1
    assert wrong(given() | {CANARY: 1, "acount": 2}) == {
        "?": "is a name that is not known",
        "acount": 'is not known (did you mean "account"?)',
    }


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": "10 days"}, "expires_in"),
        ({"expires_in": 10**9}, "expires_in"),
        ({"expires_at": "2027-05-01T00:00:00Z"}, "expires_in"),
        ({"expires_in": None, "expires_at": "2027-05-01T00:00:00"}, "expires_at"),
        ({"expires_in": None, "expires_at": "soon"}, "expires_at"),
        ({"expires_in": None, "expires_at": "2090-05-01T00:00:00Z"}, "expires_at"),
        ({"expires_in": None}, "expires_at"),
        ({"issued_at": "2027-03-01T12:30:00Z"}, "issued_at"),
        ({"issued_at": "2027-02-01T12:00:00Z", "refresh_expires_at": "2027-01-01T12:00:00Z"}, "refresh_expires_at"),
        ({"issued_at": True}, "issued_at"),
        ({"issued_at": 10**15}, "issued_at"),
        ({"access_token": None, "refresh_token": "r"}, "access_token"),
        ({"access_token": 5}, "access_token"),
    ],
)
def test_times_and_tokens_that_cannot_be_are_refused(values: dict[str, Any], field: str) -> None:
    assert field in wrong({**with_token(), **values})


def test_a_token_whose_end_nobody_knows_ends_with_the_usual_life_or_counts_as_due() -> None:
    usual = CHECKER.token("instagram", {"access_token": "a", "issued_at": "2027-02-01T12:00:00Z"})
    assert usual.expires_at == datetime(2027, 2, 1, 12, tzinfo=UTC) + timedelta(days=60)
    due = CHECKER.token("x", {"access_token": "a", "refresh_token": "r"})
    assert due.expires_at == NOW
    over = CHECKER.token("instagram", {"access_token": "a", "expires_at": "2027-01-01T00:00:00Z"})
    assert over.expires_at == datetime(2027, 1, 1, tzinfo=UTC), "one that is over already is told of at once"
    far = CHECKER.token("x", {"access_token": "a", "refresh_token": "r", "expires_in": 7_200_000})
    assert far.expires_at == NOW + timedelta(hours=2), "milliseconds, it seems: nobody would look at it for weeks"
    alone = CHECKER.token("x", {"access_token": "a", "expires_in": 7_200_000})
    assert alone.expires_at == NOW + timedelta(seconds=7_200_000)


def test_only_what_may_change_is_changed() -> None:
    assert CHECKER.changes("instagram", {"name": "", "contacts": []}) == {"name": "", "contacts": ()}
    for values, field in (
        ({"tenant": "b"}, "tenant"),
        ({"app": "x"}, "app"),
        ({}, "body"),
        ({"scopes": "a"}, "scopes"),
    ):
        with pytest.raises(Invalid) as refused:
            CHECKER.changes("instagram", values)
        assert [problem.field for problem in refused.value.problems] == [field]


_ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just([1, {"a": None}])


@trying(max_examples=60, deadline=None)
@any_of(st.dictionaries(st.sampled_from(FIELDS), _ANYTHING, max_size=len(FIELDS)))
def test_nonsense_is_refused_by_field_and_never_raises_anything_else(values: dict[str, Any]) -> None:
    for check in (
        lambda: CHECKER.account(values),
        lambda: CHECKER.token("x", {name: values[name] for name in TOKEN if name in values}),
        lambda: CHECKER.changes("x", {name: values[name] for name in CHANGEABLE if name in values}),
    ):
        with contextlib.suppress(Invalid):
            check()
