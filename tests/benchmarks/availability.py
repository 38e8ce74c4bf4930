"""Availability: 90 days of a thousand services, asked of Postgres and over HTTP; what rolling them up costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import text

from app import clock, health
from app.catalog import Catalog, Service
from app.config import settings
from app.health.availability import figures, rollup
from app.health.availability.histogram import SIZE
from app.health.availability.hours import hour_of
from app.infra import adminkey
from app.infra.db import read_only, unit_of_work
from app.jobs import upkeep
from tests.benchmarks.alerts import free_port
from tests.benchmarks.support import Figure, engine, machine, percentile, servers, show, wait_until

SERVICES = 1000
ESSENTIAL = 10
DAYS = 90
TIMES = 30
LOGGED = timedelta(hours=3)

_SUMS = (
    "known_ms, down_ms, degraded_ms, excluded_ms, probes, failed, latency_count, latency_sum_ms, latency_min_ms,"
    " latency_max_ms, latency_buckets"
)
# Every fiftieth hour of a service has ten minutes of downtime.
MADE = f"""
INSERT INTO service_hours (hour, service, {_SUMS}, down_spans)
SELECT hour, service, 3600000, CASE WHEN fell THEN 600000 ELSE 0 END, 0, 0, 60, 0, 60, 900, 1, 99,
       array_fill(2, ARRAY[{SIZE}]), CASE WHEN fell THEN tstzmultirange(tstzrange(hour, hour + interval '10 min')) END
FROM generate_series(CAST(:since AS timestamptz), CAST(:until AS timestamptz) - interval '1 hour', interval '1 hour')
     WITH ORDINALITY AS h(hour, number),
     LATERAL (SELECT CASE n WHEN 0 THEN '*' ELSE 's' || n END AS service, (n + number) % 50 = 0 AS fell
              FROM generate_series(0, :services) AS n) AS made
"""
SUMMED = f"""
INSERT INTO service_days (day, service, {_SUMS})
SELECT date_trunc('day', hour)::date, service, sum(known_ms), sum(down_ms), 0, 0, sum(probes), 0, sum(latency_count),
       sum(latency_sum_ms), 1, 99, array_fill(2, ARRAY[{SIZE}])
FROM service_hours WHERE hour < :today GROUP BY 1, 2 ORDER BY 1, 2
"""
LOG = """
INSERT INTO system_health_log (id, service, state, ok, latency_ms, readings, started_at, source, in_maintenance)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3)
       || '8' || substr(md5(random()::text), 1, 15))::uuid, 's' || n, 'up', true, random() * 100,
       '{"status_code": 200, "bytes": 5120, "tls_days_left": 60}', at, 'engine', false
FROM generate_series(CAST(:since AS timestamptz), CAST(:until AS timestamptz), interval '60 s') AS g,
     generate_series(1, :services) AS n, LATERAL (SELECT g + make_interval(secs => n % 60) AS at) AS spread
"""
BARE = """
SELECT (SELECT sum(known_ms) FROM service_days WHERE day >= CAST(:since AS date)),
       (SELECT sum(known_ms) FROM service_hours WHERE hour >= :day_ago)
