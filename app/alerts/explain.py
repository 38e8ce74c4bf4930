"""Who is told of an alert, when, by what, or why not: of one that is there, or of one that might come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import catalog as catalogs
from app import clock
from app.alerts import fingerprint as fingerprints
from app.alerts import groups, history, muted, overrides, recipients, routes, rules
from app.alerts.core import State
from app.alerts.groups import Group, LadderPlan
from app.alerts.reading import destination_shown
from app.alerts.recipients import Destination
from app.alerts.rows import group_of
from app.catalog import BusinessHours, Catalog
from app.errors import Invalid, NotFound, Problem
from app.infra import ids

MOST_NOTIFICATIONS = 100


@dataclass(frozen=True, slots=True)
class Draft:
    """An alert that might come, as far as muting looks at one."""

    labels: Mapping[str, str]
    severity: str
    team: str | None
    service: str | None
    quiet_until: datetime | None = None


def dry_run(
    session: Session, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None, *, now: datetime
) -> dict[str, Any]:
    """What would happen to an alert with these labels that began to fire `now`. Raises Invalid without a name."""
    if not labels.get("alertname"):
        raise Invalid([Problem("labels.alertname", "is required")], subject="alert")
    catalog = catalogs.current()
    severity = rules.severity_of(catalog.telling, labels)
    team = rules.team_of(catalog.telling, labels, teams=rules.teams_of(catalog))
    service = rules.service_of(labels)
    draft = Draft(labels, severity, team, service)
    present = muted.muting_now(session, now, catalog)
    seen = routes.seen(labels, severity=severity, team=team, service=service)
    placed = [
        (place.row, muted.held_of(present, draft, now, _hours(place.row["ladder"])))
        for place in routes.place(catalog, seen, severity=severity, team=team)
    ]
    return {
        "at": clock.iso(now),
        "fingerprint": fingerprints.fingerprint(labels),
        "name": labels["alertname"],
        "severity": severity,
        "team": team,
        "service": service,
        "annotations": dict(rules.enrich(catalog.telling, labels, annotations or {})),
        "muted": _union(held for _, held in placed),
        "told": any(not held.is_silent for _, held in placed),
        "routes": [_planned(session, catalog, row, held, now) for row, held in placed],
    }


def _hours(ladder: Mapping[str, Any] | None) -> BusinessHours | None:
    plan = routes.ladder_from_json(ladder)
    return plan.hours if plan is not None else None


def _union(every: Iterable[muted.Held]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for held in every:
        found += [mute for mute in held.as_json() if mute not in found]
    return found


def _planned(
    session: Session, catalog: Catalog, row: Mapping[str, Any], held: muted.Held, now: datetime
) -> dict[str, Any]:
    """One route as it would be taken: the open group that the alert would join, or when a new one would speak."""
    timing = routes.timing_from_json(row["timing"])
    ladder = routes.ladder_from_json(row["ladder"])
    joined = _open_group(session, str(row["thread"]))
    at: datetime | None = max(now + timing.wait, held.not_before or now)
    if joined is not None and joined.told_at is not None:
        at = max(now, joined.told_at + timing.interval, held.not_before or now)
    if held.is_silent:
        at = None
    names = [f"receiver:{row['receiver']}"] if row["receiver"] else []
    return {
        "route": row["route"],
        "receiver": row["receiver"],
        "group": {"labels": dict(row["labels"]), "thread": row["thread"], "joins": str(joined.id) if joined else None},
        "first_message_at": clock.iso(at) if at else None,
        **_people(session, catalog, names, row["team"], now, otherwise=ladder),
        "repeated_every_seconds": timing.repeat.total_seconds(),
        "ladder": _steps(session, catalog, ladder, row["team"], since=at, now=now, taken=0),
    }


def _people(
    session: Session,
    catalog: Catalog,
    names: Sequence[str],
    team: str | None,
    now: datetime,
    *,
    otherwise: LadderPlan | None = None,
) -> dict[str, Any]:
    """Who these recipients are; where they are nobody, who the first step of the ladder names that reaches somebody."""
    swaps = overrides.current(session, now)
    steps = otherwise.steps if otherwise is not None else ()
    reasons: list[str] = []
    destinations: tuple[Destination, ...] = ()
    for number, words in enumerate((names, *(step.notify for step in steps))):
        found = recipients.expand(words, telling=catalog.telling, team=team, now=now, overrides=swaps)
        destinations = destinations or found.destinations
        reasons += found.reasons
        if any(item.enabled for item in found.destinations):
            destinations = found.destinations
            reasons += [f"the receiver reaches nobody: step {number} of the ladder is told at once"] if number else []
            break
    listed = [
        {
            "shown": item.shown,
            "recipient": item.recipient,
            "person": item.person,
            "channel": item.channel,
            "to": destination_shown(item.to or ""),
            "enabled": item.enabled,
        }
        for item in destinations
    ]
    return {"recipients": listed, "not_told": reasons if listed else [*reasons, groups.NOBODY]}


def _steps(
    session: Session,
    catalog: Catalog,
    ladder: LadderPlan | None,
    team: str | None,
    *,
    since: datetime | None,
    now: datetime,
    taken: int,
) -> list[dict[str, Any]]:
    """The steps that are left, each with the moment at which it is taken unless somebody answers before."""
    steps = []
    for number, step in enumerate(ladder.steps if ladder else (), start=1):
        if number <= taken:
            continue
        since = ladder.after(since, step.after) if ladder is not None and since is not None else None
        steps.append(
            {
                "step": number,
                "at": clock.iso(since) if since else None,
                "notify": list(step.notify),
                **_people(session, catalog, step.notify, team, now),
            }
        )
    return steps


def explain_episode(session: Session, episode_id: UUID, *, now: datetime) -> dict[str, Any]:
    """Everything that decides about an alert, what was told of it, and what comes next. Raises NotFound."""
    row = session.execute(text("SELECT * FROM alert_episodes WHERE id = :id"), {"id": episode_id}).one_or_none()
    if row is None:
        raise NotFound(f"no alert has the id {episode_id}")
    catalog = catalogs.current()
    is_open = row.state != State.RESOLVED
    groups_of = _groups_of(session, row.id)
    present = muted.muting_now(session, now, catalog)
    ladders = [group.ladder for group in groups_of if group.closed_at is None] or [None]
    held = [muted.held_of(present, row, now, _hours(ladder)) for ladder in ladders] if is_open else []
    return {
        "id": str(row.id),
        "at": clock.iso(now),
        "fingerprint": row.fingerprint,
        "name": row.name,
        "labels": row.labels,
        "severity": row.severity,
        "team": row.team,
        "state": row.state,
        "why": _why(row),
        "muted": _union(held),
        "groups": [_group(session, catalog, row, group, now) for group in groups_of],
        "history": history.of_episode(session, row.id, 200),
    }


def _why(row: Row[Any]) -> str:
    """The episode's state in a sentence."""
    match State(row.state):
        case State.PENDING if row.fires_at:
            return f"seen since {clock.iso(row.starts_at)}; fires at {clock.iso(row.fires_at)} if it lasts"
        case State.PENDING:
            return f"seen {row.occurrences} times; its rule wants more before it fires"
        case State.FIRING if row.held:
            return f"it ended, but it flaps: believed at {clock.iso(row.ends_at)} if it stays quiet"
        case State.FIRING if not row.routed:
            return "fires, and is about to be grouped"
        case State.FIRING:
            return f"fires since {clock.iso(row.starts_at)}"
        case State.ACKNOWLEDGED:
            until = f" until {clock.iso(row.acknowledged_until)}" if row.acknowledged_until else ""
            return f"acknowledged by {row.acknowledged_by}{until}"
        case State.RESOLVED:
            return f"over since {clock.iso(row.resolved_at)} ({row.resolved_by or 'resolved'})"


