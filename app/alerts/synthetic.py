"""A test alert on schedule: raised and told as every other one; and later it is seen whether it arrived.

It has the label `synthetic`, so that it is told once, never escalated, and marked as a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from app import clock, jobs, signals
from app.alerts.fingerprint import fingerprint
from app.alerts.raising import raise_now
from app.alerts.routes import SYNTHETIC, TEST_ALERT
from app.alerts.rules import Raise
from app.infra.db import UnitOfWork
from app.infra.text import storable

ENTRY = "alert-synthetic"
EVERY = timedelta(hours=1)
VERIFY = "tasks.alerts.verify_synthetic"
NAME = TEST_ALERT
SOURCE = "synthetic"
SUBJECT = "alerting"
WITHIN = timedelta(minutes=5)
"""The test alert must have arrived after this time; then it is over."""
WAITING, FAILED = "waiting", "failed"

LABELS = {"alertname": NAME, "severity": "info", SYNTHETIC: "true"}
_LONGEST = 300
_A_LITTLE = timedelta(seconds=5)
_ROUNDED = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a test alert. `kind`: the signal that says so; None where it was held back on purpose."""

    kind: str | None
    outcome: str
    seconds: float | None = None


def begin(uow: UnitOfWork) -> bool:
    """Raise the test alert, to be verified later; False while one is still under way. By the database's clock."""
    row = uow.execute(
        "SELECT synthetic_outcome, synthetic_at, now() AS now FROM alert_clock WHERE id = 1 FOR UPDATE"
    ).one()
    now: datetime = row.now
    if row.synthetic_outcome == WAITING and row.synthetic_at is not None and now < row.synthetic_at + 2 * WITHIN:
        return False
    raise_now(uow, _alert(now), now, source=SOURCE)
    uow.execute(
        "UPDATE alert_clock SET synthetic_at = :now, synthetic_outcome = :waiting WHERE id = 1",
        now=now,
        waiting=WAITING,
    )
    jobs.submit(
        uow,
        VERIFY,
        key=f"{SOURCE}:{clock.iso(now)}",
        not_before=now + WITHIN + _A_LITTLE,
        raised_at=clock.iso(now),
        caller="alerts",
    )
    return True


def verify(uow: UnitOfWork, raised_at: datetime) -> Verdict | None:
    """See whether the test alert of that moment arrived, and say so; None when that was done already."""
    row = uow.execute("SELECT synthetic_at, synthetic_outcome FROM alert_clock WHERE id = 1 FOR UPDATE").one()
    if row.synthetic_outcome != WAITING or row.synthetic_at is None or abs(row.synthetic_at - raised_at) > _ROUNDED:
        return None
    verdict = judge(_notifications(uow, row.synthetic_at), _muted(uow, row.synthetic_at), row.synthetic_at)
    outcome = storable(verdict.outcome, limit=_LONGEST)
    uow.execute("UPDATE alert_clock SET synthetic_outcome = :outcome WHERE id = 1", outcome=outcome)
    if verdict.kind is not None:
        facts = {"outcome": outcome, "seconds": verdict.seconds, "raised_at": clock.iso(raised_at)}
        signals.record(uow, verdict.kind, SUBJECT, labels={"alertname": NAME}, facts=facts)
    return verdict


def judge(notifications: Sequence[Row[Any]], muted: str | None, raised_at: datetime) -> Verdict:
    """Delivered when every recipient got it in time by whatever channel. Each row: recipient, channel, state,
    finished_at, error.
    """
    if not notifications:
        if muted is not None:
            return Verdict(None, f"held back: {muted}")
        return Verdict("alerts.synthetic_failed", f"{FAILED}: nobody was told; see the tick and the routing")
    reached = {
        row.recipient: row.finished_at
        for row in reversed(notifications)
        if row.state == "delivered" and row.finished_at <= raised_at + WITHIN
    }
    missed = {row.recipient: row for row in notifications if row.recipient not in reached}
    if missed:
        said = "; ".join(
            f"{recipient} by {row.channel}: {row.error or row.state}" for recipient, row in sorted(missed.items())
        )
        return Verdict("alerts.synthetic_failed", f"{FAILED}: {said}")
    seconds = round(max((at - raised_at).total_seconds() for at in reached.values()), 3)
    return Verdict("alerts.synthetic_delivered", f"delivered in {seconds:g} s", seconds)


def _alert(now: datetime) -> Raise:
    return Raise(
        rule=NAME,
        subject=SUBJECT,
        fingerprint=fingerprint(LABELS),
        name=NAME,
        severity=LABELS["severity"],
        team=None,
        service=None,
        labels=LABELS,
        annotations={
            "summary": "A test of the way from an alert to you. Nothing is wrong, and nothing needs to be done.",
        },
        starts_at=now,
        at=now,
        expires_after=WITHIN,
    )


def _notifications(uow: UnitOfWork, since: datetime) -> Sequence[Row[Any]]:
    found: Sequence[Row[Any]] = uow.execute(
        "SELECT n.recipient, n.channel, n.state, n.finished_at, n.error FROM notifications n"
        " WHERE n.event <> 'resolved' AND n.created_at >= :since AND n.group_id IN ("
        "   SELECT m.group_id FROM alert_group_members m JOIN alert_episodes e ON e.id = m.episode_id"
        "   WHERE e.fingerprint = :fingerprint AND e.updated_at >= :since) ORDER BY n.id",
        since=since,
        fingerprint=fingerprint(LABELS),
    ).all()
    return found


def _muted(uow: UnitOfWork, since: datetime) -> str | None:
    """Why the test alert was held back, in the first reason's words."""
    muted = uow.execute(
        "SELECT muted FROM alert_episodes WHERE fingerprint = :fingerprint AND updated_at >= :since"
        " AND muted IS NOT NULL ORDER BY id DESC LIMIT 1",
        fingerprint=fingerprint(LABELS),
        since=since,
    ).scalar_one_or_none()
    return f"{muted[0]['by']}, {muted[0]['reason']}" if muted else None
