"""Episodes and notifications as people and programs read them: JSON-ready, with the same keys everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import catalog, clock
from app.alerts import history, rules
from app.alerts.core import State
from app.alerts.matchers import Matcher, joined, matches_all
from app.alerts.silences import Kept
from app.catalog import SEVERITIES, Telling
from app.errors import Invalid, NotFound, Problem
from app.infra.scrub import scrub_text

BATCH = 500
BATCHES = 20
"""Rows looked at for one page where a matcher must be asked about each: 10,000; `next` goes on from there."""

DONE_BY_PEOPLE = ("acknowledged", "unacknowledged", "closed", "comment", "verdict")
STATES_OF_NOTIFICATIONS = ("waiting", "sending", "delivered", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first; `next` is the cursor of the page that follows, None on the last."""

    items: tuple[dict[str, Any], ...]
    next: str | None = None


def list_episodes(
    session: Session,
    *,
    now: datetime,
    state: str | None = None,
    severity: str | None = None,
    team: str | None = None,
    service: str | None = None,
    name: str | None = None,
    matchers: Sequence[Matcher] = (),
    open_only: bool = False,
    limit: int = 50,
    cursor: UUID | None = None,
) -> Page:
    """Alerts, newest first. Raises Invalid for a state or severity that does not exist."""
    _known("state", state, list(State))
    _known("severity", severity, list(SEVERITIES))
    wanted = {"state": state, "severity": severity, "team": team, "service": service, "name": name}
    conditions = [f"{column} = :{column}" for column, value in wanted.items() if value is not None]
    if open_only:
        conditions.append("state <> 'resolved'")
    parameters: dict[str, Any] = dict(wanted)
    for place, matcher in enumerate(_plain(matchers)):
        conditions.append(f"coalesce(labels ->> :label{place}, '') {'=' if matcher.is_equal else '<>'} :value{place}")
        parameters |= {f"label{place}": matcher.name, f"value{place}": matcher.value}
    asked = [matcher for matcher in matchers if matcher.is_regex]
    query = _Query(session, tuple(conditions), parameters, tuple(asked))
    found, following = query.page(limit, cursor)
    deeds = _deeds(session, [row.id for row in found])
    telling = catalog.current().telling
    return Page(tuple(_episode(row, deeds.get(row.id, ()), telling, now) for row in found), following)


def get_episode(session: Session, episode_id: UUID, *, now: datetime) -> dict[str, Any]:
    """One alert with its history, its groups and what was told of them. Raises NotFound."""
    row = session.execute(text("SELECT * FROM alert_episodes WHERE id = :id"), {"id": episode_id}).one_or_none()
    if row is None:
        raise NotFound(f"no alert has the id {episode_id}")
    deeds = _deeds(session, [episode_id]).get(episode_id, ())
    groups = session.execute(text(_GROUPS), {"id": episode_id})
    return {
        **_episode(row, deeds, catalog.current().telling, now),
        "history": history.of_episode(session, episode_id),
        "groups": [_group(group) for group in groups],
        "notifications": list(list_notifications(session, episode_id=episode_id, limit=200).items),
    }


def list_notifications(
    session: Session,
    *,
    state: str | None = None,
    channel: str | None = None,
    group_id: UUID | None = None,
    episode_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    cursor: UUID | None = None,
) -> Page:
    """What was or will be told, newest first. Raises Invalid for a state that does not exist."""
    _known("state", state, STATES_OF_NOTIFICATIONS)
    used = {
        "state = :state": state,
        "channel = :channel": channel,
        "group_id = :group_id": group_id,
        "group_id IN (SELECT group_id FROM alert_group_members WHERE episode_id = :episode_id)": episode_id,
        "created_at >= :since": since,
        "created_at < :until": until,
        "id < :cursor": cursor,
    }
    conditions = [condition for condition, value in used.items() if value is not None]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    parameters = {
        "state": state, "channel": channel, "group_id": group_id, "episode_id": episode_id, "since": since,
        "until": until, "cursor": cursor, "limit": limit + 1,
    }  # fmt: skip
    rows = session.execute(text(f"{_NOTIFICATIONS}{where} ORDER BY id DESC LIMIT :limit"), parameters).all()
    page = rows[:limit]
    return Page(tuple(_notification(row) for row in page), str(page[-1].id) if len(rows) > limit else None)


