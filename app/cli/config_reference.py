"""The reference of docs/configuration.md, made from the code: every variable, every key, every kind of service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from app.catalog import COMMON_FIELDS, Docker, HttpLimit, Limits, OneOff, Operation, RateLimit, Service, Weekly
from app.cli.config_values import default_of, environment_rows
from app.health.probes import kinds
from app.health.probing import ProbeModule


def markdown() -> str:
    """The generated part of the page."""
    parts = [
        "## Environment\n",
        _table(("Variable", "Default", "Meaning"), _environment()),
        "## Keys of every service\n",
        _table(_KEYS, (row for row in _fields(Service) if row[0].strip("`") in COMMON_FIELDS)),
        "### A maintenance window, one-off\n",
        _table(_KEYS, _fields(OneOff)),
        "### A maintenance window, weekly\n",
        _table(_KEYS, _fields(Weekly)),
        "### A threshold\n",
        _table(_KEYS, _fields(Limits)),
        "## The Docker engine, `[docker]`\n",
        _table(_KEYS, _fields(Docker)),
        "## A limit, `[limits.NAME]`\n",
        _table(_KEYS, _fields(RateLimit)),
        "## An operation, `[operations.NAME]`\n",
        _table(_KEYS, _fields(Operation)),
        "## A limit of our own API, `[http.NAME]`\n",
        _table(_KEYS, _fields(HttpLimit)),
        "## Kinds of service\n",
        *(part for name in sorted(kinds()) for part in _kind(kinds()[name])),
    ]
    return "\n".join(parts).rstrip() + "\n"


_KEYS = ("Key", "Value", "Default", "Meaning")


def _environment() -> Iterator[tuple[str, ...]]:
    for row in environment_rows():
        yield f"`{row.names[0]}`", _code(row.default), row.description


def _kind(probe: ProbeModule) -> Iterator[str]:
    yield f"### `{probe.KIND}`\n"
    yield f"{probe.SUMMARY[:1].upper()}{probe.SUMMARY[1:]}.\n"
    defaults = probe.DEFAULTS
    yield (
        f"Default interval {defaults.interval_seconds:g} s, time-out {defaults.timeout_seconds:g} s, "
        f"watched by the {defaults.watched_by}.\n"
    )
    if probe.Options.model_fields:
        yield _table(("Option", "Value", "Default", "Meaning"), _fields(probe.Options))
    if probe.READINGS:
        yield _table(("Reading", "Warning", "Degraded", "Meaning"), _readings(probe))


def _readings(probe: ProbeModule) -> Iterator[tuple[str, ...]]:
    for name, meaning in probe.READINGS.items():
        limit = probe.THRESHOLDS.get(name)
        sign = "at or under " if limit and limit.below else "from "
        levels = (limit.warning, limit.degraded) if limit else (None, None)
        yield f"`{name}`", *("" if level is None else f"{sign}{level:g}" for level in levels), meaning


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    described = model.model_json_schema(by_alias=True)["properties"]
    for name, field in model.model_fields.items():
        if field.exclude:  # the table's own name
            continue
        key = field.alias or name
        yield f"`{key}`", _kind_of_value(described.get(key, {})), _code(default_of(field)), field.description or ""


def _kind_of_value(described: Mapping[str, Any]) -> str:
    """A JSON Schema type in an operator's word."""
    if "$ref" in described:
        return "table"
    if "enum" in described:
        return " or ".join(f"`{value}`" for value in described["enum"])
    if "const" in described:
        return f"`{described['const']}`"
    for choices in ("anyOf", "oneOf"):
        if choices in described:
            words = [_kind_of_value(choice) for choice in described[choices] if choice.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
    kind, form = str(described.get("type")), described.get("format")
    return _WORDS.get((kind, form)) or _WORDS.get((kind, None), "")


_WORDS: dict[tuple[str, str | None], str] = {
    ("string", None): "text",
    ("string", "date-time"): "moment",
    ("string", "time"): "time of day",
    ("string", "path"): "path",
    ("string", "uri"): "address",
    ("string", "password"): "text, hidden",
    ("integer", None): "whole number",
    ("number", None): "number",
    ("boolean", None): "true or false",
    ("array", None): "list",
    ("object", None): "table",
}


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines) + "\n"


def _code(value: str) -> str:
    return f"`{value}`" if value and value != "required" else value
