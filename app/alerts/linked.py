"""What a link in a message is about, and what it does when somebody uses it: once, and it is known who and when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.alerts import acting, history, silences
from app.alerts.acting import Target
from app.alerts.core import State
from app.alerts.links import Action, Link
from app.alerts.matchers import Matcher
from app.errors import Conflict, NotFound
from app.infra.db import UnitOfWork

SILENCE = timedelta(hours=1)
MOST_NAMES = 20
"""Different alerts that one silence of a link speaks of; more of them want a person's thought."""
USED = "link_used"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that the link acts on."""

    name: str
    severity: str
    state: State
    labels: dict[str, str]
    summary: str
    starts_at: datetime
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """That it was used."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class About:
    """What the link acts on: its alerts, those that last first; how it was used, where it was."""

    alerts: tuple[Alert, ...]
    used: Use | None = None

    @property
    def open(self) -> int:
        """How many of them last."""
        return sum(alert.state is not State.RESOLVED for alert in self.alerts)


def about(session: Session, link: Link) -> About:
    """What the link acts on, as it is now. Raises NotFound when it is not kept any more."""
    rows = _rows(session, link.target)
    if not rows:
        raise NotFound("the alert of this link is not kept any more")
    return About(tuple(_alert(row) for row in rows), used(session, link))


def used(session: Session, link: Link) -> Use | None:
    """Who used it, and when; None: nobody yet."""
    query = text("SELECT used_at FROM alert_links_used WHERE token_id = :id")
    at: datetime | None = session.execute(query, {"id": link.id}).scalar_one_or_none()
    if at is None:
        return None
    column = "group_id" if link.target.kind == "group" else "episode_id"
    query = text(
        f"SELECT by FROM alert_history WHERE {column} = :target AND event = '{USED}' AND facts ->> 'link' = :id LIMIT 1"
    )
    by = session.execute(query, {"target": link.target.id, "id": link.id}).scalar_one_or_none()
    return Use(by or "somebody", at)


def use(uow: UnitOfWork, link: Link, *, by: str, now: datetime) -> Use | None:
    """Do what the link says; the earlier use instead when there was one, and None when this was the first.

    Of two at once the second waits for the first. Raises Conflict where there is nothing to do, NotFound, Invalid: then
    the link is as good as before.
    """
    first = uow.execute(
        "INSERT INTO alert_links_used (token_id, used_at) VALUES (:id, :now) ON CONFLICT DO NOTHING RETURNING token_id",
        id=link.id,
        now=now,
    ).one_or_none()
    if first is None:
        return used(uow.session, link)
    _act(uow, link, by=by, now=now)
    where = {"group_id" if link.target.kind == "group" else "episode_id": link.target.id}
    history.add(uow, USED, by=by, facts={"link": link.id, "action": str(link.action)}, at=now, **where)
    return None


def _act(uow: UnitOfWork, link: Link, *, by: str, now: datetime) -> None:
    match link.action:
        case Action.ACKNOWLEDGE:
            acting.acknowledge(uow, link.target, by=by, now=now)
        case Action.RESOLVE:
            acting.resolve(uow, link.target, by=by, now=now)
        case Action.SILENCE:
            lasting = [row for row in _rows(uow.session, link.target) if row.state != State.RESOLVED]
            silences.create(
                uow,
                matchers=silence_of([row.labels for row in lasting]),
                starts_at=now,
                ends_at=now + SILENCE,
                created_by=by,
                comment="for an hour, by the link in a message",
                now=now,
            )


def silence_of(labels: Sequence[dict[str, str]]) -> tuple[Matcher, ...]:
    """Matchers for what these alerts have in common, and for nothing wider than their names. Raises Conflict."""
    if not labels:
        raise Conflict("it is over already: there is nothing to silence")
    shared = set(labels[0].items()).intersection(*(other.items() for other in labels[1:]))
    common = dict(sorted(shared))
    names = sorted({alert.get("alertname", "") for alert in labels})
    matchers = [Matcher(name, value) for name, value in common.items()]
    if "alertname" not in common:
        if len(names) > MOST_NAMES:
            raise Conflict(f"these are {len(names)} different alerts: silence them with `smm-admin alerts silence`")
        matchers.append(Matcher("alertname", "|".join(re.escape(name) for name in names), is_regex=True))
    return tuple(matchers)


_MEMBERS = """
SELECT e.* FROM alert_group_members m JOIN alert_episodes e ON e.id = m.episode_id
WHERE m.group_id = :id ORDER BY e.state = 'resolved', e.id
"""


def _rows(session: Session, target: Target) -> Sequence[Row[Any]]:
    one = "SELECT * FROM alert_episodes WHERE id = :id"
    query = text(one if target.kind == "episode" else _MEMBERS)
    return session.execute(query, {"id": target.id}).all()


def _alert(row: Row[Any]) -> Alert:
    return Alert(
        name=row.name,
        severity=row.severity,
        state=State(row.state),
        labels=row.labels,
        summary=row.annotations.get("summary", ""),
        starts_at=row.starts_at,
        acknowledged_by=row.acknowledged_by,
    )
