"""Texts with places: what is filled in, what is left out, what never comes through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.templates import LONGEST, fill, lookup, mistakes

ROOTS = ("subject", "labels", "facts")
VALUES = {
    "subject": "postgres",
    "labels": {"kind": "postgres", "a-b": "c"},
    "facts": {"error": {"code": "refused", "text": "nothing listens"}, "seconds": 250.04, "count": 7, "ok": True},
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{subject} is down", "postgres is down"),
        ("{labels.kind}/{labels.a-b}: {facts.error.text}", "postgres/c: nothing listens"),
        ("{facts.count} of {facts.seconds} {facts.ok}", "7 of 250 true"),
        ("{facts.seconds:duration}", "4 min 10 s"),
        ("{facts.error.code:duration}{facts.nothing:duration}", "refused"),
        ("{{subject}} {{{subject}}} }}{{", "{subject} {postgres} }{"),
        ("no places", "no places"),
        ("", ""),
    ],
)
def test_a_text_is_filled(text: str, filled: str) -> None:
    assert fill(text, VALUES) == filled
    assert list(mistakes(text, ROOTS)) == []


@pytest.mark.parametrize(
    "text",
    [
        "{labels.other}",
        "{facts.error}",
        "{facts}",
        "{nobody}",
        "{facts.count.real}",
        "{subject.upper}",
        "{labels.keys}",
    ],
)
def test_what_is_not_there_is_left_out_and_no_attribute_is_ever_read(text: str) -> None:
    assert fill(f"<{text}>", VALUES) == "<>"


@pytest.mark.parametrize("text", ["{", "}", "{ subject }", "{subject!r}", "{0}", "{}", "{facts.count[0]}", "{subject"])
def test_other_braces_stay_and_are_a_mistake(text: str) -> None:
    assert fill(text, VALUES) == text
    assert list(mistakes(text, ROOTS)) == ["has a brace that belongs to no place: write {{ and }} for braces"]


def test_a_place_of_another_root_or_form_is_a_mistake() -> None:
    assert list(mistakes("{label.kind} {facts.x:.2f}", ROOTS)) == [
        "{label.kind} begins with none of subject, labels, facts",
        "{facts.x:.2f} has another form than duration",
    ]
    assert fill("{facts.count:.2f}", VALUES) == "7"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1 + 0.2, "0.3"),
        (1234567.891, "1234568"),
        (0.00001234, "1.234e-05"),
        (-3.0, "-3"),
        (None, ""),
        (False, "false"),
        (["a", None, 2.0], "a, 2"),
        (datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T12:00:00.000Z"),
        ("2026-03-01 12:00:00.5+00:00", "2026-03-01T12:00:00.500Z"),
        ("2026-03-01 12:00:00+02:00", "2026-03-01T10:00:00.000Z"),
        ("2026-13-41 12:00:00+00:00", "2026-13-41 12:00:00+00:00"),
        ("since 2026-03-01 12:00:00+00:00", "since 2026-03-01 12:00:00+00:00"),
        (float("nan"), "nan"),
    ],
)
def test_values_are_shown_as_people_read_them(value: object, shown: str) -> None:
    assert fill("{v}", {"v": value}) == shown


def test_places_in_a_value_are_not_filled() -> None:
    assert fill("{facts.a}", {"facts": {"a": "{facts.b}{{", "b": "secret"}}) == "{facts.b}{{"


def test_secrets_do_not_come_through_wherever_they_come_from() -> None:
    assert fill("{facts.url}", {"facts": {"url": "postgresql://me:hunter2@db/x"}}) == "postgresql://me:***@db/x"
    assert "hunter2" not in fill("password={facts.x}", {"facts": {"x": "hunter2hunter2"}})


def test_a_secret_at_the_cut_is_masked_before_the_cut() -> None:
    secret = "sk-" + "a1" * 40
    filled = fill("{v} {v}", {"v": "x" * (LONGEST - 20) + " " + secret})
    assert "a1a1" not in filled
    assert len(filled) <= LONGEST


def test_the_result_is_bounded_and_storable() -> None:
    filled = fill("{v}{v}", {"v": "\x00\ud800" + "y" * 1_000_000})
    assert len(filled) == LONGEST
    assert "\x00" not in filled
    filled.encode()
    assert len(fill("z" * 20_000, {})) == LONGEST


def test_lookup_tells_what_stands_at_a_path() -> None:
    assert lookup(VALUES, "facts.error") == {"code": "refused", "text": "nothing listens"}
    assert lookup(VALUES, "facts.count.x") is None
    assert datetime(2026, 1, 1, tzinfo=UTC) == lookup({"at": datetime(2026, 1, 1, tzinfo=UTC)}, "at")


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.none(), max_size=5))
def test_no_text_and_no_value_raises(text: str, values: dict[str, object]) -> None:
    assert len(fill(text, values)) <= LONGEST
    assert len(fill("".join(f"{{{name}}}" for name in values), values)) <= LONGEST
    list(mistakes(text, ROOTS))


@given(st.text())
def test_a_text_escaped_comes_out_as_it_went_in(text: str) -> None:
    plain = text.encode("utf-8", "replace").decode().replace("\x00", "")
    assert fill(plain.replace("{", "{{").replace("}", "}}"), {}) == plain
