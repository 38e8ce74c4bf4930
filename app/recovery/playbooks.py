"""From a service in trouble to the runs that are to repair it: which playbooks match, and what their steps become.

Pure but for the registry of actions; the caller brings the catalogue and how the service stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from app.alerts import rules, templates
from app.catalog import Catalog, Playbook, PlaybookStep, Service
from app.health.announcing import labels_of
from app.health.core import State
from app.infra import ids
from app.infra.logging import get_logger
from app.recovery.acting import ActionModule, Options
from app.recovery.actions import actions
from app.recovery.core import Effect, Run, Runner, StepRun
from app.recovery.kept import as_kept, one_line

SIGNAL = "signal"
"""Who starts a run that starts by itself."""

KINDS = ("health.down", "health.degraded", "health.warning")
"""The kinds of signals that say how a service stands: what playbooks start by."""

_LONGEST_SAID = 300

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a service stands, by its last stored result. `announced`: the state that people were last told of.

    `runner`: who watches it, and therefore repairs it.
    """

    service: str
    kind: str
    state: State
    announced: State
    since: datetime | None = None
    severity: str = "error"
    essential: bool = False
    readings: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, str] | None = None
    degraded: str | None = None
    incident_id: UUID | None = None
    runner: Runner = Runner.ENGINE

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of signals that say what is so now. A service that flaps counts as what people were told of it."""
        warns = ("health.warning",) if self.levels else ()
        if self.state is State.DOWN:
            return ("health.down",) if self.announced is State.DOWN else ()
        return ("health.degraded", *warns) if self.state is State.DEGRADED else warns


def values_of(standing: Standing, service: Service) -> dict[str, Any]:
    """What conditions and texts of playbooks may speak of: subject, labels, facts, service."""
    return {
        "subject": standing.service,
        "labels": labels_of(
            service=standing.service,
            kind=standing.kind,
            severity=standing.severity,
            essential=standing.essential,
            expected=False,
        ),
        "facts": {
            "state": str(standing.state),
            "since": standing.since.isoformat() if standing.since else None,
            "readings": dict(standing.readings),
            "levels": dict(standing.levels),
            "error": dict(standing.error) if standing.error else None,
            "degraded": standing.degraded,
        },
        "service": {
            "name": service.name,
            "kind": service.kind,
            "container": service.container or "",
            "team": service.team or "",
            "severity": service.severity,
        },
    }


def matching(catalog: Catalog, standing: Standing) -> list[Playbook]:
    """The playbooks that start by themselves for a service that stands so, by their names."""
    service = catalog.services.get(standing.service)
    if service is None or not service.enabled or not service.recovery or not catalog.recovery.enabled:
        return []
    return [
        playbook
        for _, playbook in sorted(catalog.playbooks.items())
        if playbook.enabled and is_trouble(playbook, standing, service)
    ]


def is_dry(playbook: Playbook, catalog: Catalog) -> bool:
    """Does it only say what it would do?"""
    return playbook.dry_run or catalog.recovery.dry_run


def is_trouble(playbook: Playbook, standing: Standing, service: Service) -> bool:
    """Is this the trouble that the playbook is for?"""
    kinds = standing.kinds
    return any(fnmatchcase(kind, pattern) for pattern in playbook.on for kind in kinds) and rules.applies(
        playbook.when, playbook.unless, values_of(standing, service)
    )


def is_over(playbook: Playbook, standing: Standing, service: Service) -> bool | None:
    """Is the trouble over; None when the state of the service does not tell.

    A fall is over when the service is no longer down; anything else when it is neither down nor as it was.
    """
    if not any(pattern.startswith("health.") for pattern in playbook.on):
        return None
    if standing.state in (State.DOWN, State.UNKNOWN):
        return False
    if any(fnmatchcase("health.down", pattern) for pattern in playbook.on) and len(playbook.on) == 1:
        return True
    return not is_trouble(playbook, standing, service)


def plan(
    playbook: Playbook, standing: Standing, catalog: Catalog, now: datetime, *, started_by: str = SIGNAL,
    dry_run: bool = False,
) -> Run:  # fmt: skip
    """The run that would repair the service, with its steps in words. Nothing is done yet."""
    service = catalog.services[standing.service]
    values = as_kept(values_of(standing, service))
    count = len(playbook.steps)
    steps = tuple(
        _step_run(place, step, service, values, last=place >= count) for place, step in enumerate(playbook.all_steps)
    )
    if steps[0].after_seconds:
        steps = (replace(steps[0], not_before=now + timedelta(seconds=steps[0].after_seconds)), *steps[1:])
    return Run(
        id=ids.uuid7(now),
        playbook=playbook.name,
        service=standing.service,
        kind=service.kind,
        severity=service.severity,
        essential=service.essential,
        runner=standing.runner,
        started_by=started_by,
        created_at=now,
        steps=steps,
        dry_run=dry_run or is_dry(playbook, catalog),
        incident_id=standing.incident_id,
        since=standing.since,
        values=values,
        advice=templates.fill(playbook.advice, values),
        due_at=now,
    )


def _step_run(place: int, step: PlaybookStep, service: Service, values: Mapping[str, Any], *, last: bool) -> StepRun:
    action = actions().get(step.do)
    said = step.do.replace("_", " ")
    try:
        said = action.says(options_of(step, values), service) if action is not None else said
    except ValidationError:
        pass
    except Exception:
        log.exception("an action cannot say what it would do", action=step.do)
    return StepRun(
        place=place,
        action=step.do,
        effect=action.EFFECT if action is not None else Effect.CHANGE,
        says=one_line(step.masked(said), limit=_LONGEST_SAID),
        options=shown(step),
        after_seconds=step.after,
        escalates=step.on_failure == "escalate",
        last=last,
    )


def shown(step: PlaybookStep) -> dict[str, Any]:
    """Its own options as they were written, as JSON has them."""
    options: dict[str, Any] = as_kept(step.shown())
    return options


def options_of(step: PlaybookStep, values: Mapping[str, Any]) -> Options:
    """The step's options with their places filled. Raises ValidationError when the action refuses them."""
    return actions()[step.do].Options.model_validate(_pasted(step.options, values))


def live(catalog: Catalog, run: Run, step: StepRun) -> tuple[ActionModule, Options] | str:
    """The action of a step and its options by the catalogue in force, or why it cannot be taken any more.

    Only what the run's plan says is done: a playbook that was changed meanwhile is not the one that was begun.
    """
    written = _written(catalog, run, step)
    if written is None or written.do != step.action or shown(written) != dict(step.options):
        return f"the playbook {run.playbook} was changed or removed after this run had begun"
    action = actions().get(written.do)
    if action is None:
        return f"there is no action {written.do}"
    try:
        return action, options_of(written, run.values)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
        return f"its options are not valid: {fields}"


def masked(catalog: Catalog, run: Run, step: StepRun, value: Any) -> Any:
    """What comes of a step, or is said of it, without what its options have from the environment."""
    written = _written(catalog, run, step)
    return value if written is None else written.masked(value)


def _written(catalog: Catalog, run: Run, step: StepRun) -> PlaybookStep | None:
    playbook = catalog.playbooks.get(run.playbook)
    return playbook.all_steps[step.place] if playbook and step.place < len(playbook.all_steps) else None


def _pasted(value: Any, values: Mapping[str, Any]) -> Any:
    match value:
        case str():
            return templates.paste(value, values)
        case dict():
            return {key: _pasted(inner, values) for key, inner in value.items()}
        case list() | tuple():
            return [_pasted(inner, values) for inner in value]
        case _:
            return value