"""


def run() -> None:
    """All figures of availability."""
    print(machine())
    with servers(SMM_WEB_PORT=str(free_port())) as home:
        write_catalogue(home)
        now = clock.now()
        fill(now)
        show([*reading(now), *rolling(now)])
        with engine(home, ["web"]):
            show([*over_http()])


def reading(now: datetime) -> Iterator[Figure]:
    """All windows of all services, beside a bare sum over as many rows."""
    bounds = {"since": now - timedelta(days=DAYS), "day_ago": hour_of(now) - timedelta(days=1)}
    with read_only() as session:
        bare = median(lambda: session.execute(text(BARE), bounds).one())
        took = median(lambda: figures.uptimes(session, now))
        found = figures.uptimes(session, now)
    if len(found) != SERVICES + 1 or not (found["s7"]["90d"].percent or 0) < 100:
        raise RuntimeError("the figures are not those that were made")
    yield Figure(f"{DAYS} days of {SERVICES:,} services, beside a bare sum", 1000 * took, "ms", 1000 * bare, limit=100)


def rolling(now: datetime) -> Iterator[Figure]:
    """One pass over the present hour and the one before, beside counting their results."""
    with unit_of_work() as uow:
        uow.execute("UPDATE rollup_clock SET rolled_at = :now", now=now)
    since = hour_of(now - rollup.SETTLE)
    count = text("SELECT count(*), max(latency_ms) FROM system_health_log WHERE started_at >= :since")
    with read_only() as session:
        bare = median(lambda: session.execute(count, {"since": since}).one())
    took = [one_pass() for _ in range(TIMES // 3)]
    name = f"a pass over {SERVICES:,} services, beside counting its results"
    yield Figure(name, 1000 * percentile(took, 50), "ms", 1000 * bare, limit=1000)
    hour = hour_of(now) - timedelta(hours=2)
    with unit_of_work() as uow:
        rollup.note_late(uow, [hour], now)
    owed = (since - hour) // timedelta(hours=1)
    started = time.perf_counter()
    made = rollup.catch_up(clock.now())
    if made < owed:
        raise RuntimeError(f"{made} of {owed} hours were caught up on")
    yield Figure(
        "an hour caught up on, its day summed", (time.perf_counter() - started) * 1000 / made, "ms", limit=2000
    )


def over_http() -> Iterator[Figure]:
    """The same document as a client gets it from the web process, and one service's."""
    config = settings()
    headers = {"Authorization": f"Bearer {adminkey.load_or_create(config)}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{config.web_port}/api/v1", headers=headers, timeout=10) as client:
        wait_until(lambda: answers(client), seconds=60, what="the web process")
        ping = median(lambda: client.get("/config").raise_for_status())
        for path, name in (("/availability", f"{SERVICES:,} services"), ("/availability/s7", "one service")):
            took = median(lambda path=path: client.get(path).raise_for_status())  # type: ignore[misc]
            yield Figure(f"GET {path}: {name}, beside GET /config", 1000 * took, "ms", 1000 * ping, limit=100)
        for hours in (24, 24 * DAYS):
            took = median(lambda hours=hours: client.get(f"/services/s7/latency?hours={hours}").raise_for_status())  # type: ignore[misc]
            yield Figure(f"GET latency of {hours} h, beside GET /config", 1000 * took, "ms", 1000 * ping, limit=100)


def answers(client: httpx.Client) -> bool:
    """Does the web process answer yet?"""
    try:
        return client.get("/config").is_success
    except httpx.TransportError:
        return False


def one_pass() -> float:
    """Seconds that the rollup takes, its commit included."""
    started = time.perf_counter()
    with unit_of_work() as uow:
        rollup.roll_up(uow, clock.now())
    return time.perf_counter() - started


def median(action: Callable[[], object]) -> float:
    """Seconds that it takes, in the median of many times."""
    action()
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        action()
        took.append(time.perf_counter() - started)
    return percentile(took, 50)


def fill(now: datetime) -> None:
    """Ninety days of hours and days, and the results of the last hours."""
    names = [f"s{number}" for number in range(1, SERVICES + 1)]
    services = {
        name: Service(
            name=name, kind="tcp", essential=place < ESSENTIAL, options={"host": "127.0.0.1", "port": 1}, interval=60
        )
        for place, name in enumerate(names)
    }
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    upkeep.make_partitions()
    with unit_of_work() as uow:
        health.sync_catalog(uow, Catalog(services=services, digest="bench"))
        since = today - timedelta(days=DAYS)
        uow.execute(MADE, since=since, until=hour_of(now), services=SERVICES)
        uow.execute(SUMMED, today=today)
        uow.execute("UPDATE rollup_clock SET days_until = CAST(:today AS date), rolled_at = :now", today=today, now=now)
        uow.execute(LOG, since=hour_of(now) - LOGGED, until=now, services=SERVICES)
    with unit_of_work() as uow:
        uow.execute("ANALYZE")


def write_catalogue(home: Path) -> None:
    """The same services as the web process reads them; nothing probes them here."""
    text = "".join(
        f'[services.s{number}]\nkind = "tcp"\nhost = "127.0.0.1"\nport = 1\ninterval = 60\n'
        for number in range(1, SERVICES + 1)
    )
    (home / "smm-admin.toml").write_text(text)
