"""Values as they leave the product in JSON: times in UTC with a Z, durations in seconds, ids and states as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from app import clock


def plain(value: Any) -> Any:
    """`value` made of dicts, lists, text, numbers, booleans and None only; dataclasses become dicts."""
    match value:
        case datetime():
            return clock.iso(value)
        case timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
        case Enum():
            return value.value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case _ if is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value
