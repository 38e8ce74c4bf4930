"""Calls written down through the stream or past it, and what is in the tables then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from app.costs import draining, packing, rollups
from app.costs.calls import Call
from app.infra import redis
from app.limits import keys, spending
from app.limits.spending import Spent, Who
from tests.fixtures.ledger import Ledger

Sums = dict[tuple[Any, ...], tuple[int, ...]]
"""Roll-ups: by dimension, start, tenant, name and skill."""


def added_up(calls: Iterable[Call], hours: bool = True) -> Sums:
    """The roll-ups of calls, in plain Python: each id once."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for call in {call.id: call for call in calls}.values():
        at = datetime.fromtimestamp(call.at, UTC).replace(minute=0, second=0, microsecond=0)
        start = at if hours else at.replace(hour=0)
        figures = (
            1,
            call.cost_micro_usd is None,
            call.outcome != "ok",
            *call[Call._fields.index("input_tokens") :][:4],
            call.cost_micro_usd or 0,
            call.latency_ms or 0,
        )
        for dimension, name, skill in (
            ("model", f"{call.provider}/{call.model}", call.skill),
            ("agent", call.agent, ""),
            ("user", call.user, ""),
            ("department", call.department, ""),
        ):
            sums = found.setdefault((dimension, start, call.tenant, name, skill), [0] * len(figures))
            for place, figure in enumerate(figures):
                sums[place] += figure
    return {key: tuple(sums) for key, sums in found.items()}


class Drain:
    """What a test gives to the drain, and what is left of it."""

    def __init__(self, ledger: Ledger) -> None:
        self.sql = ledger.sql

    def send(self, calls: Sequence[Call]) -> str:
        """One entry of the stream; its id."""
        spent = [Spent(call.id, call.cost_micro_usd, call.at, Who(tenant=call.tenant)) for call in calls]
        return self.put("calls", packing.rows(calls), spent)

    def put(self, kind: str, payload: bytes, spent: Sequence[Spent] = ()) -> str:
        """The same of any payload."""
        entry = spending.record(spent, payload, kind=kind, always=True).entry
        assert entry is not None
        return entry

    def write(self, calls: Iterable[Call]) -> int:
        """Past the stream; how many were new."""
        return draining.write_directly("calls", packing.rows(calls))

    def count(self, table: str = "cost_tracking") -> int:
        return int(self.sql(f"SELECT count(*) AS n FROM {table}")[0].n)

    def rollups(self, level: str = "hours") -> Sums:
        rows = self.sql(f"SELECT {rollups.KEY}, {rollups.SUMMED} FROM cost_{level}")
        return {tuple(row)[:5]: tuple(row)[5:] for row in rows}

    def set_aside(self) -> list[Any]:
        return list(self.sql("SELECT * FROM cost_set_aside ORDER BY id"))

    def signals(self, kind: str) -> list[Any]:
        return list(self.sql("SELECT * FROM signals WHERE kind = :kind ORDER BY id", kind=kind))


@pytest.fixture
def drain(ledger: Ledger) -> Drain:
    """Empty tables, and a stream whose counters are whole."""
    redis.client().set(keys.EPOCH, "whole:1")
    return Drain(ledger)
