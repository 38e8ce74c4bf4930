"""The catalogue's tables about repairing: [recovery], what guards every repair, and [playbooks.NAME], what is done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from app.catalog.alerting import Table, Texts, Wanted
from app.catalog.explain import explain
from app.catalog.toml_lines import Path
from app.catalog.values import NAME, Count, Seconds
from app.errors import Problem


class Recovery(Table):
    """[recovery]: the guards of every repair."""

    enabled: bool = Field(default=True, description="false: no playbook starts by itself")
    dry_run: bool = Field(default=False, description="true: what would be done is said and recorded, and not done")
    containers: Texts = Field(
        default=("claw-*",), description="names of containers that may be restarted; * stands for any characters"
    )
    restarts_per_service: Count = Field(default=3, ge=0, le=100, description="restarts of one service in an hour")
    restarts_in_all: Count = Field(default=10, ge=0, le=1000, description="restarts of all services in an hour")
    critical_at_once: Count = Field(
        default=1, ge=1, le=100, description="critical services that may be under repair at the same time"
    )
    steps_at_once: Count = Field(
        default=2, ge=1, le=100, description="steps that workers take at the same time; alerts need workers, too"
    )
    cooldown: Seconds = Field(
        default=60, ge=0, le=86_400, description="seconds from the end of a run to the next one of it for the service"
    )
    patience: Seconds = Field(
        default=240, ge=0, le=86_400, description="longest wait, in seconds, for what only postpones a step"
    )
    cache_prefixes: Texts = Field(
        default=("cache:",), description="beginnings of the keys that may be evicted: the cache, and nothing else"
    )


class PlaybookStep(Table):
    """One step: `{do = "restart_container", after = 0, container = "{service.container}"}`."""

    do: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="name of an action")
    after: Seconds = Field(default=0, ge=0, le=86_400, description="seconds to wait since the step before")
    on_failure: Literal["escalate", "go_on"] = Field(default="escalate", description="what a failure of it means")
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="every other key: the action's own")
    references: dict[Path, str] = Field(default_factory=dict, repr=False, exclude=True)

    def shown(self) -> dict[str, Any]:
        """Its own options as they were written, with `${NAME}` in place of what came from the environment."""
        return dict(_as_written(self.options, self.references))

    def masked(self, value: Any) -> Any:
        """A text, or anything made of texts, with `${NAME}` again wherever something from the environment stands."""
        secrets = {
            secret: name
            for path, written in self.references.items()
            for secret, name in _secrets(written, _at(self.options, path))
            if len(secret) >= _SHORTEST_SECRET
        }
        return _masked(value, sorted(secrets.items(), key=lambda one: -len(one[0]))) if secrets else value


_SHORTEST_SECRET = 4
"""Shorter values hide nothing, and would be found in the middle of ordinary words."""
_REFERENCE = re.compile(r"(?<!\$)(\$\{[^}]*\})")

STEP_FIELDS = frozenset(PlaybookStep.model_fields) - {"options", "references"}


class Playbook(Table):
    """[playbooks.NAME]: what is done about one kind of trouble of one service.

    It starts by itself while a service is as one of the kinds of signals in `on` says and the conditions hold. Paths of
    conditions and places in texts begin with subject, labels, facts or service.
    """

    name: str = Field(pattern=NAME, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    enabled: bool = Field(default=True, description="false: it starts only when a person starts it")
    dry_run: bool = Field(default=False, description="true: this one only says what it would do")
    on: Texts = Field(default=(), description="kinds of signals that start it; empty: only people do")
    when: dict[str, Wanted] = Field(default_factory=dict, description="paths and what must be there")
    unless: dict[str, Wanted] = Field(default_factory=dict, description="paths; any one that matches prevents it")
    steps: tuple[PlaybookStep, ...] = Field(min_length=1, max_length=50, description="what is done, in this order")
    finally_: tuple[PlaybookStep, ...] = Field(
        default=(), max_length=10, alias="finally", description="what is done at the end, whatever came of it"
    )
    cooldown: Seconds | None = Field(default=None, ge=0, le=86_400, description="instead of [recovery]'s")
    patience: Seconds | None = Field(default=None, ge=0, le=86_400, description="instead of [recovery]'s")
    advice: str = Field(default="", max_length=2000, description="what a person should do when it did not help")

    @property
    def all_steps(self) -> tuple[PlaybookStep, ...]:
        """Those that may repair, then those of the end."""
        return (*self.steps, *self.finally_)


KEYS = frozenset(
    field.alias or key for model in (Recovery, Playbook, PlaybookStep) for key, field in model.model_fields.items()
)
TABLES = ("recovery", "playbooks")


def read_recovery(tree: Mapping[str, Any], problems: list[Problem]) -> Recovery:
    """[recovery]; what is wrong is added to `problems`."""
    try:
        return Recovery.model_validate(tree.get("recovery", {}))
    except ValidationError as error:
        problems += explain(error, ("recovery",), known=KEYS)
        return Recovery()


def read_playbooks(
    tree: Mapping[str, Any], references: Mapping[Path, str], problems: list[Problem]
) -> dict[str, Playbook]:
    """Every [playbooks.NAME] that can be read; what is wrong with the others is added to `problems`."""
    table = tree.get("playbooks", {})
    if not isinstance(table, dict):
        problems.append(Problem("playbooks", "must be a table of tables, [playbooks.NAME] each"))
        return {}
    found: dict[str, Playbook] = {}
    for name, given in table.items():
        if not isinstance(given, dict):
            problems.append(Problem(f"playbooks.{name}", "must be a table"))
            continue
        mine = {path[2:]: text for path, text in references.items() if path[:2] == ("playbooks", name)}
        try:
            found[name] = Playbook.model_validate({**_with_steps(given, mine), "name": name})
        except ValidationError as error:
            problems += explain(error, ("playbooks", name), known=KEYS)
    return found


def _with_steps(given: Mapping[str, Any], references: Mapping[Path, str]) -> dict[str, Any]:
    """The table with each step's own options apart, and where its texts came from the environment."""
    values = dict(given)
    for key in ("steps", "finally"):
        steps = given.get(key)
        if isinstance(steps, list):
            values[key] = [_step(step, key, place, references) for place, step in enumerate(steps)]
    return values


