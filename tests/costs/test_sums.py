"""Sums over any period by any dimension are those of plain Python over the calls themselves, to the micro-dollar."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.costs import sums
from app.costs.covering import whole
from app.errors import Invalid
from app.infra.db import read_only
from tests.costs.spent import call, spent

FIRST = datetime(2026, 10, 20, tzinfo=UTC)
LAST = FIRST + timedelta(days=14)
ODD = ("Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "UTC")
"""Berlin and New York put their clocks back in these weeks; Lord Howe's changes by half an hour."""

Call = dict[str, Any]
_NAME: dict[str, Callable[[Call], str]] = {
    "total": lambda one: "",
    "tenant": lambda one: str(one["tenant"]),
    "skill": lambda one: str(one["skill"]),
    "model": lambda one: f"{one['provider']}/{one['model']}",
    "provider": lambda one: str(one["provider"]),
    "agent": lambda one: str(one["agent"]),
    "user": lambda one: str(one["user_id"]),
    "department": lambda one: str(one["department"]),
}


def made(number: int, seed: int) -> Iterable[Call]:
    """Calls at random times, some of them on the very edges of hours and days, with random names and figures."""
    chance = random.Random(seed)
    span = int((LAST - FIRST).total_seconds())
    for _ in range(number):
        at = FIRST + timedelta(seconds=chance.choice([chance.randrange(span), chance.randrange(span // 1800) * 1800]))
        provider, model = chance.choice([("openai", "gpt-5"), ("openai", "mini"), ("moonshot", "kimi/k2"), ("", "")])
        yield call(
            at + timedelta(milliseconds=chance.choice([0, 0, 1, 999])),
            tenant=chance.choice(["acme", "globex", ""]),
            skill=chance.choice(["chat", "copy", ""]),
            agent=chance.choice(["bot", ""]),
            user_id=f"user-{chance.randrange(4)}",
            department=chance.choice(["sales", "support"]),
            provider=provider,
            model=model,
            input_tokens=chance.randrange(10**6),
            output_tokens=chance.randrange(1000),
            cost_micro_usd=chance.choice([None, 0, 1, chance.randrange(10**7)]),
            latency_ms=chance.choice([None, chance.randrange(9000)]),
            outcome=chance.choice(["ok", "ok", "error"]),
        )


def added(calls: Iterable[Call]) -> sums.Sums:
    found: dict[str, int] = defaultdict(int)
    for one in calls:
        found["calls"] += 1
        found["unpriced"] += one["cost_micro_usd"] is None
        found["failed"] += one["outcome"] != "ok"
        for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens"):
            found[name] += one[name]
        found["cost_micro_usd"] += one["cost_micro_usd"] or 0
        found["latency_ms"] += one["latency_ms"] or 0
    return sums.Sums(**found)


def by_name(calls: Iterable[Call], dimension: str) -> dict[str, sums.Sums]:
    groups = defaultdict(list)
    for one in calls:
        groups[_NAME[dimension](one)].append(one)
    return {name: added(group) for name, group in groups.items()}


@pytest.fixture
def calls(database: str) -> list[Call]:
    return spent(made(1500, seed=1))


def within(calls: Iterable[Call], since: datetime, until: datetime) -> list[Call]:
    return [one for one in calls if since <= one["at"] < until]


def test_sums_over_any_period_are_those_of_the_calls(calls: list[Call]) -> None:
    chance = random.Random(2)
    days = [date(2026, 10, 20) + timedelta(days=offset) for offset in range(14)]
    periods = [sums.period_of(chance.choice(days), zone) for zone in ODD for _ in range(3)]
    for _ in range(30):
        start = FIRST + timedelta(milliseconds=chance.randrange(14 * 86_400_000))
        periods.append((start, start + timedelta(milliseconds=chance.randrange(1, chance.choice([10**5, 10**9])))))
    with read_only() as session:
        for since, until in periods:
            dimension = chance.choice(sums.DIMENSIONS)
            found = sums.by(session, dimension, since, until)
            assert {row.name: row.sums for row in found} == by_name(within(calls, since, until), dimension)
            assert [row.sums.cost_micro_usd for row in found] == sorted(
                (row.sums.cost_micro_usd for row in found), reverse=True
            )


def test_filters_leave_the_calls_of_one_tenant_skill_or_model(calls: list[Call]) -> None:
    since, until = FIRST + timedelta(days=1, minutes=17), LAST - timedelta(hours=5, minutes=31)
    inside = within(calls, since, until)
    with read_only() as session:
        for tenant in ("acme", ""):
            mine = [one for one in inside if one["tenant"] == tenant]
            assert sums.total(session, since, until, tenant=tenant) == added(mine)
            for dimension in sums.DIMENSIONS:
                found = sums.by(session, dimension, since, until, tenant=tenant)
                assert {row.name: row.sums for row in found} == by_name(mine, dimension)
        kimi = [one for one in inside if one["model"] == "kimi/k2" and one["skill"] == "chat"]
        assert sums.total(session, since, until, skill="chat", model="moonshot/kimi/k2") == added(kimi)
        assert sums.total(session, since, until, tenant="nobody") == sums.Sums()
        with pytest.raises(Invalid, match="skill: is not known of sums by user.*model: is not known"):
            sums.by(session, "user", since, until, skill="chat", model="openai/mini")


def test_days_of_a_zone_are_summed_one_by_one_across_a_change_of_its_clock(calls: list[Call]) -> None:
    since, until = FIRST + timedelta(hours=7), LAST - timedelta(minutes=3)
    for zone in ODD:
        with read_only() as session:
            found = sums.by(session, "skill", since, until, step="day", zone=zone)
        starts = [since]
        while (end := sums.period_of(sums.day_of(starts[-1], zone), zone)[1]) < until:
            starts.append(end)
        expected = {
            (start, name): value
            for start, end in zip(starts, [*starts[1:], until], strict=True)
            for name, value in by_name(within(calls, start, end), "skill").items()
        }
        assert {(row.start_at, row.name): row.sums for row in found} == expected
        assert [row.start_at for row in found] == sorted(row.start_at for row in found if row.start_at)


def test_hours_are_summed_one_by_one_and_the_ends_are_cut(calls: list[Call]) -> None:
    since, until = FIRST + timedelta(days=3, minutes=20), FIRST + timedelta(days=5, minutes=50)
    with read_only() as session:
        found = sums.by(session, "total", since, until, step="hour")
        places = sums.hourly(session, FIRST, LAST, tenant="acme", skill="chat")
    expected = defaultdict(list)
    for one in within(calls, since, until):
        expected[max(since, one["at"].replace(minute=0, second=0, microsecond=0))].append(one)
    assert {row.start_at: row.sums for row in found} == {start: added(group) for start, group in expected.items()}
    mine = [one for one in calls if (one["tenant"], one["skill"]) == ("acme", "chat")]
    assert sum(place.sums.calls for place in places) == len(mine)
    assert sum(place.sums.cost_micro_usd for place in places) == added(mine).cost_micro_usd


def test_a_limit_leaves_the_dearest(calls: list[Call]) -> None:
    with read_only() as session:
        every = sums.by(session, "user", FIRST, LAST)
        assert sums.by(session, "user", FIRST, LAST, limit=2) == every[:2]
    assert asdict(every[0].sums)["cost_micro_usd"] == max(row.sums.cost_micro_usd for row in every)


def test_an_empty_period_and_one_of_times_that_no_id_can_say_are_no_trouble(database: str) -> None:
    with read_only() as session:
        assert sums.total(session, LAST, FIRST) == sums.Sums()
        ends = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
        assert sums.by(session, "tenant", *ends) == []
        with pytest.raises(Invalid, match="step: is too short: by the hour at most 62 days"):
            sums.by(session, "total", *ends, step="hour")


def test_a_period_is_read_in_few_pieces() -> None:
    kolkata = whole(*sums.period_of(date(2026, 11, 3), "Asia/Kolkata"))
    assert [(part.kind, part.sign, part.until - part.since) for part in kolkata] == [
        ("days", 1, timedelta(days=1)),
        ("hours", 1, timedelta(hours=5)),
        ("hours", -1, timedelta(hours=5)),
        ("calls", 1, timedelta(minutes=30)),
        ("calls", -1, timedelta(minutes=30)),
    ]
    assert [part.kind for part in whole(FIRST, LAST)] == ["days"]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/Santiago", date(2026, 9, 6), 23),  # 00:00 is skipped
        ("America/Havana", date(2026, 11, 1), 25),  # 00:00 comes twice
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Asia/Kolkata", date(2026, 12, 31), 24),
    ],
)
def test_a_day_is_as_long_as_its_clock_says(zone: str, day: date, hours: float) -> None:
    since, until = sums.period_of(day, zone)
    assert until - since == timedelta(hours=hours)
    assert sums.day_of(since, zone) == day
    assert sums.day_of(until - timedelta(milliseconds=1), zone) == day
    assert sums.day_of(until, zone) == day + timedelta(days=1)