def _group(session: Session, catalog: Catalog, episode: Row[Any], row: Row[Any], now: datetime) -> dict[str, Any]:
    group = group_of(row)
    receiver = [f"receiver:{row.receiver}"] if row.receiver else []
    return {
        "id": str(row.id),
        "route": row.route,
        "receiver": row.receiver,
        "labels": row.labels,
        "thread": row.thread,
        "alerts": row.alerts,
        "opened_at": clock.iso(row.opened_at),
        "closed_at": _iso(row.closed_at),
        "told_at": _iso(row.told_at),
        "told_count": row.told_count,
        "step": row.step,
        "waiting_since": _iso(row.waiting_since),
        "held": row.held,
        "next_look_at": _iso(row.due_at),
        "next": _next(row, group),
        **_people(session, catalog, receiver, row.team, now, otherwise=group.ladder),
        "ladder": _steps(session, catalog, group.ladder, row.team, since=row.waiting_since, now=now, taken=row.step),
        "notifications": _notifications(session, row.id, since=row.added_at, told=episode.told_at),
    }


def _next(row: Row[Any], group: Group) -> str:
    """What happens next, in a sentence."""
    if row.closed_at is not None:
        return "nothing: the group is closed"
    if row.acknowledged:
        return "nothing until the acknowledgement runs out or something new fires"
    if row.told_at is None:
        return f"{row.held or 'the first message'}; looked at again at {_iso(row.due_at)}"
    due = groups.step_due(group)
    if due is not None and row.waiting_since is not None:
        return f"without an answer, step {row.step + 1} of the ladder at {clock.iso(due)}"
    return f"told again at {clock.iso(row.told_at + group.timing.repeat)} unless somebody answers"


def _groups_of(session: Session, episode_id: UUID) -> Sequence[Row[Any]]:
    return session.execute(
        text(
            "SELECT g.*, m.added_at, (SELECT count(*) FROM alert_group_members WHERE group_id = g.id) AS alerts"
            " FROM alert_group_members m JOIN alert_groups g ON g.id = m.group_id"
            " WHERE m.episode_id = :id ORDER BY g.id"
        ),
        {"id": episode_id},
    ).all()


def _open_group(session: Session, thread: str) -> Row[Any] | None:
    return session.execute(
        text("SELECT * FROM alert_groups WHERE thread = :thread AND closed_at IS NULL"), {"thread": thread}
    ).one_or_none()


def _notifications(session: Session, group_id: UUID, *, since: datetime, told: datetime | None) -> list[dict[str, Any]]:
    """What the group was told since this alert was in it."""
    rows = session.execute(
        text("SELECT * FROM notifications WHERE group_id = :id AND id >= :floor ORDER BY id LIMIT :limit"),
        {"id": group_id, "floor": ids.floor(min(since, told or since)), "limit": MOST_NOTIFICATIONS},
    )
    return [
        {
            "id": str(row.id),
            "at": clock.iso(row.created_at),
            "reason": row.reason,
            "step": row.step,
            "recipient": row.recipient,
            "channel": row.channel,
            "to": destination_shown(row.destination),
            "state": row.state,
            "attempts": row.attempts,
            "finished_at": _iso(row.finished_at),
            "error": row.error,
        }
        for row in rows
    ]


def _iso(moment: datetime | None) -> str | None:
    return clock.iso(moment) if moment is not None else None
