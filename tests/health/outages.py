"""Services with an outage that is rolled up, for tests of what shows availability."""

from __future__ import annotations

from datetime import datetime, timedelta

from app import clock
from app.catalog import Catalog
from app.health import sync_catalog
from app.health.availability import burns, rollup
from app.infra.db import unit_of_work
from tests.health.histories import History, Incident, Result, write


def an_outage(catalog: Catalog, service: str = "db", *, minutes: int = 30) -> datetime:
    """Results of the last two hours; `service` was down for so long until a minute ago. The moment of the rollup."""
    now = clock.now().replace(microsecond=0)  # figures are whole milliseconds
    begin, end = now - timedelta(minutes=minutes + 1), now - timedelta(minutes=1)
    results = [
        Result(now - timedelta(minutes=120 - n), ok=not 120 - minutes <= n < 120, latency_ms=20) for n in range(120)
    ]
    with unit_of_work() as uow:
        sync_catalog(uow, catalog)
        write(uow, [History(service, results, [Incident(begin, end)], essential=True)])
        uow.execute("UPDATE services SET essential = name = :name", name=service)
        rollup.roll_up(uow, now)
    rollup.catch_up(now)
    with unit_of_work() as uow:
        burns.follow(uow, catalog, now, complete=True)
    return now
