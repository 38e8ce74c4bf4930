"""Sums over 30 days by one dimension, and a tenant's report, beside ten million stored calls.

COUNT=1000000 make bench NAME=costs_read
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from app import clock
from app.costs import recomputing, reports, rollups, sums
from app.infra import partitions
from app.infra.db import execute_once, read_only, unit_of_work
from tests.benchmarks.support import Figure, machine, percentile, servers, show

COUNT = int(os.environ.get("COUNT", "10000000"))
DAYS, ROUNDS = 31, 40
TENANTS = 50
ZONE = "Asia/Kolkata"
"""Half an hour off: its midnight is amid an hour of UTC."""

_CALLS = """
    INSERT INTO cost_tracking
    SELECT id, uuid_extract_timestamp(id), 'tenant-' || tenant,
           (ARRAY['content', 'engage', 'intel', 'comms'])[1 + n % 4],
           'agent-' || n % 8, 'user-' || tenant || '-' || n % 7, (ARRAY['marketing', 'sales', 'support'])[1 + n % 3],
           'run-' || n % 1000, provider, (ARRAY['small', 'large', 'new'])[1 + n % 3], 1200 + n % 800, 900, 0,
           150 + n % 100, 2000 + n % 9000, 'table', NULL, 800 + n % 500,
           CASE WHEN n % 50 = 0 THEN 'timeout' ELSE 'ok' END, 'req_' || lpad(n::text, 24, '0'), md5((n % 977)::text),
           '{"campaign": "spring", "language": "en"}'
      FROM (SELECT n, n % :tenants AS tenant, (ARRAY['anthropic', 'openai', 'moonshotai'])[1 + n % 7 % 3] AS provider,
                   uuidv7(make_interval(secs => -(:oldest - 86400.0 * (n - :first) / :count))) AS id
              FROM generate_series(:first, CAST(:first + :count - 1 AS bigint)) AS n) AS made"""
_ROLL_UP = "INSERT INTO cost_{level} ({key}, {sums}) SELECT {key}, {sums} FROM ({rows}) AS made"


def run() -> None:
    """Made day by day, rolled up in one go, compared, and read."""
    print(machine())
    with servers(SMM_DB_STATEMENT_TIMEOUT_SECONDS="3600"):
        now = clock.now()
        began = time.perf_counter()
        _make(now)
        print(f"{COUNT:,} calls made in {time.perf_counter() - began:.0f} s")
        show([*_summaries(now), *_report(now), *_recomputed(now)])


def _make(now: datetime) -> None:
    a_day = COUNT // DAYS
    for day in range(DAYS):
        partitions.ensure("cost_tracking", (now - timedelta(days=day)).date(), days_ahead=0)
    for day in range(DAYS):
        figures = {"tenants": TENANTS, "oldest": 86_400.0 * (DAYS - day), "first": day * a_day, "count": a_day}
        execute_once(_CALLS, **figures)
    for level, rows in (("hours", rollups.hours_of("cost_tracking")), ("days", rollups.days_of("cost_hours"))):
        execute_once(_ROLL_UP.format(level=level, key=rollups.KEY, sums=rollups.SUMMED, rows=rows))
    execute_once("VACUUM ANALYZE cost_tracking")
    for level in ("hours", "days"):
        execute_once(f"VACUUM ANALYZE cost_{level}")


def _summaries(now: datetime) -> list[Figure]:
    """Thirty whole days, in UTC and where midnight is amid an hour; everybody's, and one tenant's."""
    random = Random(1)

    def one(dimension: sums.Dimension, zone: str, tenant: str | None) -> Callable[[], object]:
        until, _ = sums.period_of(now.astimezone(ZoneInfo(zone)).date() - timedelta(days=random.randrange(2)), zone)
        since = until - timedelta(days=30)

        def read() -> object:
            with read_only() as session:
                return sums.by(session, dimension, since, until, tenant=tenant)

        return read

    figures = []
    for zone in ("UTC", ZONE):
        for tenant in (None, "tenant-7"):
            taken = [
                [_ms(one(dimension, zone, tenant)) for dimension in sums.DIMENSIONS if dimension != "total"]
                for _ in range(ROUNDS)
            ]
            worst = max(percentile(column, 95) for column in zip(*taken, strict=True))
            whose = "one tenant" if tenant else "everybody"
            figures.append(Figure(f"30 days by a dimension, {whose}, {zone}, p95", worst, "ms", limit=50))
    return figures


def _report(now: datetime) -> list[Figure]:
    day = now.astimezone(UTC).date() - timedelta(days=2)
    taken = []
    for place in range(5):
        began = time.perf_counter()
        with unit_of_work() as uow:
            reports.show(uow, day, f"tenant-{place}", fresh=True, now=now)
        taken.append(time.perf_counter() - began)
    return [Figure("the end-of-day report of a tenant, slowest of 5", max(taken), "s", limit=1)]


def _recomputed(now: datetime) -> list[Figure]:
    began = time.perf_counter()
    repaired = recomputing.recompute(now.date() - timedelta(days=3), now)
    if repaired:
        raise RuntimeError(f"{repaired} roll-ups differ")
    return [Figure(f"a day of {COUNT // DAYS:,} calls compared with its roll-ups", time.perf_counter() - began, "s")]


def _ms(read: Callable[[], object]) -> float:
    began = time.perf_counter()
    read()
    return (time.perf_counter() - began) * 1000
