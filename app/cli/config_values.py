"""Settings and fields as texts: their variables, defaults and values, secrets hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.config import Settings, environment_names, settings
from app.infra.scrub import is_secret_name


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: the variables it is read from, and its texts."""

    names: tuple[str, ...]
    value: str
    default: str
    description: str


def environment_rows() -> Iterator[Variable]:
    """Every setting, in the order of the code."""
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory is not None else default_of(field)
        yield Variable(environment_names(name), _value(name), default, field.description or "")


def default_of(field: FieldInfo) -> str:
    """A field's default as it would be written; empty when there is none to write, "required" when it must be given."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    return "" if default is None or default is PydanticUndefined else _plain(default)


def _value(name: str) -> str:
    value = getattr(settings(), name)
    if value is None:
        return ""
    return "(set, hidden)" if isinstance(value, SecretStr) or is_secret_name(name) else _plain(value)


def _plain(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool | tuple | list | dict) else str(value)
