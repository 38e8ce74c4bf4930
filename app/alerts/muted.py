"""What holds the alerts of some groups back right now; the reason is stored with each alert when it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app import clock
from app.alerts import causes, dependencies, muting, routes, silences, store
from app.alerts.core import State
from app.alerts.muting import By, Mute, Muting
from app.catalog import BusinessHours, Catalog, Telling
from app.infra.db import UnitOfWork

_SILENT = (By.SILENCE, By.INHIBITION, By.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class Held:
    """What holds one alert back. `not_before`: its first message waits for that moment; later ones do not."""

    mutes: tuple[Mute, ...]
    not_before: datetime | None = None

    @property
    def is_silent(self) -> bool:
        """Is it held back whatever people were told before (a silence, a window, its cause)?"""
        return any(mute.by in _SILENT for mute in self.mutes)

    def as_json(self) -> list[dict[str, Any]]:
        """For the alert's row and for people."""
        return [
            {
                "by": mute.by,
                "id": mute.id,
                "reason": mute.reason,
                "until": clock.iso(mute.until) if mute.until else None,
            }
            for mute in self.mutes
        ]


Key = tuple[UUID, UUID]
"""(group, episode): the same alert may wait for business hours in one group and not in another."""


def of_members(
    uow: UnitOfWork, groups: Sequence[Row[Any]], members: Mapping[UUID, Sequence[Row[Any]]], now: datetime,
    catalog: Catalog,
) -> dict[Key, Held]:  # fmt: skip
    """What holds back each sounding alert of these groups; only those that are held. Stores what changed."""
    present = muting_now(uow.session, now, catalog)
    found: dict[Key, Held] = {}
    said: dict[UUID, list[dict[str, Any]]] = {}
    before: dict[UUID, Any] = {}
    for group in groups:
        ladder = routes.ladder_from_json(group.ladder)
        for row in members[group.id]:
            if row.state == State.RESOLVED:
                continue
            held = held_of(present, row, now, ladder.hours if ladder is not None else None)
            before[row.id] = row.muted
            listed = said.setdefault(row.id, [])
            listed += [mute for mute in held.as_json() if mute not in listed]
            if held.mutes:
                found[group.id, row.id] = held
    changed = [{"id": key, "muted": mutes or None} for key, mutes in said.items() if (mutes or None) != before[key]]
    if changed:
        store.save_mutes(uow, changed)
    return found


def muting_now(session: Session, now: datetime, catalog: Catalog) -> Muting:
    """Silences, windows and firing causes as they stand."""
    telling = catalog.telling
    return Muting(
        silences.active(session, now),
        telling.inhibitions,
        telling.mutes,
        causes.of_inhibitions(session, telling.inhibitions),
        {name: service.maintenance for name, service in catalog.services.items()},
        dependencies=dependencies.of_catalog(catalog, causes.down(session, telling, now), causes.failing(session)),
    )


def held_of(present: Muting, row: Any, now: datetime, hours: BusinessHours | None) -> Held:
    """What holds this alert back. `row` has labels, severity, team, service and quiet_until.

    `hours`: those that its ladder waits for, if it does; what is critical never waits. Silences may speak of the labels
    as they came or as they are seen here.
    """
    labels = routes.seen(row.labels, severity=row.severity, team=row.team, service=row.service)
    said = present.of(labels, now)
    if labels != row.labels:
        said += tuple(mute for mute in present.of(row.labels, now) if mute.by is By.SILENCE and mute not in said)
    waits = [
        muting.cooldown(row.quiet_until, now, severity=row.severity),
        muting.outside_hours(hours, now) if hours is not None and row.severity != "critical" else None,
    ]
    mutes = (*said, *(mute for mute in waits if mute is not None))
    until = [mute.until for mute in mutes if mute.by not in _SILENT and mute.until is not None]
    return Held(mutes, max(until, default=None))


def hours_of(telling: Telling, severity: str, team: str | None) -> BusinessHours | None:
    """The hours that alerts of this severity wait for by its own ladder; None: they do not."""
    ladder = telling.ladders.get(severity)
    return routes.hours_of(telling, team) if ladder is not None and ladder.business_hours else None
