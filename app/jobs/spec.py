"""What each kind of job is: its name, queue, arguments, number of tries, and whether others may ask for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from app.errors import Invalid, Misconfigured, NotFound, Problem

RESERVED = frozenset(
    {"uow", "task", "not_before", "key", "expires_at", "priority", "queue", "callback", "max_attempts", "caller"}
)
"""Words of `submit` itself: no task may name an argument so."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """The contract of one task. `arguments` is a model made of the task's signature: unknown names are refused."""

    name: str
    queue: str
    arguments: type[BaseModel]
    max_attempts: int
    published: bool = False
    version: int = 1
    summary: str = ""
    allowed_queues: tuple[str, ...] = ()

    def validate(self, kwargs: Mapping[str, Any], *, at: str = "kwargs") -> dict[str, Any]:
        """The arguments as JSON-ready values. Raises Invalid that names each wrong one as `at.name`."""
        try:
            model = self.arguments.model_validate(kwargs)
        except ValidationError as error:
            raise Invalid(problems_of(error, at=at), subject=self.name) from None
        return model.model_dump(mode="json")

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return self.arguments.model_json_schema()


def problems_of(error: ValidationError, *, at: str = "") -> list[Problem]:
    """Pydantic's findings as ours: a dotted path and a sentence, never the value."""
    found = []
    for item in error.errors(include_input=False, include_url=False):
        path = ".".join(str(part) for part in (*((at,) if at else ()), *item["loc"]))
        found.append(Problem(path or "body", item["msg"]))
    return found


_specs: dict[str, TaskSpec] = {}


def register(spec: TaskSpec) -> None:
    """Add a task. Raises Misconfigured when another one has its name."""
    if spec.name in _specs:
        raise Misconfigured(f"two tasks are named {spec.name}")
    _specs[spec.name] = spec


def get(name: str) -> TaskSpec:
    """The task of that name. Raises NotFound."""
    try:
        return _specs[name]
    except KeyError:
        raise NotFound(f"no task is named {name}") from None


def every() -> list[TaskSpec]:
    """All tasks by name."""
    return [_specs[name] for name in sorted(_specs)]


def published() -> list[TaskSpec]:
    """The tasks that other services may name, by name."""
    return [spec for spec in every() if spec.published]


def arguments_of(name: str, body: Callable[..., Any]) -> type[BaseModel]:
    """A strict model of a task body's keyword-only parameters. Raises Misconfigured for what cannot be one."""
    fields: dict[str, Any] = {}
    hints = inspect.get_annotations(body, eval_str=True)
    for parameter in list(inspect.signature(body).parameters.values())[1:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise Misconfigured(f"{name}: {parameter.name} must be keyword-only")
        if parameter.name in RESERVED:
            raise Misconfigured(f"{name}: {parameter.name} is a word of submit() itself")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    model: type[BaseModel] = create_model(_model_name(name), __config__=ConfigDict(extra="forbid"), **fields)
    return model


def _model_name(task: str) -> str:
    return "".join(part.title() for part in task.replace(".", "_").split("_")) + "Arguments"
