"""What is known of a notification when its turn comes, and when its turn is where an address takes few at a time."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.alerts import failover
from app.infra.db import read_only

LINE_SECONDS = 30.0
"""How long a message waits at most that stands in line for its address, before it looks again."""


# What went to the same address about the same group; of what belongs to no group (the watchdog's own pages) what is
# recent. A message of the thread that is being sent this moment and is older goes first. A group that opens in the
# thread of one that is over is the same incident to some.
_LOAD = """
SELECT n.*, g.closed_at IS NOT NULL AS closed, coalesce(g.acknowledged, false) AS acknowledged, past.*, beside.*
FROM notifications n
LEFT JOIN alert_groups g ON g.id = n.group_id
CROSS JOIN LATERAL (
  SELECT coalesce(bool_or(o.state = 'delivered' AND o.event <> 'resolved'), false) AS told,
         coalesce(bool_or(o.event <> 'resolved' AND (o.state = 'delivered'
           OR (o.state <> 'skipped' AND o.sent_at IS NOT NULL AND o.http_status IS NULL))), false) AS maybe_told,
         coalesce(bool_or(o.state = 'delivered' AND o.event = 'resolved'), false) AS end_told,
         (array_agg(o.provider_id ORDER BY o.id) FILTER (
           WHERE o.state = 'delivered' AND o.provider_id IS NOT NULL))[1] AS reply_to
  FROM notifications o
  WHERE o.thread = n.thread AND o.channel = n.channel AND o.destination = n.destination AND o.id <> n.id
    AND (o.group_id = n.group_id OR n.group_id IS NULL
      OR (o.group_id IS NULL AND o.created_at > g.opened_at - interval '1 day'))
) AS past
CROSS JOIN LATERAL (
  SELECT coalesce(bool_or(o.state = 'sending' AND o.id < n.id
           AND o.sent_at > now() - make_interval(secs => :forgotten)), false) AS behind,
         coalesce(bool_or(o.group_id <> n.group_id AND o.id > n.id AND o.event <> 'resolved' AND (o.state = 'delivered'
           OR (o.state <> 'skipped' AND o.sent_at IS NOT NULL AND o.http_status IS NULL))), false) AS begun_anew
  FROM notifications o
  WHERE o.thread = n.thread AND o.channel = n.channel AND o.destination = n.destination AND o.id <> n.id
    AND (o.state = 'sending' OR o.id > n.id)
) AS beside
WHERE n.id = :id
"""


def load(session: Session, notification_id: UUID, *, forgotten_seconds: float) -> Row[Any] | None:
    """The notification with what stands beside it; what has been sent for longer than `forgotten_seconds` is not."""
    return session.execute(text(_LOAD), {"id": notification_id, "forgotten": forgotten_seconds}).one_or_none()


_AHEAD = """
SELECT count(*) FROM (
  SELECT FROM notifications o
  WHERE o.state IN ('waiting', 'sending') AND o.channel = :channel AND o.destination = :destination AND o.id <> :id
    AND ((o.severity = ANY(:urgent) AND NOT :is_urgent)
      OR (o.id < :id AND (o.severity = ANY(:urgent)) = :is_urgent))
  LIMIT :most
) AS ahead
"""


def in_line(row: Row[Any], wait: float, per_second: float) -> float:
    """Seconds until its turn among all that wait for the same address, what is urgent first.

    At the soonest when the address may be told again; and a while later at the latest, should others drop out. If all
    came back at once, each second, for the one place that is free, workers would do nothing else.
    """
    with read_only() as session:
        ahead: int = session.execute(
            text(_AHEAD),
            {
                "id": row.id,
                "channel": row.channel,
                "destination": row.destination,
                "urgent": list(failover.URGENT),
                "is_urgent": row.severity in failover.URGENT,
                "most": math.ceil(LINE_SECONDS * per_second),
            },
        ).scalar_one()
    return max(wait, min(wait + ahead / per_second, LINE_SECONDS))
