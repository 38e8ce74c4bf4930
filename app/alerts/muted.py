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
from app.alerts import hours, muting, routes, silences, store
from app.alerts.muting import Mute, Muting
from app.catalog import Catalog, Inhibition, Telling
from app.infra.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class Held:
    """What holds one alert back. `not_before`: its first message waits for that moment; later ones do not."""

    mutes: tuple[Mute, ...]
    not_before: datetime | None = None

    @property
    def is_silent(self) -> bool:
        """Is it held back whatever people were told before (a silence, a window, its cause)?"""
        return any(mute.by in muting.SILENT for mute in self.mutes)

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


def of_members(
    uow: UnitOfWork, members: Mapping[UUID, Sequence[Row[Any]]], now: datetime, catalog: Catalog
) -> dict[UUID, Held]:
    """What holds back each sounding alert of these groups; only those that are held. Stores what changed."""
    sounding = {row.id: row for rows in members.values() for row in rows if row.state != "resolved"}
    if not sounding:
        return {}
    present = muting_now(uow.session, now, catalog)
    found: dict[UUID, Held] = {}
    changed = []
    for key, row in sounding.items():
        held = held_of(present, row, now, catalog.telling)
        if held.mutes:
            found[key] = held
        said = held.as_json() or None
        if said != row.muted:
            changed.append({"id": key, "muted": said})
    if changed:
        store.save_mutes(uow, changed)
    return found


def muting_now(session: Session, now: datetime, catalog: Catalog) -> Muting:
    """Silences, windows and firing causes as they stand."""
    telling = catalog.telling
    sources = store.firing(session, _source_names(telling.inhibitions)) if telling.inhibitions else []
    return Muting(silences.active(session, now), telling.inhibitions, telling.mutes, sources)


def held_of(present: Muting, row: Any, now: datetime, telling: Telling) -> Held:
    """What holds this alert back. `row` has fingerprint, labels, severity, team and quiet_until."""
    mutes = [*present.of(row.fingerprint, row.labels, now)]
    waits = []
    if row.quiet_until is not None and row.quiet_until > now:
        mutes.append(muting.cooldown(row.quiet_until))
        waits.append(row.quiet_until)
    ladder = telling.ladders.get(row.severity)
    if ladder is not None and ladder.business_hours and routes.SYNTHETIC not in row.labels:
        opens = hours.opens_at(routes.hours_of(telling, row.team), now)
        if opens > now:
            mutes.append(muting.outside_hours(opens, row.team))
            waits.append(opens)
    return Held(tuple(mutes), max(waits, default=None))


def _source_names(inhibitions: Sequence[Inhibition]) -> list[str] | None:
    """The names that causes can have, where every rule names one; None: any alert may be a cause."""
    names: set[str] = set()
    for inhibition in inhibitions:
        named = muting.names_of(inhibition)
        if named is None:
            return None
        names |= named
    return sorted(names)
