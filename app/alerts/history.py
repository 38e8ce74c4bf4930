"""What happened to episodes and groups, appended and never changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.text import json_safe


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, `at` (default: now), by somebody or by the product itself ("")."""

    event: str
    episode_id: UUID | None = None
    group_id: UUID | None = None
    by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


class _Ids:
    """Ids of one process in the order in which they were asked for, also within a millisecond: the story's order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = UUID(int=0)

    def after(self, at: datetime | None) -> UUID:
        """A new id. Things told to have happened at another time are sorted by that."""
        made = ids.uuid7(at)
        if at is not None:
            return made
        with self._lock:
            self._last = made if made > self._last else UUID(int=self._last.int + 1)
            return self._last


_ids = _Ids()


def add(
    uow: UnitOfWork,
    event: str,
    *,
    episode_id: UUID | None = None,
    group_id: UUID | None = None,
    by: str = "",
    facts: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> None:
    """Append one entry in this transaction."""
    add_many(uow, [Entry(event, episode_id, group_id, by, facts or {}, at)])


def add_many(uow: UnitOfWork, entries: Iterable[Entry]) -> None:
    """Append entries in their order, in one statement."""
    rows = [_row(entry) for entry in entries]
    if not rows:
        return
    uow.execute(
        "INSERT INTO alert_history (id, at, episode_id, group_id, event, by, facts)"
        " SELECT r.id, coalesce(r.at, now()), r.episode_id, r.group_id, r.event, r.by, r.facts"
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, at timestamptz, episode_id uuid,"
        " group_id uuid, event text, by text, facts jsonb)",
        rows=json.dumps(rows, default=str),
    )


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "id": _ids.after(entry.at),
        "at": clock.iso(entry.at) if entry.at else None,
        "episode_id": entry.episode_id,
        "group_id": entry.group_id,
        "event": entry.event,
        "by": entry.by,
        "facts": json_safe(dict(entry.facts)),
    }


def of_episode(session: Session, episode_id: UUID, limit: int = 500) -> list[dict[str, Any]]:
    """What happened to an episode and to the groups while it was in them, oldest first, JSON-ready."""
    rows = session.execute(
        text(
            "(SELECT * FROM alert_history WHERE episode_id = :id ORDER BY id LIMIT :limit) UNION ALL"
            " (SELECT h.* FROM alert_group_members m CROSS JOIN LATERAL (SELECT * FROM alert_history"
            " WHERE group_id = m.group_id AND episode_id IS NULL ORDER BY id LIMIT :limit) h WHERE m.episode_id = :id)"
            " ORDER BY id LIMIT :limit"
        ),
        {"id": episode_id, "limit": limit},
    )
    return [{"at": clock.iso(row.at), "event": row.event, "by": row.by or None, "facts": row.facts} for row in rows]
