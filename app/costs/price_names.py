"""Which model a name means: the rules of the price table. Pure.

A rule is JSON: `{"equals": TEXT}`, and so with `starts_with`, `ends_with`, `contains`, `regex`; `{"or": [RULE, ...]}`,
and so with `and`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any

LONGEST = 200
"""A longer name is no model's: nothing is tried on it."""

Rule = Mapping[str, Any]


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda name, text: name == text.lower(),
    "starts_with": lambda name, text: name.startswith(text.lower()),
    "ends_with": lambda name, text: name.endswith(text.lower()),
    "contains": lambda name, text: text.lower() in name,
    # Patterns come with the package only, never from people.
    "regex": lambda name, pattern: _compiled(pattern).search(name) is not None,
}


def matches(rule: Rule, name: str) -> bool:
    """Does the rule know the name, which is in lower case? A rule of an unknown kind knows none."""
    if len(name) > LONGEST:
        return False
    for kind, wanted in rule.items():
        if kind == "or":
            return any(matches(part, name) for part in wanted)
        if kind == "and":
            return all(matches(part, name) for part in wanted)
        if kind in _TESTS:
            return _TESTS[kind](name, wanted)
    return False


def spellings(model: str) -> tuple[str, ...]:
    """A model's name in lower case, and with dashes in its date where it has none (gpt-5-20250807)."""
    name = model.strip().lower()
    dashed = _COMPACT_DATE.sub(_dashed, name)
    return (name,) if dashed == name else (name, dashed)


_COMPACT_DATE = re.compile(r"-(20\d{2})(\d{2})(\d{2})(?=-|:|$)")


def _dashed(found: re.Match[str]) -> str:
    try:
        return f"-{date(*(int(part) for part in found.groups())).isoformat()}"
    except ValueError:
        return found[0]
