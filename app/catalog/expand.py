"""References to the environment in texts: `${NAME}` and `${NAME:-default}`; `$${` stands for `${` itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.catalog.toml_lines import Path
from app.errors import Problem

Lookup = Callable[[str], str | None]

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{[^}]*\}?")


@dataclass(slots=True)
class Expanded:
    """A tree with its references replaced; where they stood, as written; and what could not be replaced."""

    tree: Any
    references: dict[Path, str] = field(default_factory=dict)
    problems: list[tuple[Path, str]] = field(default_factory=list)


def expand(tree: Any, lookup: Lookup) -> Expanded:
    """Replace every reference in `tree`'s texts; `lookup` tells a variable's value, or None where it is not set."""
    found = Expanded(None)
    found.tree = _walk(tree, (), lookup, found)
    return found


def dotted(path: Path) -> str:
    """`services.web.maintenance[0].from`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def as_problem(path: Path, message: str, line: int | None) -> Problem:
    """One thing wrong at `path`."""
    return Problem(dotted(path), message, line)


def _walk(value: Any, path: Path, lookup: Lookup, found: Expanded) -> Any:
    match value:
        case dict():
            return {key: _walk(inner, (*path, key), lookup, found) for key, inner in value.items()}
        case list():
            return [_walk(inner, (*path, place), lookup, found) for place, inner in enumerate(value)]
        case str() if "${" in value:
            return _text(value, path, lookup, found)
        case _:
            return value


def _text(text: str, path: Path, lookup: Lookup, found: Expanded) -> str:
    def replace(match: re.Match[str]) -> str:
        if match.group() == "$${":
            return "${"
        name, default = match.group("name"), match.group("default")
        if name is None:
            found.problems.append((path, f"{match.group()} is no reference: write ${{NAME}} or ${{NAME:-default}}"))
            return ""
        found.references[path] = text
        value = lookup(name)
        if not value and default is not None:
            return default
        if value is None:
            found.problems.append((path, f"the environment variable {name} is not set"))
        return value or ""

    return _REFERENCE.sub(replace, text)
