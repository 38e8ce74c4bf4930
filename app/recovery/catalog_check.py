"""What is wrong with playbooks beyond their shape: unknown actions, options they refuse, places that do not exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from app.alerts import templates
from app.catalog import Catalog, Playbook, PlaybookStep, did_you_mean, explain, steps_of
from app.catalog.recovery import STEP_FIELDS
from app.errors import Problem
from app.recovery.actions import actions
from app.recovery.core import Effect
from app.recovery.playbooks import KINDS

ROOTS = ("subject", "labels", "facts", "service")
"""What paths in playbooks begin with."""


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """Each with its place: `playbooks.service-restart.steps[0].do`."""
    found = [problem for playbook in catalog.playbooks.values() for problem in _of_playbook(playbook)]
    return [*found, *_containers(catalog)]


def _of_playbook(playbook: Playbook) -> Iterator[Problem]:
    here = f"playbooks.{playbook.name}"
    for pattern in playbook.on:
        if not any(fnmatchcase(kind, pattern) for kind in KINDS):
            yield Problem(f"{here}.on", f"{pattern} starts nothing: playbooks start by {', '.join(KINDS)}")
    for place, conditions in (("when", playbook.when), ("unless", playbook.unless)):
        for path in conditions:
            if path.partition(".")[0] not in ROOTS:
                yield Problem(f"{here}.{place}", f"{path} begins with none of {', '.join(ROOTS)}")
    yield from (Problem(f"{here}.advice", said) for said in templates.mistakes(playbook.advice, ROOTS))
    for path, step in steps_of(playbook):
        yield from _of_step(path, step)


def _of_step(path: str, step: PlaybookStep) -> Iterator[Problem]:
    action = actions().get(step.do)
    if action is None:
        yield Problem(f"{path}.do", f"is none of {', '.join(actions())}{did_you_mean(step.do, actions())}")
        return
    texts = list(_texts(path, step.options))
    for place, text in texts:
        yield from (Problem(place, said) for said in templates.mistakes(text, ROOTS))
    try:
        action.Options.model_validate(step.options)
    except ValidationError as error:
        base = _path(path)
        yield from explain(error, base, known={*action.Options.model_fields, *STEP_FIELDS})


def _path(path: str) -> tuple[str | int, ...]:
    """`playbooks.x.steps[0]` as a path of steps."""
    table, name, rest = path.split(".", 2)
    key, _, place = rest.partition("[")
    return table, name, key, int(place.rstrip("]"))


def _texts(path: str, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in options.items():
        match value:
            case str():
                yield f"{path}.{name}", value
            case dict():
                yield from _texts(f"{path}.{name}", value)
            case list():
                yield from ((f"{path}.{name}[{place}]", text) for place, text in enumerate(value) if type(text) is str)


def _containers(catalog: Catalog) -> Iterator[Problem]:
    """Containers that a playbook would restart and that it may not: better told now than in the night."""
    restarts = any(
        playbook.enabled and actions()[step.do].EFFECT is Effect.RESTART
        for playbook in catalog.playbooks.values()
        for step in playbook.all_steps
        if step.do in actions()
    )
    if not restarts or not catalog.recovery.enabled:
        return
    for service in catalog.services.values():
        name = service.container
        if name and service.enabled and service.recovery and not is_allowed(catalog, name):
            yield Problem(
                f"services.{service.name}.container",
                f"{name} is none that recovery.containers allows: add it there, or set recovery = false here",
            )


def is_allowed(catalog: Catalog, container: str) -> bool:
    """May this container be restarted?"""
    return any(fnmatchcase(container, pattern) for pattern in catalog.recovery.containers)
