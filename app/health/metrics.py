"""What a scrape reads of the watched services: the stored states, never a fresh probe."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from sqlalchemy import text

from app import catalog, clock
from app.errors import Invalid
from app.health.availability import budget, objectives, uptimes
from app.health.core import State
from app.infra import db
from app.infra.metrics.families import gauge

STATEMENT_MS = 1500
"""A scrape gives up on a slow database before Prometheus gives up on the scrape."""

_SERVICES = """
SELECT name, state, latency_ms, flapping,
       extract(epoch FROM now() - last_finished_at)::float8 AS age_seconds
FROM services WHERE present
"""
_OPEN_INCIDENTS = "SELECT count(*) FROM incidents WHERE recovered_at IS NULL"


def services() -> Iterator[Metric]:
    """Each service of the catalogue as it was last stored. Raises Transient without Postgres."""
    with db.read_only() as session:
        session.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_MS}"))
        rows = session.execute(text(_SERVICES)).all()
        incidents = session.execute(text(_OPEN_INCIDENTS)).scalar_one()
    yield gauge(
        "smm_service_up",
        "1 while the service answers (up or degraded), 0 while it is down; not there while unknown.",
        ("service",),
        [((row.name,), float(row.state != State.DOWN)) for row in rows if row.state != State.UNKNOWN],
    )
    yield gauge(
        "smm_service_state",
        "1 for the state a service is in, 0 for the others.",
        ("service", "state"),
        [((row.name, state), float(row.state == state)) for row in rows for state in State],
    )
    yield gauge(
        "smm_service_latency_seconds",
        "Latency of the last stored probe that measured one.",
        ("service",),
        [((row.name,), None if row.latency_ms is None else row.latency_ms / 1000) for row in rows],
    )
    yield gauge(
        "smm_service_result_age_seconds",
        "Time since the last stored probe of the service ended.",
        ("service",),
        [((row.name,), row.age_seconds) for row in rows],
    )
    yield gauge(
        "smm_service_flapping",
        "1 while the service flips too often for its single flips to be told.",
        ("service",),
        [((row.name,), float(row.flapping)) for row in rows],
    )
    yield gauge("smm_open_incidents", "Incidents that have not ended.", (), [((), incidents)])


def availability() -> Iterator[Metric]:
    """Uptime and error budgets, as the last pass of the rollup left them. Raises Transient without Postgres."""
    with db.read_within(STATEMENT_MS / 1000) as session:
        found = uptimes(session, clock.now())
    try:
        shall = objectives(catalog.current())
    except Invalid:
        shall = {}
    yield gauge(
        "smm_service_uptime_ratio",
        "Share of the known time in which a service was up, without maintenance; not there while nothing is known.",
        ("service", "window"),
        [((name, window), uptime.ratio) for name, windows in found.items() for window, uptime in windows.items()],
    )
    yield gauge(
        "smm_error_budget_left_ratio",
        "Share of a service's error budget of 30 days that is left; below 0 when it is overdrawn.",
        ("service",),
        [((name,), budget(shall[name], windows).left_ratio) for name, windows in found.items() if name in shall],
    )


def catalogue() -> Iterator[Metric]:
    """Whether the declarative file is valid; a broken one leaves the last good one in force."""
    try:
        catalog.current()
        valid = catalog.problem() is None
    except Invalid:  # neither the file nor its last good copy can be used
        valid = False
    yield gauge("smm_catalog_valid", "1 while the configuration file in force is the one on disk.", (), [((), valid)])
