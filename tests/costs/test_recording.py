"""Recorded calls are priced, counted once and on their way to Postgres; what cannot go there is set aside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app import clock
from app.config import settings
from app.costs import packing, recording
from app.costs.calls import body_of
from app.errors import Transient
from app.infra import redis
from app.infra.ids import time_of, uuid7
from app.limits import deciding, spending
from tests.costs.sent import call
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use

BUDGETS = """
[services.redis]
kind = "redis"

[budgets.tenant]
scope = "tenant"
period = "day"
amount = 5
"""


@pytest.fixture
def counted(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Counters that are whole, a budget for each tenant, and an empty stream."""
    use(monkeypatch, home, BUDGETS)
    redis.client().set("smm:limits:epoch", "whole:1")
    return ledger


def record(*calls: recording.Call, durable: bool = False) -> recording.Outcome:
    return recording.record(calls, durable=durable, source="a-test")


def test_calls_are_in_the_stream_once(counted: Ledger) -> None:
    one, two = call(cost=0.5), call(cost=0.25)
    assert record(one, two, one) == recording.Outcome(2, 1, ())
    assert record(two) == recording.Outcome(0, 1, ())
    [entry] = spending.entries(10)
    assert entry.kind == "calls"
    assert packing.calls_of(entry.payload) == [one, two, one]
