"""Is anybody told? What the pipeline leaves undone, told by indexes, each question with its own short time-out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app import clock
from app.alerts import synthetic
from app.alerts.groups import BROKEN, NOBODY
from app.health import alerting
from app.health.alerting import Limits, Tick, Work
from app.infra.words import duration

STATEMENT_MS = 1500
UNREACHED_SECONDS = 300
"""An open problem that was to be told so long ago, and of which nobody has heard, is a finding."""

_CANCELED = "57014"
_UNREACHED = f"""
SELECT count(*) FROM alert_groups g
WHERE g.closed_at IS NULL AND g.told_at < now() - make_interval(secs => {UNREACHED_SECONDS})
  AND NOT EXISTS (SELECT 1 FROM notifications n WHERE n.group_id = g.id AND n.state = 'delivered')
"""
_UNTOLD = f"""
SELECT count(*) FROM alert_groups
WHERE closed_at IS NULL AND (held LIKE :broken OR (held = :nobody
  AND opened_at < now() - make_interval(secs => {UNREACHED_SECONDS})))
"""
_SYNTHETIC = f"""
SELECT c.synthetic_at, c.synthetic_outcome, s.paused_at IS NOT NULL AS paused
FROM alert_clock c LEFT JOIN schedule s ON s.name = '{synthetic.ENTRY}' WHERE c.id = 1
"""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found; `tick` and `work` are the figures behind it (`work` None: they could not be counted in time)."""

    findings: tuple[str, ...]
    tick: Tick
    work: Work | None

    @property
    def clean(self) -> bool:
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "clean": self.clean,
            "findings": list(self.findings),
            "tick_age_seconds": self.tick.seconds,
            "paused_by": self.tick.paused_by,
            "overdue_seconds": None if self.work is None else self.work.overdue_seconds,
            "waiting_seconds": None if self.work is None else self.work.waiting_seconds,
        }


def audit(session: Session, now: datetime, limits: Limits | None = None) -> Audit:
    """Look at the pipeline. A question that takes too long is a finding itself, and takes no other one with it."""
    tick = tick_of(session)
    work = work_of(session)
    found = [finding.text for finding in alerting.findings(tick, work or Work(), limits or Limits())]
    paused = alerting.paused(tick)
    if paused is not None:
        found.append(f"the alert tick is {paused.text}")
    if work is None:
        found.append("late alerts could not be counted in time")
    found += _unreached(session)
    found += _tested(session, now)
    return Audit(tuple(found), tick, work)


def tick_of(session: Session) -> Tick:
    """The pipeline's clock."""
    return Tick(*session.execute(text(alerting.TICK)).one())


def work_of(session: Session) -> Work | None:
    """What waits; None when that takes too long to say."""
    with _in_time(session):
        return Work(*session.execute(text(alerting.WORK)).one())
    return None


def _unreached(session: Session) -> Iterator[str]:
    with _in_time(session):
        groups = session.execute(text(_UNREACHED)).scalar_one()
        if groups:
            ago = duration(UNREACHED_SECONDS)
            yield f"groups of alerts that were told at least {ago} ago and reached nobody: {groups}"
        untold = session.execute(text(_UNTOLD), {"broken": f"{BROKEN}%", "nobody": NOBODY}).scalar_one()
        if untold:
            yield f"groups of alerts that can be told to nobody: {untold}"
        return
    yield "groups that reached nobody could not be counted in time"


def _tested(session: Session, now: datetime) -> Iterator[str]:
    """What the test alert says; while its entry is paused it says nothing."""
    row = session.execute(text(_SYNTHETIC)).one()
    if row.paused or row.synthetic_at is None:
        return
    age = now - row.synthetic_at
    outcome = row.synthetic_outcome or ""
    if outcome == synthetic.WAITING and age > 2 * synthetic.WITHIN:
        yield f"nobody has seen whether the test alert of {clock.iso(row.synthetic_at)} arrived"
    elif outcome.startswith(synthetic.FAILED):
        yield f"the test alert {outcome}"
    elif age > 2 * synthetic.EVERY:
        yield f"the last test alert was sent {duration(age.total_seconds())} ago"


@contextmanager
def _in_time(session: Session) -> Iterator[None]:
    """Run the block in a savepoint under the statement time-out; leave it quietly when that strikes."""
    try:
        with session.begin_nested():
            session.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_MS}"))
            yield
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _CANCELED:
            raise
