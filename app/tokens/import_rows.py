"""Rows of a file of accounts: CSV with a line of headings, a JSON array of objects, or an object a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.catalog import did_you_mean
from app.errors import Invalid, Problem
from app.infra.text import storable
from app.tokens.given import FIELDS
from app.tokens.given_reading import hidden

CSV, JSON, LINES = "text/csv", "application/json", "application/x-ndjson"
CONTENT_TYPES = {
    CSV: CSV,
    JSON: JSON,
    **dict.fromkeys((LINES, "application/ndjson", "application/jsonl"), LINES),
}
SUFFIXES = {".csv": CSV, ".json": JSON, ".ndjson": LINES, ".jsonl": LINES}
MOST_ROWS = 100_000
MOST_BYTES = 67_108_864

SEPARATORS = (",", ";", "\t")
"""Of a CSV's values; the first one where a line of headings has none."""

_ALIASES = {"external_id": "account"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row by its number in the file: values by their fields, tokens as Secret; or what is wrong with it."""

    number: int
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    problem: Problem | None = None


def read(raw: bytes, content_type: str) -> Iterator[Row]:
    """The rows, numbered as in the file: of a CSV the headings are row 1, else the first one is.

    Raises Invalid for what is no such file; nothing of it is quoted.
    """
    kind = CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        raise _invalid(f"must be {', '.join((CSV, JSON, LINES))}", "content-type")
    if len(raw) > MOST_BYTES:
        raise _invalid(f"is larger than {MOST_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _invalid("is no text in UTF-8") from None
    rows = list({CSV: _csv, JSON: _json, LINES: _lines}[kind](text))
    if not rows:
        raise _invalid("holds no rows")
    if len(rows) > MOST_ROWS:
        raise _invalid(f"holds {len(rows)} rows; the most is {MOST_ROWS}")
    return iter(rows)


def _csv(text: str) -> Iterator[Row]:
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True))
    except csv.Error:
        raise _invalid("is no CSV: a quote or a line end is where none may be, or a value is far too long") from None
    headings = _headings(lines[0]) if lines else []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(headings):
            # What stands in a wrong column may be a token: none of it is shown.
            yield Row(number, problem=Problem("row", f"has {len(line)} values where {len(headings)} belong"))
            continue
        yield Row(number, hidden(dict(zip(headings, line, strict=True))))


def _separator(text: str) -> str:
    """What the line of headings has most of: a spreadsheet writes semicolons where a comma is in numbers."""
    headings = text.partition("\n")[0]
    return max(SEPARATORS, key=headings.count)


def _headings(line: list[str]) -> list[str]:
    names = [_named(cell.strip().lower()) for cell in line]
    problems = []
    for place, name in enumerate(names, start=1):
        if name not in FIELDS:
            # A file without headings begins with values: they are not shown.
            shown = did_you_mean(name, FIELDS)
            problems.append(Problem(f"column {place}", f"has a heading that is not known{shown}"))
        elif names.index(name) != place - 1:
            problems.append(Problem(f"column {place}", f"is a second {name}"))
    problems += [Problem(name, "has no column") for name in ("tenant", "platform", "account") if name not in names]
    if problems:
        raise Invalid(problems, subject="file")
    return names


def _json(text: str) -> Iterator[Row]:
    found = _parsed(text)
    if not isinstance(found, list):
        raise _invalid("must be a JSON array of objects")
    return (_row(number, one) for number, one in enumerate(found, start=1))


def _lines(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found = _parsed(line)
            except Invalid:
                yield Row(number, problem=Problem("row", "is no JSON"))
            else:
                yield _row(number, found)


def _row(number: int, found: object) -> Row:
    if not isinstance(found, dict):
        return Row(number, problem=Problem("row", "must be an object"))
    return Row(number, hidden({_named(name): value for name, value in found.items()}))


def _named(name: str) -> str:
    return _ALIASES.get(name, storable(name))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _invalid(
            f"is no JSON: {_without_place(error.msg)} at line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError):
        raise _invalid("is no JSON that can be read") from None


def _without_place(message: str) -> str:
    """Some of the parser's messages lead up to the place that follows: "... starting at"."""
    return message.removesuffix(" at")


def _invalid(message: str, where: str = "file") -> Invalid:
    return Invalid([Problem(where, message)], subject="import")
