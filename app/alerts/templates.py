"""Texts of the catalogue with places for values: `{subject} is down since {facts.since}`. Pure.

A place is a path of names with dots between them, looked up in nested mappings and nowhere else: no attribute, no call.
What is not there, and what is itself a mapping, is left out. `{{` and `}}` stand for braces. A place may end in
`:duration`, which shows a number of seconds as `4 min 10 s`. Braces that are none of these stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from app import clock
from app.infra.scrub import scrub_text
from app.infra.text import storable
from app.infra.words import duration

LONGEST = 10_000
"""Characters of a filled text."""

_LONGEST_VALUE = 2 * LONGEST
"""More than is kept in the end, so that the cut never runs through a secret before it was looked for."""

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<path>[A-Za-z_][\w-]*(?:\.[\w-]+)*)(?P<form>:[^{}]*)?\}")
_STORED_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d")
"""A time that was put into JSON by its `str`."""

Path = tuple[str, ...]
Values = Mapping[str, object]


def fill(text: str, values: Values) -> str:
    """`text` with its places filled, without secrets, at most LONGEST characters. A text without places is returned."""
    parts = _parts(text)
    if not any(isinstance(part, _Place) for part in parts):
        return storable("".join(map(str, parts)), limit=LONGEST)
    filled = "".join(part if isinstance(part, str) else part.of(values) for part in parts)
    return storable(scrub_text(filled), limit=LONGEST)


def paste(text: str, values: Values) -> str:
    """`text` with its places filled and nothing else changed: for values that go to programs rather than to people."""
    return "".join(part if isinstance(part, str) else part.of(values) for part in _parts(text))


def lookup(values: Values, path: str) -> object:
    """What stands at `labels.kind`; None where nothing does."""
    return _at(values, tuple(path.split(".")))


def mistakes(text: str, roots: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the text: places that begin with none of `roots`, and forms that do not exist."""
    for found in _PIECE.finditer(text):
        path, form = found["path"], found["form"]
        if path is None:
            continue
        if path.partition(".")[0] not in roots:
            yield f"{found.group()} begins with none of {', '.join(roots)}"
        if form is not None and form[1:] not in _FORMS:
            yield f"{found.group()} has another form than {', '.join(_FORMS)}"
    rest = _PIECE.sub("", text)
    if "{" in rest or "}" in rest:
        yield "has a brace that belongs to no place: write {{ and }} for braces"


class _Place:
    """A path, and how what is found there is shown."""

    __slots__ = ("_path", "_shown")

    def __init__(self, path: str, form: str | None) -> None:
        self._path: Path = tuple(path.split("."))
        self._shown = _FORMS.get((form or ":")[1:], _readable)

    def of(self, values: Values) -> str:
        """What stands there; nothing of a value that cannot be shown: a time before all times, a number too long."""
        try:
            return self._shown(_at(values, self._path))[:_LONGEST_VALUE]
        except (OverflowError, ValueError):
            return ""


@lru_cache(maxsize=2048)
def _parts(text: str) -> tuple[str | _Place, ...]:
    parts: list[str | _Place] = []
    end = 0
    for found in _PIECE.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        path = found["path"]
        parts.append(found.group()[0] if path is None else _Place(path, found["form"]))
    return (*parts, text[end:])


def _at(values: Values, path: Path) -> object:
    found: object = values
    for step in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _readable(value: object) -> str:
    """A value as people read it: numbers short, times as ISO 8601, lists with commas."""
    match value:
        case None | Mapping():
            return ""
        case bool():
            return str(value).lower()
        case float():
            return _number(value)
        case datetime():
            return clock.iso(value)
        case str():
            return _text(value)
        case list() | tuple():
            return ", ".join(filter(None, map(_readable, value)))
        case _:
            return str(value)


def _number(value: float) -> str:
    """Four digits that count; all of them before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _text(value: str) -> str:
    return clock.iso(datetime.fromisoformat(value)) if _is_stored_time(value) else value


def _is_stored_time(value: str) -> bool:
    if _STORED_TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _duration(value: object) -> str:
    return duration(value) if isinstance(value, int | float) and not isinstance(value, bool) else _readable(value)


_FORMS: dict[str, Callable[[object], str]] = {"duration": _duration}
