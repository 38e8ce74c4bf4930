"""Calls as the drain leaves them: rows and their roll-ups, without the way there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import insert

from app.costs.models import CallRow
from app.infra import ids
from app.infra.db import unit_of_work

_NAMES = {"agent": "agent", "user": "user_id", "department": "department"}
_ROLLUPS = """
INSERT INTO cost_{level}s (dimension, start_at, tenant, name, skill, calls, unpriced, failed, input_tokens,
    cached_tokens, cache_write_tokens, output_tokens, cost_micro_usd, latency_ms)
SELECT '{dimension}', date_trunc('{level}', at, 'UTC'), tenant, {name}, {skill}, count(*),
    count(*) FILTER (WHERE cost_micro_usd IS NULL), count(*) FILTER (WHERE outcome <> 'ok'), sum(input_tokens),
    sum(cached_tokens), sum(cache_write_tokens), sum(output_tokens), coalesce(sum(cost_micro_usd), 0),
    coalesce(sum(latency_ms), 0)
FROM cost_tracking GROUP BY 2, 3, 4, 5
"""


def call(at: datetime, **more: Any) -> dict[str, Any]:
    """One call's columns: a cent of acme's chat skill, unless told otherwise. `at` is cut to the millisecond."""
    identifier = ids.uuid7(at)
    return {
        "id": identifier,
        "at": ids.time_of(identifier),
        "tenant": "acme",
        "skill": "chat",
        "agent": "bot",
        "user_id": "ann",
        "department": "sales",
        "interaction": "",
        "provider": "openai",
        "model": "gpt-5",
        "input_tokens": 100,
        "cached_tokens": 40,
        "cache_write_tokens": 0,
        "output_tokens": 10,
        "cost_micro_usd": 10_000,
        "priced": "table",
        "latency_ms": 500,
        "outcome": "ok",
        "request_id": "",
        "tags": None,
    } | more


def spent(calls: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the calls, and make all roll-ups anew of what is kept."""
    kept = list(calls)
    with unit_of_work() as uow:
        if kept:
            uow.session.execute(insert(CallRow), kept)
        for level in ("hour", "day"):
            uow.execute(f"TRUNCATE cost_{level}s")
            uow.execute(_ROLLUPS.format(level=level, dimension="model", name="provider || '/' || model", skill="skill"))
            for dimension, column in _NAMES.items():
                uow.execute(_ROLLUPS.format(level=level, dimension=dimension, name=column, skill="''"))
    return kept
