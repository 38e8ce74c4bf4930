"""Every key's line, against the lines on which a writer put it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.toml_lines import Lines

keys = st.sampled_from(["a", "b", "web", "x-y", '"quo ted"', "'sin.gle'", '"q\\"uote"', "1"])
scalars = st.sampled_from(
    [
        "1",
        "true",
        '"text # no comment"',
        "'it [is] {a} = text'",
        "2026-03-01T22:00:00Z",
        "15:00:00",
        "-1.5e3",
        '""',
        '"""\nmany\nlines = 1\n[not.a.table]\n"quote" \\""" """',
        "'''\nx = 1\n'''",
        "inf",
    ]
)


def name(key: str) -> str:
    return str(next(iter(tomllib.loads(f"{key} = 1"))))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str | int, ...], int]]:
    """A valid TOML text and the line of each of its keys."""
    lines: list[str] = []
    known: dict[tuple[str | int, ...], int] = {}
    for table in draw(st.lists(keys, unique_by=name, max_size=4)):
        lines += draw(st.sampled_from([[], ["# [comment]"], ["", ""]]))
        lines.append(f"[ {table} ] # header")
        known[name(table),] = len(lines)
        for key in draw(st.lists(keys, unique_by=name, max_size=4)):
            path: tuple[str | int, ...] = (name(table), name(key))
            known[path] = len(lines) + 1
            value = draw(scalars)
            match draw(st.sampled_from(["plain", "dotted", "array", "inline"])):
                case "plain":
                    text = f"{key} = {value}"
                case "dotted":
                    text = f"{key} . z = {value} # end"
                    known[*path, "z"] = len(lines) + 1
                case "array":
                    known[*path, 0] = len(lines) + 2
                    known[*path, 1] = len(lines) + 3 + value.count("\n")
                    text = f"{key} = [\n{value}, # ] , not yet\n{{z = {value}, y = [1]}},\n]"
                    known[*path, 1, "z"] = known[*path, 1]
                case _:
                    text = f"{key} = {{z = {value}, y.x = 2}}"
                    known[*path, "z"] = len(lines) + 1
                    known[*path, "y", "x"] = len(lines) + 1 + value.count("\n")
            lines += text.split("\n")
    return "\n".join(lines), known


@given(documents())
def test_every_key_is_found_on_its_line(document: tuple[str, dict[tuple[str | int, ...], int]]) -> None:
    text, known = document
    tomllib.loads(text)
    lines = Lines(text)
    assert {path: lines.of(path) for path in known} == known


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_arrays_of_tables_count_their_tables(newline: str) -> None:
    text = newline.join(["[[s]]", "a = 1", "", "[[s]]", "a = 2", "[s.sub]", "b = 3"])
    assert tomllib.loads(text) == {"s": [{"a": 1}, {"a": 2, "sub": {"b": 3}}]}
    lines = Lines(text)
    found = [lines.of(path) for path in [("s", 0, "a"), ("s", 1), ("s", 1, "a"), ("s", 1, "sub", "b")]]
    assert found == [2, 4, 5, 7]


def test_what_has_no_line_gets_that_of_the_table_around_it() -> None:
    lines = Lines("\n[services.web]\nkind = 'http'\n")
    assert lines.of(("services", "web", "url", "x")) == 2
    assert lines.of(("other",)) is None


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(keys.map(name), inner, max_size=3), max_leaves=8))
def test_inline_tables_of_any_depth_are_read(tree: Any) -> None:
    def written(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"'{key}' = {written(inner)}" for key, inner in value.items()) + "}"
        return str(value)

    text = f"\n\nroot = {written(tree)}\nlast = 1".replace("'q\"uote'", '"q\\"uote"')
    assert tomllib.loads(text)["root"] == tree
    assert Lines(text).of(("last",)) == 4