def silence_shown(silence: Kept, now: datetime) -> dict[str, Any]:
    """A silence, JSON-ready."""
    return {
        "id": silence.id,
        "state": str(silence.state(now)),
        "matchers": [dict(matcher.as_dict()) for matcher in silence.matchers],
        "text": joined(silence.matchers),
        "starts_at": clock.iso(silence.starts_at),
        "ends_at": clock.iso(silence.ends_at),
        "created_by": silence.created_by,
        "comment": silence.comment,
        "created_at": clock.iso(silence.created_at),
        "updated_at": clock.iso(silence.updated_at),
    }


def destination_shown(destination: str) -> str | None:
    """An address as it may be shown: names, chats and mailboxes whole; a key by its first four characters."""
    if not destination:
        return None
    if "@" in destination or destination.startswith("#") or destination.lstrip("-").isdigit():
        return scrub_text(destination)
    return destination if len(destination) < 16 else f"{destination[:4]}…"


_GROUPS = """
SELECT g.*, m.added_at, m.told_at AS member_told_at, m.end_told_at FROM alert_group_members m
JOIN alert_groups g ON g.id = m.group_id WHERE m.episode_id = :id ORDER BY g.id
"""

_NOTIFICATIONS = """
SELECT id, group_id, thread, step, recipient, channel, destination, reason, event, severity, state,
       message ->> 'title' AS title, fact_at, created_at, attempts, sent_at, finished_at, http_status, provider_id,
       latency_ms, error, fallback_of, source FROM notifications
"""

