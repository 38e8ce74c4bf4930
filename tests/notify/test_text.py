"""Text of strangers: cleaned, cut and escaped, whatever it is."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.notify.text import (
    Piece,
    as_is,
    clean,
    fit,
    html,
    joined,
    markdown,
    mrkdwn,
    one_line,
    utf8_bytes,
    utf16_units,
    web_address,
)

ANY = st.text(st.characters(), max_size=200)  # surrogates too
CLEAN = ANY.map(clean)
SPICY = st.text("ab <>&\"'*_`|[](){}#-+1.\\\n🔥é", max_size=80)
ESCAPES = [as_is, html, mrkdwn, markdown]
MEASURES = [len, utf16_units, utf8_bytes]
ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot);)")


@given(ANY)
def test_what_is_clean_has_no_controls_no_changes_of_direction_and_is_valid_unicode(text: str) -> None:
    found = clean(text)
    found.encode("utf-8")
    assert {unicodedata.category(character) for character in found if character != "\n"} & {"Cc", "Cs"} == set()
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(found)
    assert clean(found) == found


def test_right_to_left_text_and_emoji_survive_as_they_are() -> None:
    for text in ("שלום עולם", "مرحبا \u200fبالعالم", "👨‍👩‍👧‍👦 🏴󠁧󠁢󠁳󠁣󠁴󠁿 ✅"):
        assert clean(text) == text


def test_line_ends_of_every_kind_become_one_kind_and_a_line_has_none() -> None:
    assert clean("a\r\nb\rc\u2028d\x0be\x85f\tg") == "a\nb\nc\nd\ne\nf g"
    assert one_line("a\r\n\n b\t c") == "a b c"


def test_an_escape_sequence_of_a_terminal_loses_its_power() -> None:
    assert clean("\x1b[31mred\x1b[0m\x00\x07") == "[31mred[0m"


@given(SPICY | CLEAN, st.integers(0, 60), st.sampled_from(ESCAPES), st.sampled_from(MEASURES))
def test_what_is_fitted_never_exceeds_its_limit_however_it_is_measured(text, limit, escape, measure) -> None:
    assert measure(fit(text, limit, escape=escape, measure=measure)) <= limit


@given(SPICY, st.integers(0, 60))
def test_a_cut_never_lies_inside_an_escaped_character(text: str, limit: int) -> None:
    cut = fit(text, limit, escape=html)
    assert not ENTITY.search(cut)
    plain = unescape(cut)
    assert plain == text or not plain or (plain[-1] == "…" and text.startswith(plain[:-1]))


@given(SPICY, st.integers(0, 60))
def test_a_cut_never_leaves_a_lonely_backslash(text: str, limit: int) -> None:
    cut = fit(text, limit, escape=markdown)
    assert not re.search(r"(?<!\\)(\\\\)*\\(…|$)", cut)


@given(SPICY)
def test_what_fits_is_not_touched(text: str) -> None:
    assert fit(text, 1000) == text
    assert fit(text, utf16_units(html(text)), escape=html) == html(text)


def test_a_cut_keeps_as_much_as_there_is_room_for() -> None:
    assert fit("abcdefgh", 5) == "abcd…"
    assert fit("&&&&", 11, escape=html) == "&amp;&amp;…"
    assert fit("🔥🔥🔥", 4) == "🔥…"
    assert fit("🔥🔥🔥", 8, measure=utf8_bytes) == "🔥…"
    assert fit("👨‍👩‍👧‍👦", 5) == "👨…"
    assert fit("abc", 0) == ""


def test_a_hundred_kilobytes_are_cut_without_escaping_all_of_them_again_and_again() -> None:
    escaped = 0

    def counting(text: str) -> str:
        nonlocal escaped
        escaped += len(text)
        return html(text)

    assert utf16_units(fit("<🔥&" * 30_000, 4096, escape=counting)) <= 4096
    assert escaped < 16 * 4096


@given(st.lists(st.tuples(SPICY, st.sampled_from(["", "\n", "\n\n<b>"]))), st.integers(0, 200))
def test_pieces_are_joined_within_the_limit_and_in_order(pieces: list[tuple[str, str]], limit: int) -> None:
    found = joined((Piece(text, before=before) for text, before in pieces), limit, escape=html)
    assert utf16_units(found) <= limit
    assert not ENTITY.search(found)


def test_of_pieces_the_first_that_does_not_fit_is_cut_and_is_the_last() -> None:
    pieces = [Piece("one"), Piece("b" * 60, before="\n<b>", after="</b>"), Piece("three", before="\n")]
    assert joined(pieces, 40) == "one\n<b>" + "b" * 28 + "…</b>"
    assert joined(pieces, 20) == "one"


@given(SPICY)
def test_html_comes_back_as_it_was_and_holds_no_markup(text: str) -> None:
    assert unescape(html(text)) == text
    assert not set('<>"') & set(html(text))


@given(SPICY)
def test_slack_is_given_no_brackets(text: str) -> None:
    assert not set("<>") & set(mrkdwn(text))
    assert unescape(mrkdwn(text)) == text


@given(SPICY)
def test_markdown_comes_back_as_it_was_and_every_mark_is_escaped(text: str) -> None:
    escaped = markdown(text)
    assert re.sub(r"\\([^0-9A-Za-z\s])", r"\1", escaped) == text
    assert not re.search(r"(?<!\\)[*_~`|<>\[\]()#]", re.sub(r"\\\\", "", escaped))


def test_markdown_makes_no_list_of_a_line_that_looks_like_one() -> None:
    assert markdown("- a\n + b\n10. c\na - b") == "\\- a\n \\+ b\n10\\. c\na - b"


@pytest.mark.parametrize(
    ("given_url", "found"),
    [
        ("https://ops.example.com/a?b=c&d=e#f", "https://ops.example.com/a?b=c&d=e#f"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/"),
        (" https://x.test/a b\"<>|)'\n", "https://x.test/a%20b%22%3C%3E%7C%29%27"),
        ("https://x.test/%20%C3%A4ä", "https://x.test/%20%C3%A4%C3%A4"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//x.test/", None),
        ("https://", None),
        ("http://[::1", None),
        ("", None),
        ("https://x.test/" + "a" * 1000, None),
    ],
)
def test_a_link_is_an_http_address_that_breaks_no_markup(given_url: str, found: str | None) -> None:
    assert web_address(given_url) == found


@given(ANY)
def test_whatever_is_called_a_link_is_ascii_or_none(text: str) -> None:
    for candidate in (text, f"https://x.test/{text}"):
        found = web_address(candidate)
        assert found is None or (found.isascii() and not set("<>\"'|()\n ") & set(found))
