"""LLM calls as producers send them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.costs.calls import Call, parse_items
from app.infra.ids import uuid7


def body(at: datetime | None = None, **more: Any) -> dict[str, Any]:
    """One call; a field that is None is left out."""
    given = {
        "id": str(uuid7(at)),
        "tenant": "acme",
        "skill": "reply",
        "provider": "anthropic",
        "model": "claude-opus-4-6",
        "input_tokens": 1000,
        "output_tokens": 200,
        **more,
    }
    return {name: value for name, value in given.items() if value is not None}


def batch(calls: Sequence[object]) -> bytes:
    return json.dumps({"calls": calls}).encode()


def call(at: datetime | None = None, **more: Any) -> Call:
    """One that was accepted."""
    [(_, found)] = parse_items([body(at, **more)]).good
    return found
