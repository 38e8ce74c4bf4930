"""Values as rows and the watchdog's file keep them: JSON, and the same again when they are read back. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from app import clock
from app.infra.plain import plain
from app.infra.scrub import scrub_text
from app.infra.text import storable

MOST_BYTES = 65_536
"""Of one step's detail."""
_SMALL = 1000


def as_kept(value: Any) -> Any:
    """`value` as JSON that Postgres takes: times as ISO 8601, no NUL, and null for numbers that JSON does not have."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return storable(value)
        case float():
            return value if math.isfinite(value) else None
        case datetime() if value.tzinfo is not None:
            return clock.iso(value)
        case date() | time():
            return value.isoformat()
        case Mapping():
            return {storable(str(key)): as_kept(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [as_kept(item) for item in value]
        case _:
            simple = plain(value)
            return storable(str(value)) if simple is value else as_kept(simple)


def one_line(text: str, *, limit: int) -> str:
    """A text from anywhere as it is kept and shown: one line without secrets, and nothing that a terminal obeys."""
    plain_text = "".join(char if char.isprintable() else " " for char in scrub_text(storable(text)))
    return storable(" ".join(plain_text.split()), limit=limit)


def bounded(detail: Mapping[str, Any]) -> dict[str, Any]:
    """A detail as it is kept; of one that is too large its small values, and the names of the others."""
    whole: dict[str, Any] = as_kept(detail)
    if len(json.dumps(whole)) <= MOST_BYTES:
        return whole
    small = {name: value for name, value in whole.items() if len(json.dumps(value)) <= _SMALL}
    return {**dict(list(small.items())[:50]), "left_out": sorted(set(whole) - set(small))[:50]}
