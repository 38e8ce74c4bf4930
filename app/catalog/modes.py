"""The catalogue's [modes.NAME] tables: which operations fall back or wait while a service is down."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

from app.catalog.alerting import Table, Texts
from app.catalog.explain import did_you_mean, explain
from app.catalog.values import NAME, Seconds
from app.errors import Problem

TABLE = "modes"
OPERATION = r"^[a-z][a-z0-9_.-]{0,99}$"
"""What operations may be called: the words are those of whoever carries them out."""

MOST_OPERATIONS = 100


class Replay(Table):
    """A job that is submitted when a mode ends: `{task = "tasks.health.check_service", kwargs = {service = "x"}}`."""

    task: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,199}$", description="name of a task")
    kwargs: dict[str, Any] = Field(default_factory=dict, repr=False, description="its arguments")


class Mode(Table):
    """[modes.NAME]: what operations do while something they need is down."""

    name: str = Field(pattern=NAME, exclude=True)
    description: str = Field(default="", max_length=500, description="what it means, for people and as the reason")
    while_down: Texts = Field(
        min_length=1, max_length=100, description="services; the mode is on while any of them is down"
    )
    fall_back: Texts = Field(default=(), description="operations that go on without what is down")
    wait: Texts = Field(default=(), description="operations that are deferred until it is back")
    replay: tuple[Replay, ...] = Field(default=(), max_length=50, description="jobs submitted once when the mode ends")
    delay_seconds: Seconds = Field(
        default=0, ge=0, le=86_400, description="seconds a service must have been down before the mode is on"
    )


_KEYS = frozenset({*Mode.model_fields, *Replay.model_fields})


def read(tree: Mapping[str, Any], problems: list[Problem]) -> dict[str, Mode]:
    """Every [modes.NAME] of `tree` that can be read; what is wrong is added to `problems`."""
    written = tree.get(TABLE, {})
    if not isinstance(written, dict):
        problems.append(Problem(TABLE, f"must be a table of tables, [{TABLE}.NAME] each"))
        return {}
    services = tree.get("services")
    known = frozenset(services if isinstance(services, dict) else ())
    found: dict[str, Mode] = {}
    for name, given in written.items():
        if not isinstance(given, dict):
            problems.append(Problem(f"{TABLE}.{name}", "must be a table"))
            continue
        try:
            found[name] = Mode.model_validate({**given, "name": name})
        except ValidationError as error:
            problems += explain(error, (TABLE, name), known=_KEYS)
            continue
        problems += _dangling(found[name], known)
        problems += operation_problems(found[name].fall_back, found[name].wait, at=f"{TABLE}.{name}")
    return found


def operation_problems(fall_back: Sequence[str], wait: Sequence[str], *, at: str = "") -> list[Problem]:
    """What is wrong with the two lists of operations below `at`, each with its place."""
    return [
        Problem(".".join(filter(None, (at, place))), message) for place, message in _wrong_operations(fall_back, wait)
    ]


def _wrong_operations(fall_back: Sequence[str], wait: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not fall_back and not wait:
        yield "", "names no operation: write fall_back, wait or both"
    for key, names in (("fall_back", fall_back), ("wait", wait)):
        if len(names) > MOST_OPERATIONS:
            yield key, f"must have at most {MOST_OPERATIONS} items"
        for place, name in enumerate(names):
            if not re.fullmatch(OPERATION, name):
                yield f"{key}[{place}]", f"must match {OPERATION}"
            elif name in names[:place]:
                yield f"{key}[{place}]", "is there twice"
            elif key == "wait" and name in fall_back:
                yield f"{key}[{place}]", "falls back already: an operation does the one or the other"


def _dangling(mode: Mode, services: frozenset[str]) -> Iterator[Problem]:
    for place, name in enumerate(mode.while_down):
        path = f"{TABLE}.{mode.name}.while_down[{place}]"
        if name not in services:
            yield Problem(path, f'there is no service "{name}"{did_you_mean(name, services)}')
        elif name in mode.while_down[:place]:
            yield Problem(path, "is there twice")