_DEEDS = """
SELECT episode_id, at, event, by, facts FROM alert_history
WHERE episode_id = ANY(:ids) AND event = ANY(:events) ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class _Query:
    """A question to Postgres, and the matchers that it cannot answer."""

    session: Session
    conditions: tuple[str, ...]
    parameters: Mapping[str, Any]
    matchers: tuple[Matcher, ...]

    def page(self, limit: int, cursor: UUID | None) -> tuple[list[Row[Any]], str | None]:
        """Rows that the conditions and every matcher let through, and where to go on."""
        found: list[Row[Any]] = []
        size = BATCH if self.matchers else limit + 1
        for _ in range(BATCHES):
            rows = self._rows(size, cursor)
            for row in rows:
                if not matches_all(self.matchers, row.labels):
                    continue
                if len(found) == limit:
                    return found, str(found[-1].id)
                found.append(row)
            if len(rows) < size:
                return found, None
            cursor = rows[-1].id
        return found, str(cursor)

    def _rows(self, size: int, cursor: UUID | None) -> Sequence[Row[Any]]:
        where = [*self.conditions, "id < :cursor"] if cursor is not None else self.conditions
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        query = text(f"SELECT * FROM alert_episodes{clause} ORDER BY id DESC LIMIT :size")
        return self.session.execute(query, {**self.parameters, "cursor": cursor, "size": size}).all()


def _plain(matchers: Sequence[Matcher]) -> Iterator[Matcher]:
    """Those that Postgres can answer; regular expressions of RE2 it cannot."""
    return (matcher for matcher in matchers if not matcher.is_regex)


def _deeds(session: Session, episodes: Sequence[UUID]) -> dict[UUID, list[str]]:
    """What people did about each, a sentence a deed, oldest first."""
    found: dict[UUID, list[str]] = {}
    if episodes:
        rows = session.execute(text(_DEEDS), {"ids": list(episodes), "events": list(DONE_BY_PEOPLE)})
        for row in rows:
            found.setdefault(row.episode_id, []).append(_deed(row))
    return found


def _deed(row: Row[Any]) -> str:
    said = row.facts.get("comment")
    what = {"comment": "said", "verdict": f"judged it {row.facts.get('verdict', '')}".replace("_", " ")}.get(row.event)
    sentence = f"{clock.iso(row.at)} {row.by or 'somebody'} {what or row.event}"
    return f"{sentence}: {said}" if said else sentence


def _episode(row: Row[Any], deeds: Sequence[str], telling: Telling, now: datetime) -> dict[str, Any]:
    said: Mapping[str, str] = rules.enrich(telling, row.labels, row.annotations)
    taken = said.get("actions_taken", "").splitlines()
    return {
        "id": str(row.id),
        "fingerprint": row.fingerprint,
        "name": row.name,
        "severity": row.severity,
        "team": row.team,
        "service": row.service,
        "labels": row.labels,
        "annotations": row.annotations,
        "state": row.state,
        "starts_at": _iso(row.starts_at),
        "fired_at": _iso(row.fired_at),
        "resolved_at": _iso(row.resolved_at),
        "resolved_by": row.resolved_by,
        "duration_seconds": round(max(0.0, ((row.resolved_at or now) - row.starts_at).total_seconds()), 3),
        "summary": said.get("summary") or None,
        "description": said.get("description") or None,
        "impact": said.get("impact") or None,
        "causes": [line for line in said.get("causes", "").splitlines() if line],
        "recommendation": said.get("recommendation") or None,
        "actions_taken": [line for line in taken if line] + list(deeds),
        "runbook": said.get("runbook") or None,
        "dashboard": said.get("dashboard") or None,
        "acknowledged": _acknowledged(row),
        "muted": row.muted or [],
        "told_at": _iso(row.told_at),
        "verdict": {"verdict": row.verdict, "by": row.verdict_by} if row.verdict else None,
        "flapping": row.flapping,
        "occurrences": row.occurrences,
        "source": row.source,
        "rule": row.rule,
        "subject": row.subject,
        "generator_url": row.generator_url or None,
    }


def _acknowledged(row: Row[Any]) -> dict[str, Any] | None:
    if row.acknowledged_at is None:
        return None
    return {"by": row.acknowledged_by, "at": _iso(row.acknowledged_at), "until": _iso(row.acknowledged_until)}


def _group(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "route": row.route,
        "receiver": row.receiver,
        "labels": row.labels,
        "severity": row.severity,
        "team": row.team,
        "ladder": row.ladder["name"] if row.ladder else None,
        "opened_at": _iso(row.opened_at),
        "closed_at": _iso(row.closed_at),
        "due_at": _iso(row.due_at),
        "told_at": _iso(row.told_at),
        "told_count": row.told_count,
        "waiting_since": _iso(row.waiting_since),
        "step": row.step,
        "repeats": row.repeats,
        "acknowledged": row.acknowledged,
        "held": row.held,
        "member": {
            "added_at": _iso(row.added_at),
            "told_at": _iso(row.member_told_at),
            "end_told_at": _iso(row.end_told_at),
        },
    }


def _notification(row: Row[Any]) -> dict[str, Any]:
    took = (row.finished_at - row.fact_at).total_seconds() if row.finished_at else None
    return {
        "id": str(row.id),
        "group_id": str(row.group_id) if row.group_id else None,
        "thread": row.thread,
        "step": row.step,
        "recipient": row.recipient,
        "channel": row.channel,
        "destination": destination_shown(row.destination),
        "reason": row.reason,
        "event": row.event,
        "severity": row.severity,
        "title": row.title,
        "state": row.state,
        "fact_at": _iso(row.fact_at),
        "created_at": _iso(row.created_at),
        "sent_at": _iso(row.sent_at),
        "finished_at": _iso(row.finished_at),
        "seconds_from_fact": None if took is None else round(took, 3),
        "attempts": row.attempts,
        "http_status": row.http_status,
        "latency_ms": row.latency_ms,
        "error": row.error,
        "fallback_of": str(row.fallback_of) if row.fallback_of else None,
        "source": row.source,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else clock.iso(moment)


def _known(field: str, given: str | None, known: Sequence[str]) -> None:
    if given is not None and given not in known:
        raise Invalid([Problem(field, f"must be one of {', '.join(known)}")], subject="filter")
