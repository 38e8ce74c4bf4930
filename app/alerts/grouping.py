"""New episodes find their groups; on the way it is seen whether they flap, and whether they were told just now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.alerts import history, routes, store
from app.alerts.core import is_flapping
from app.catalog import SEVERITIES, Alerting, Catalog
from app.infra.db import UnitOfWork

BATCH = 2000


def group_new(uow: UnitOfWork, now: datetime, catalog: Catalog) -> int:
    """Put episodes that are in no group into theirs; how many there were, at most BATCH."""
    rows = store.unrouted(uow, BATCH)
    if not rows:
        return 0
    _mark(uow, rows, now, catalog.telling.alerting)
    placed: dict[str, Any] = {}
    members: list[tuple[str, UUID]] = []
    for row in rows:
        labels = routes.seen(row.labels, severity=row.severity, team=row.team, service=row.service)
        for place in routes.place(catalog, labels, severity=row.severity, team=row.team):
            known = placed.setdefault(place.thread, place.row)
            if _rank(place.row) > _rank(known):
                placed[place.thread] = place.row
            members.append((place.thread, row.id))
    opened = store.open_groups(uow, list(placed.values()), now)
    store.add_members(uow, [(opened[thread], episode) for thread, episode in members], now)
    new = [group for thread, group in opened.items() if str(group) == placed[thread]["id"]]
    history.add_many(uow, [history.Entry("group_opened", group_id=group) for group in new])
    return len(rows)


def _rank(row: Mapping[str, Any]) -> int:
    severity = row["severity"]
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def _mark(uow: UnitOfWork, rows: Sequence[Row[Any]], now: datetime, alerting: Alerting) -> None:
    cooldown, window = timedelta(seconds=alerting.cooldown), timedelta(seconds=alerting.flap_window)
    past = store.past(uow, [row.fingerprint for row in rows], now - max(cooldown, window))
    marks = []
    for row in rows:
        # A test alert comes back on schedule: neither is it flapping, nor was it told enough.
        before = None if routes.is_test(row.labels) else past.get(row.fingerprint)
        ends = 0 if before is None else before.ends
        flapping = is_flapping(2 * ends + 1, limit=alerting.flap_changes)
        quiet = None
        if before is not None and before.told_at is not None and row.severity != "critical":
            quiet = before.told_at + cooldown
        marks.append({"id": row.id, "flapping": flapping, "quiet_until": quiet if quiet and quiet > now else None})
    store.save_routed(uow, marks)
    history.add_many(uow, [history.Entry("flapping", episode_id=mark["id"]) for mark in marks if mark["flapping"]])
