"""What the files of `usage/` have in common: their contract, and how a count is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.costs.pricing import Tokens
from app.errors import Invalid, Problem

MOST_TOKENS = 10**9
"""More in one call is a mistake."""


class ShapeModule(Protocol):
    """A file of `usage/`."""

    SHAPE: str
    SUMMARY: str
    PROVIDERS: tuple[str, ...]
    """Words in the names of providers that speak so, in lower case."""

    def fits(self, usage: Mapping[str, Any]) -> bool:
        """Has the object this shape's keys?"""

    def tokens(self, usage: Mapping[str, Any]) -> Tokens:
        """What it says. Raises Invalid with every field that is wrong."""


class Counts:
    """Reads counts out of a usage object and collects what is wrong with them."""

    def __init__(self, usage: Mapping[str, Any]) -> None:
        self._usage = usage
        self._problems: list[Problem] = []

    def of(self, *path: str) -> int:
        """The count at this path; 0 where it is missing or null."""
        found: Any = self._usage
        for key in path:
            if found is None:
                return 0
            if not isinstance(found, dict):
                self._wrong(path[: path.index(key)], "must be an object")
                return 0
            found = found.get(key)
        if found is None:
            return 0
        if type(found) is not int or not 0 <= found <= MOST_TOKENS:
            self._wrong(path, f"must be a whole number from 0 to {MOST_TOKENS}")
            return 0
        return found

    def needed(self, key: str) -> int:
        """The count of a key that must be there."""
        if self._usage.get(key) is None:
            self._wrong((key,), "is missing")
        return self.of(key)

    def parts(self, part: int, whole: int, *path: str) -> None:
        """What is part of something cannot be more than it."""
        if part > whole and not self._problems:
            self._wrong(path, f"is more than all input tokens ({whole})")

    def done(self, tokens: Tokens) -> Tokens:
        """The tokens, when nothing was wrong. Raises Invalid."""
        if self._problems:
            raise Invalid(self._problems, subject="call")
        return tokens

    def _wrong(self, path: tuple[str, ...], message: str) -> None:
        problem = Problem(".".join(("usage", *path)), message)
        if problem not in self._problems:
            self._problems.append(problem)


def mapping(given: object, field: str) -> dict[str, Any]:
    """The JSON object. Raises Invalid."""
    if not isinstance(given, dict):
        raise Invalid([Problem(field, "must be an object")], subject="call")
    return given
