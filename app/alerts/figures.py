"""How well alerting works, in figures: times to detect, to answer and to end, delivery, false alerts, noise."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.alerts.routes import SYNTHETIC
from app.errors import Invalid, Problem
from app.infra import ids

NOISIEST = 10
HUMAN = ("acknowledged", "closed", "comment")
"""Events by which somebody acted."""


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """The figures of alerts that began, and of notifications that were written, from `since` until before `until`.

    Times are in seconds, each as median, p95, mean and count. `detect`: start to firing. `answer`: first delivered
    notification to the first acknowledgement. `resolve`: start to end. These three leave out what happened in a
    maintenance window; figures of alerts leave out test alerts. A page is an alert that somebody was told of; a false
    one was judged so, or ended by itself before anybody acted and was not judged otherwise. Raises Invalid.
    """
    if until <= since:
        raise Invalid([Problem("until", "must be after since")], subject="figures")
    bounds = {
        "since": since,
        "until": until,
        "first": ids.floor(since),
        "last": ids.floor(until),
        "human": list(HUMAN),
        "synthetic": SYNTHETIC,
        "noisiest": NOISIEST,
    }
    times = session.execute(text(_TIMES), bounds).one()._asdict()
    pages = session.execute(text(_PAGES), bounds).one()
    noisy = session.execute(text(_NOISIEST), bounds)
    return {
        "since": clock.iso(since),
        "until": clock.iso(until),
        "episodes": pages.episodes,
        "detect_seconds": _spread(times, "detect"),
        "answer_seconds": _spread(times, "answer"),
        "resolve_seconds": _spread(times, "resolve"),
        "notifications": _notifications(session, bounds),
        "pages": pages.pages,
        "false_alerts": pages.false_alerts,
        "judged": pages.judged,
        "false_alert_percent": _percent(pages.false_alerts, pages.pages),
        "noisiest": [row._asdict() for row in noisy],
        "channels": _channels(session, bounds),
    }


_BEGUN = """
SELECT e.* FROM alert_episodes e
WHERE e.id >= :first AND e.id < :last AND e.fired_at IS NOT NULL AND NOT e.labels ? :synthetic
"""

_SPREAD = """
percentile_cont(0.5) WITHIN GROUP (ORDER BY {name}) AS {name}_median,
percentile_cont(0.95) WITHIN GROUP (ORDER BY {name}) AS {name}_p95,
avg({name})::float8 AS {name}_mean, count({name}) AS {name}_count
"""

# An answer is counted where people were told first: an acknowledgement before that was no answer to a message.
_TIMES = f"""
WITH begun AS ({_BEGUN}), took AS (
  SELECT greatest(extract(epoch FROM b.fired_at - b.starts_at), 0)::float8 AS detect,
         CASE WHEN acted.at >= told.at THEN extract(epoch FROM acted.at - told.at)::float8 END AS answer,
         extract(epoch FROM b.resolved_at - b.starts_at)::float8 AS resolve
  FROM begun b
  LEFT JOIN LATERAL (
    SELECT min(n.finished_at) AS at FROM alert_group_members m JOIN notifications n ON n.group_id = m.group_id
    WHERE m.episode_id = b.id AND n.state = 'delivered' AND n.event <> 'resolved' AND n.finished_at >= b.fired_at
  ) AS told ON true
  LEFT JOIN LATERAL (
    SELECT min(h.at) AS at FROM alert_history h WHERE h.episode_id = b.id AND h.event = 'acknowledged'
  ) AS acted ON true
  WHERE NOT coalesce(b.muted, '[]') @> '[{{"by": "maintenance"}}]'
)
SELECT {_SPREAD.format(name="detect")}, {_SPREAD.format(name="answer")}, {_SPREAD.format(name="resolve")} FROM took
"""

_PAGES = f"""
WITH begun AS ({_BEGUN}), judged AS (
  SELECT b.told_at IS NOT NULL AS paged, b.verdict IS NOT NULL AS judged,
         b.verdict = 'not_needed' OR (b.verdict IS NULL AND b.state = 'resolved' AND NOT EXISTS (
           SELECT 1 FROM alert_history h WHERE h.episode_id = b.id AND h.event = ANY(:human)
         )) AS was_false
  FROM begun b
)
SELECT count(*) AS episodes, count(*) FILTER (WHERE paged) AS pages,
       count(*) FILTER (WHERE paged AND was_false) AS false_alerts,
       count(*) FILTER (WHERE paged AND judged) AS judged
FROM judged
"""

_NOISIEST = f"""
WITH begun AS ({_BEGUN}), counted AS (
  SELECT name, count(*) AS episodes FROM begun GROUP BY name
), told AS (
  SELECT g.name, count(*) AS notifications
  FROM (SELECT DISTINCT b.name, m.group_id FROM begun b JOIN alert_group_members m ON m.episode_id = b.id) AS g
  JOIN notifications n ON n.group_id = g.group_id AND n.state = 'delivered'
  GROUP BY g.name
)
SELECT name, episodes, coalesce(notifications, 0) AS notifications FROM counted LEFT JOIN told USING (name)
ORDER BY notifications DESC, episodes DESC, name LIMIT :noisiest
"""

_SENT = """
SELECT n.channel, n.state, n.latency_ms, extract(epoch FROM n.finished_at - n.fact_at)::float8 AS took
FROM notifications n
WHERE n.created_at >= :since AND n.created_at < :until AND n.event <> 'test'
"""

_DELIVERED = f"""
WITH sent AS ({_SENT})
SELECT count(*) FILTER (WHERE state = 'delivered') AS delivered, count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'skipped') AS skipped,
       count(*) FILTER (WHERE state IN ('waiting', 'sending')) AS open,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY took) FILTER (WHERE state = 'delivered') AS took_median,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY took) FILTER (WHERE state = 'delivered') AS took_p95,
       (avg(took) FILTER (WHERE state = 'delivered'))::float8 AS took_mean,
       count(took) FILTER (WHERE state = 'delivered') AS took_count
FROM sent
"""

_BY_CHANNEL = f"""
WITH sent AS ({_SENT})
SELECT channel, count(*) FILTER (WHERE state = 'delivered') AS delivered,
       count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'skipped') AS skipped,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) FILTER (WHERE state = 'delivered') AS latency_p95_ms
FROM sent GROUP BY channel ORDER BY channel
"""


def _notifications(session: Session, bounds: dict[str, Any]) -> dict[str, Any]:
    row = session.execute(text(_DELIVERED), bounds).one()._asdict()
    return {
        "delivered": row["delivered"],
        "failed": row["failed"],
        "skipped": row["skipped"],
        "open": row["open"],
        "delivered_percent": _percent(row["delivered"], row["delivered"] + row["failed"]),
        "delivery_seconds": _spread(row, "took"),
    }


def _channels(session: Session, bounds: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "channel": row.channel,
            "delivered": row.delivered,
            "failed": row.failed,
            "skipped": row.skipped,
            "delivered_percent": _percent(row.delivered, row.delivered + row.failed),
            "latency_p95_ms": _round(row.latency_p95_ms),
        }
        for row in session.execute(text(_BY_CHANNEL), bounds)
    ]


def _spread(row: dict[str, Any], name: str) -> dict[str, Any]:
    spread = {part: _round(row[f"{name}_{part}"]) for part in ("median", "p95", "mean")}
    return {**spread, "count": row[f"{name}_count"]}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _percent(part: int, whole: int) -> float | None:
    """None where there is nothing to speak of."""
    return round(100 * part / whole, 2) if whole else None
