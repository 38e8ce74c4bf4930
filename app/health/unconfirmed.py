"""Services that fail and are not down yet: until when the confirm probes will have said which it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

SLACK_SECONDS = 5.0
"""From the last probe to its being known: a tick, and the job that handles the signal."""

LONGEST_SECONDS = 45.0
"""A service that takes longer to be called down keeps nobody waiting for that."""

_FAILING = """
SELECT name, severity, first_failure_at + make_interval(secs => least(:longest, :slack
         + (failures_to_down - 1) * (confirm_interval_seconds + timeout_seconds))) AS known_at
FROM services WHERE present AND failures > 0 AND state <> 'down' AND first_failure_at IS NOT NULL
"""


def failing(session: Session) -> Sequence[Row[Any]]:
    """name, severity, known_at: when it will be known whether it is down, if its probes take as long as they may."""
    return session.execute(text(_FAILING), {"longest": LONGEST_SECONDS, "slack": SLACK_SECONDS}).all()
