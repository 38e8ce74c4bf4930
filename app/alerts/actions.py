"""What was done by itself about a service, kept with its alerts and told to those who know of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app import catalog
from app.alerts import history, store
from app.alerts.core import ACTIONS_TAKEN, State
from app.catalog import Telling
from app.errors import Transient
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.infra.scrub import scrub_text
from app.infra.text import storable

ACTED = "acted"
"""The event in an alert's history."""

MOST_LINES = 30
LONGEST_LINE = 300

Source = Callable[[UnitOfWork, str, datetime], Sequence[str]]
"""The lines about a service as they stand now: (transaction, service, now)."""

log = get_logger(__name__)

_source: Source | None = None


def use(source: Source | None) -> None:
    """Composition: where an alert that opens learns what was done before anybody knew of it."""
    global _source
    _source = source


def note_actions(
    uow: UnitOfWork,
    service: str,
    lines: Sequence[str],
    *,
    tell: bool,
    now: datetime,
    since: datetime | None = None,
) -> list[UUID]:
    """Let the open alerts about a service say what was done: `12:03:05 restarted container claw-qdrant`, oldest first.

    `lines` are all there is to say, and take the place of what was noted before. Alerts of others count by their label
    `service`. `tell`: whoever was told of such an alert is told once more, in one message however many notes come
    before the next pass. `since`: only alerts that were raised, or raised again, since then. The ids of those alerts.
    Locks their groups, then them.
    """
    said = text_of(lines)
    if not said:
        return []
    take_turn(uow, [service])
    rows = [row for row in store.lock_episodes(uow, _open(uow, service, since)) if row.state != State.RESOLVED]
    found: list[UUID] = [row.id for row in rows]
    if found:
        _keep(uow, rows, said, now)
    if found and tell:
        _mark(uow, found, now)
    return found


def text_of(lines: Iterable[str]) -> str:
    """One line for each, without secrets, none too long; of many the newest."""
    whole = [storable(" ".join(scrub_text(line).split()), limit=LONGEST_LINE) for line in lines]
    kept = [line for line in whole if line]
    earlier = len(kept) - MOST_LINES
    return "\n".join([f"({earlier} earlier ones are left out)", *kept[earlier:]] if earlier > 0 else kept)


def take_turn(uow: UnitOfWork, services: Iterable[str]) -> None:
    """Wait for others that note something about these services, or open an alert about one: neither misses the other.

    To be called before groups and episodes are locked.
    """
    for service in sorted(set(services)) if _source is not None else ():
        uow.execute("SELECT pg_advisory_xact_lock(hashtext('alerts: actions about ' || :service))", service=service)


def known(uow: UnitOfWork, service: str | None, now: datetime) -> dict[str, str]:
    """The annotation of an alert about this service that opens now. No trouble with it keeps the alert from opening."""
    if _source is None or service is None:
        return {}
    try:
        with uow.session.begin_nested():
            said = text_of(_source(uow, service, now))
    except Transient:
        raise
    except Exception:
        log.exception("what was done about a service cannot be read", service=service)
        return {}
    return {ACTIONS_TAKEN: said} if said else {}


def _open(uow: UnitOfWork, service: str, since: datetime | None) -> list[UUID]:
    """Open alerts about the service that others posted, or that its health raised; not locked yet."""
    rows = uow.execute(
        "SELECT id FROM alert_episodes WHERE state <> 'resolved' AND service = :service"
        " AND (rule IS NULL OR rule = ANY(:rules))"
        " AND updated_at >= coalesce(CAST(:since AS timestamptz), '-infinity')",
        service=service,
        rules=_about_health(catalog.current().telling),
        since=since,
    )
    return [row.id for row in rows]


def _about_health(telling: Telling) -> list[str]:
    return [name for name, rule in telling.alerts.items() if any(kind.startswith("health.") for kind in rule.on)]


def _keep(uow: UnitOfWork, rows: Sequence[Row[Any]], said: str, now: datetime) -> None:
    uow.execute(
        "UPDATE alert_episodes SET annotations = annotations || CAST(:taken AS jsonb) WHERE id = ANY(:ids)",
        taken=json.dumps({ACTIONS_TAKEN: said}),
        ids=[row.id for row in rows],
    )
    entries = []
    for row in rows:
        before = row.annotations.get(ACTIONS_TAKEN, "").splitlines()
        new = [line for line in said.splitlines() if line not in before]
        if new:
            entries.append(history.Entry(ACTED, row.id, facts={"actions": new}, at=now))
    history.add_many(uow, entries)


def _mark(uow: UnitOfWork, episodes: Sequence[UUID], now: datetime) -> None:
    """Where somebody was told of these alerts, there is more to tell."""
    marked = uow.execute(
        "UPDATE alert_group_members m SET acted_at = :now FROM alert_groups g WHERE g.id = m.group_id"
        " AND g.closed_at IS NULL AND m.told_at IS NOT NULL AND m.episode_id = ANY(:episodes) RETURNING m.episode_id",
        now=now,
        episodes=list(episodes),
    )
    store.wake_groups_of(uow, sorted({row.episode_id for row in marked}))
