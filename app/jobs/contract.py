"""What other services may ask for: the published tasks, as data for the API and as text for the documentation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.jobs.core import JobState, Priority
from app.jobs.spec import TaskSpec

FORMAT = 1
"""Version of this document's own shape."""

INTAKE_TASK = "tasks.intake.submit"
INTAKE_QUEUE = "intake"
"""The Celery task, and its queue, through which plain producers enqueue: its message's id keys the job."""


def document(specs: Iterable[TaskSpec]) -> dict[str, Any]:
    """The contract: every published task with the JSON Schema of its arguments."""
    return {
        "format": FORMAT,
        "intake": {"task": INTAKE_TASK, "queue": INTAKE_QUEUE},
        "http": {"submit": "POST /api/v1/jobs", "batch": "POST /api/v1/jobs/batch", "follow": "GET /api/v1/jobs/{id}"},
        "states": [str(state) for state in JobState],
        "priorities": [priority.name.lower() for priority in Priority],
        "tasks": [_task(spec) for spec in specs],
    }


def _task(spec: TaskSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": spec.version,
        "summary": spec.summary,
        "queue": spec.queue,
        "allowed_queues": list(spec.allowed_queues),
        "max_attempts": spec.max_attempts,
        "kwargs": spec.schema(),
    }


def markdown(contract: Mapping[str, Any]) -> str:
    """The contract's tasks as a section of docs/enqueueing.md."""
    lines: list[str] = []
    for task in contract["tasks"]:
        lines += [f"### `{task['name']}` (version {task['version']})", ""]
        if task["summary"]:
            lines += [task["summary"], ""]
        queues = ", ".join(f"`{name}`" for name in task["allowed_queues"] if name != task["queue"])
        also = f" (may also be asked for on {queues})" if queues else ""
        tries = f"{task['max_attempts']} tries" if task["max_attempts"] != 1 else "1 try"
        lines += [f"Queue `{task['queue']}`{also}; {tries}.", ""]
        lines += _arguments(task["kwargs"])
    return "\n".join(lines).rstrip() + "\n"


def _arguments(schema: Mapping[str, Any]) -> list[str]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    if not properties:
        return ["Takes no arguments.", ""]
    required = set(schema.get("required", ()))
    rows = ["| Argument | Type | Needed | Default |", "|---|---|---|---|"]
    for name, given in properties.items():
        default = f"`{_literal(given['default'])}`" if "default" in given else ""
        rows.append(f"| `{name}` | {_type(given)} | {'yes' if name in required else 'no'} | {default} |")
    return [*rows, ""]


def _literal(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    name = str(schema.get("type", "anything"))
    if name == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "format" in schema:
        return f"{name} ({schema['format']})"
    return name
