"""What a scrape reads of alerting: how old its tick is, what waits, what is open."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from sqlalchemy import text

from app.alerts import auditing
from app.infra import db
from app.infra.metrics.families import gauge

_EPISODES = """
SELECT state, severity, count(*) AS episodes FROM alert_episodes WHERE state <> 'resolved' GROUP BY state, severity
"""


def alerts() -> Iterator[Metric]:
    """Alerting as its tables are now. Raises Transient without Postgres, and when it is slow."""
    with db.read_within(auditing.STATEMENT_MS / 1000) as session:
        open_ones = session.execute(text(_EPISODES)).all()
        tick, work = auditing.tick_of(session), auditing.work_of(session)
    yield gauge(
        "smm_alert_tick_age_seconds",
        "Time since the alert pipeline last passed; not there before it first did.",
        (),
        [((), tick.seconds)],
    )
    yield gauge(
        "smm_notifications_waiting_oldest_seconds",
        "How long the oldest notification has waited for its first try.",
        (),
        [((), (work.waiting_seconds or 0.0) if work is not None else None)],
    )
    yield gauge(
        "smm_alerts_overdue_seconds",
        "How long the alert that is due for longest has been so.",
        (),
        [((), max(0.0, work.overdue_seconds or 0.0) if work is not None else None)],
    )
    yield gauge(
        "smm_alert_episodes",
        "Alerts that are not over, by state and severity.",
        ("state", "severity"),
        [((row.state, row.severity), row.episodes) for row in open_ones],
    )