def _step(step: object, key: str, place: int, references: Mapping[Path, str]) -> object:
    if not isinstance(step, dict):
        return step
    common = {name: value for name, value in step.items() if name in STEP_FIELDS}
    options = {name: value for name, value in step.items() if name not in STEP_FIELDS}
    mine = {path[2:]: text for path, text in references.items() if path[:2] == (key, place) and path[2] in options}
    return {**common, "options": options, "references": mine}


def _as_written(value: Any, references: Mapping[Path, str], path: Path = ()) -> Any:
    if path in references:
        return references[path]
    match value:
        case dict():
            return {name: _as_written(inner, references, (*path, name)) for name, inner in value.items()}
        case list() | tuple():
            return [_as_written(inner, references, (*path, place)) for place, inner in enumerate(value)]
        case _:
            return value


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _secrets(written: str, filled: object) -> Iterator[tuple[str, str]]:
    """What each reference of a text became, with the reference."""
    parts = _REFERENCE.split(written)
    pattern = "".join("(.*)" if place % 2 else re.escape(part.replace("$${", "${")) for place, part in enumerate(parts))
    found = re.fullmatch(pattern, filled, re.DOTALL) if isinstance(filled, str) else None
    return zip(found.groups(), parts[1::2], strict=True) if found else iter(())


def _masked(value: Any, secrets: Sequence[tuple[str, str]]) -> Any:
    match value:
        case str():
            for secret, name in secrets:
                value = value.replace(secret, name)
            return value
        case Mapping():
            return {_masked(name, secrets): _masked(inner, secrets) for name, inner in value.items()}
        case list() | tuple():
            return [_masked(inner, secrets) for inner in value]
        case _:
            return value


def steps_of(playbook: Playbook) -> Iterator[tuple[str, PlaybookStep]]:
    """Each step with its place in the file: `playbooks.NAME.steps[0]`."""
    for key, steps in (("steps", playbook.steps), ("finally", playbook.finally_)):
        for place, step in enumerate(steps):
            yield f"playbooks.{playbook.name}.{key}[{place}]", step
