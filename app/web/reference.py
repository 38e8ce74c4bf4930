"""The API's reference at /docs, rendered from its own OpenAPI document: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of an operation's parameters."""

    name: str
    place: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, ready to be shown."""

    method: str
    path: str
    anchor: str
    summary: str
    description: str
    secured: bool
    parameters: tuple[Parameter, ...]
    body: str | None


def sections(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Operations by tag, in the order of the document."""
    found: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                tag = str((operation.get("tags") or ["other"])[0])
                found.setdefault(tag, []).append(_operation(method, path, operation))
    return found


def schemas(document: Mapping[str, Any]) -> dict[str, list[Parameter]]:
    """The members of every object among the components, by its name."""
    shown = {}
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        required = set(schema.get("required", ()))
        shown[name] = [
            Parameter(member, "", type_of(given), member in required, given.get("description", ""))
            for member, given in schema.get("properties", {}).items()
        ]
    return {name: members for name, members in shown.items() if members}


def _operation(method: str, path: str, given: Mapping[str, Any]) -> Operation:
    content = given.get("requestBody", {}).get("content", {}).get("application/json", {})
    return Operation(
        method=method.upper(),
        path=path,
        anchor=f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '') or 'root'}",
        summary=given.get("summary", ""),
        description=given.get("description", ""),
        secured=bool(given.get("security")),
        parameters=tuple(_parameter(item) for item in given.get("parameters", ())),
        body=type_of(content["schema"]) if "schema" in content else None,
    )


def _parameter(given: Mapping[str, Any]) -> Parameter:
    schema = given.get("schema", {})
    description = given.get("description", "") or schema.get("description", "")
    return Parameter(given["name"], given["in"], type_of(schema), bool(given.get("required")), description)


def type_of(schema: Mapping[str, Any]) -> str:
    """A schema in a few words: `integer, 1 to 200`, `list of JobRequest`, `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    for many in ("anyOf", "oneOf", "allOf"):
        if many in schema:
            return " or ".join(type_of(option) for option in schema[many])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    name = str(schema.get("type", "any"))
    if name == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if "minimum" in schema and "maximum" in schema:
        return f"{name}, {schema['minimum']} to {schema['maximum']}"
    return f"{name} ({schema['format']})" if "format" in schema else name
