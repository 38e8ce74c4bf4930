"""What pydantic found wrong, in the words of the catalogue: the key's path and what it must be. Quotes no value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.catalog.expand import dotted
from app.catalog.toml_lines import Path
from app.errors import Problem

_FORMS = ("once", "weekly", "[key]")
_MESSAGES = {
    "missing": "is required",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "finite_number": "must be a finite number",
    "string_too_long": "must be at most {max_length} characters long",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
    "string_pattern_mismatch": "must match {pattern}",
    "timezone_aware": "must have an offset, such as 2026-03-01T22:00:00Z",
    "int_from_float": "must be a whole number",
    "multiple_of": "must be a multiple of {multiple_of}",
    "url_parsing": "must be an address such as http://127.0.0.1:8000/",
    "url_scheme": "must start with one of {expected_schemes}",
}
_WANTED = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a table",
    "model": "a table",
    "model_attributes": "a table",
    "datetime": "a moment, such as 2026-03-01T22:00:00Z",
    "time": "a time of day, such as 22:00",
    "path": "a path",
}


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """` (did you mean "interval"?)`, or nothing when no known word is near."""
    near = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""


def explain(error: ValidationError, prefix: Path = (), *, known: Iterable[str] = ()) -> list[Problem]:
    """One Problem, without its line, for each thing wrong below `prefix`; `known` are the keys allowed there."""
    words = frozenset(known)
    return [_problem(item, prefix, words) for item in error.errors(include_url=False)]


def _problem(item: ErrorDetails, prefix: Path, known: frozenset[str]) -> Problem:
    path = (*prefix, *(step for step in item["loc"] if step not in _FORMS))
    return Problem(dotted(path), _message(item, path[-1] if path else "", known))


def _message(item: ErrorDetails, last: str | int, known: frozenset[str]) -> str:
    kind = item["type"]
    context: dict[str, Any] = item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"is not known{did_you_mean(last, known)}"
    if kind in ("literal_error", "enum"):
        expected = str(context.get("expected", "")).replace("'", '"')
        return f"must be {expected}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", item["msg"]))
    if kind in _MESSAGES:
        return _MESSAGES[kind].format(**{name: _short(value) for name, value in context.items()})
    wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_date"))
    return f"must be {wanted}" if wanted else item["msg"].replace("Input should be", "must be")


def _short(value: Any) -> Any:
    return value if not isinstance(value, float) else f"{value:.0f}" if value.is_integer() else f"{value:g}"
