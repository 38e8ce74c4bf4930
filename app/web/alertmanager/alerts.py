"""/api/v2/alerts and /api/v2/alerts/groups: what is open now, whoever raised it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cmp_to_key
from typing import Annotated, Any

from fastapi import Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import catalog, clock
from app.alerts import ingest, muted, routes, routing, rules
from app.alerts.alertmanager_config import NOBODY
from app.alerts.muting import By
from app.alerts.routing import Target
from app.catalog import Catalog
from app.errors import Transient
from app.infra.db import read_only
from app.infra.logging import get_logger
from app.web.alertmanager.filters import Wanted, wanted
from app.web.alertmanager.refusals import endpoints

log = get_logger(__name__)

router = endpoints()

Query = Annotated[Wanted, Depends(wanted)]


@dataclass(frozen=True, slots=True)
class Shown:
    """One alert that was asked for: where it goes, and how Alertmanager would describe it."""

    labels: Mapping[str, str]
    targets: Sequence[Target]
    document: dict[str, Any]


@router.get("/alerts", summary="Alerts that are open", response_model=None)
def list_alerts(query: Query) -> Response:
    """By fingerprint. What was accepted before this call is in it."""
    return JSONResponse([shown.document for shown in _shown(query, clock.now())])


@router.get("/alerts/groups", summary="Alerts that are open, as they are told together", response_model=None)
def list_groups(query: Query) -> Response:
    """By their labels; an alert is in each group that its routes make."""
    groups: dict[str, dict[str, Any]] = {}
    for shown in _shown(query, clock.now()):
        for target in shown.targets:
            labels = routing.group_labels(target, shown.labels)
            group = groups.setdefault(
                routing.thread(target, labels),
                {"labels": labels, "receiver": {"name": target.receiver or NOBODY}, "routeLabels": {}, "alerts": []},
            )
            group["alerts"].append(shown.document)
    ordered = sorted(groups.values(), key=lambda group: (_rank(group["labels"]), group["receiver"]["name"]))
    return JSONResponse(ordered)


def _compared(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    """Alertmanager's order of label sets: fewer labels first; then, by name, what lacks a label before what has it."""
    if len(one) != len(other):
        return len(one) - len(other)
    for name in sorted({*one, *other}):
        mine, its = one.get(name), other.get(name)
        if mine != its:
            return -1 if mine is None or (its is not None and mine < its) else 1
    return 0


_rank = cmp_to_key(_compared)


def _shown(query: Wanted, now: datetime) -> Iterator[Shown]:
    """The alerts asked for, by fingerprint."""
    try:
        ingest.drain(now)
    except Transient as error:
        log.warning("posted alerts could not be merged before they were asked for", error=str(error))
    current = catalog.current()
    router_ = routes.router(current)
    with read_only() as session:
        present = muted.muting_now(session, now, current)
        for row in _open(session, now):
            if not query.has(row.labels):
                continue
            seen = routes.seen(row.labels, severity=row.severity, team=row.team, service=row.service)
            targets = router_.match(seen)
            wanted_targets = [target for target in targets if query.is_for(target.receiver)]
            if not wanted_targets:
                continue
            hours = muted.hours_of(current.telling, row.severity, row.team)
            status = _status(row, muted.held_of(present, row, now, hours))
            if query.shows(status):
                yield Shown(row.labels, wanted_targets, _document(row, status, targets, current, now))


def _open(session: Session, now: datetime) -> Sequence[Row[Any]]:
    return session.execute(
        text(
            "SELECT * FROM alert_episodes WHERE state <> 'resolved' AND (ends_at IS NULL OR ends_at > :now)"
            " ORDER BY fingerprint"
        ),
        {"now": now},
    ).all()


def _status(row: Row[Any], held: muted.Held) -> dict[str, Any]:
    """`unprocessed` is what is not confirmed yet; `mutedBy` names windows, business hours and cooldown."""
    by: dict[str, list[str]] = {"silencedBy": [], "inhibitedBy": [], "mutedBy": []}
    for mute in held.mutes:
        match mute.by:
            case By.SILENCE:
                by["silencedBy"].append(mute.id or "")
            case By.INHIBITION:
                by["inhibitedBy"].append(mute.id or "")
            case _:
                by["mutedBy"].append(mute.id or str(mute.by))
    state = "unprocessed" if row.state == "pending" else "suppressed" if held.mutes else "active"
    return {"state": state, **by}


def _document(
    row: Row[Any], status: dict[str, Any], targets: Sequence[Target], current: Catalog, now: datetime
) -> dict[str, Any]:
    """An alert as Alertmanager shows it. What ends only by a word of ours is shown as ending after a while."""
    lasts = timedelta(seconds=current.telling.alerting.resolve_after)
    shown = {
        "annotations": rules.enrich(current.telling, row.labels, row.annotations),
        "endsAt": clock.iso(row.ends_at or now + lasts),
        "fingerprint": row.fingerprint,
        "receivers": [{"name": target.receiver or NOBODY} for target in targets],
        "startsAt": clock.iso(row.starts_at),
        "status": status,
        "updatedAt": clock.iso(row.updated_at),
        "labels": row.labels,
    }
    return shown | ({"generatorURL": row.generator_url} if row.generator_url else {})
