"""What holds the alerts of some groups back right now; the reason is stored with each alert when it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app import clock
from app.alerts import muting, routes, silences, store
from app.alerts.matchers import parse
from app.alerts.muting import By, Mute, Muting
from app.catalog import Catalog, Inhibition, Telling
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
    return Muting(
        silences.active(session, now), telling.inhibitions, telling.mutes, _sources(session, telling.inhibitions)
    )


def _sources(session: Session, inhibitions: Sequence[Inhibition]) -> Iterator[tuple[str, dict[str, str]]]:
    """What may inhibit, read when the first target comes."""
    yield from store.firing(session, source_names(inhibitions))


def held_of(present: Muting, row: Any, now: datetime, telling: Telling) -> Held:
    """What holds this alert back. `row` has labels, severity, team and quiet_until."""
    found = [
        *present.of(row.labels, now),
        muting.cooldown(row.quiet_until, now, severity=row.severity),
        _outside_hours(row, now, telling),
    ]
    mutes = tuple(mute for mute in found if mute is not None)
    waits = [mute.until for mute in mutes if mute.by not in _SILENT and mute.until is not None]
    return Held(mutes, max(waits, default=None))


def _outside_hours(row: Any, now: datetime, telling: Telling) -> Mute | None:
    """Held back until work begins, where the ladder of its severity says that it can wait."""
    ladder = telling.ladders.get(row.severity)
    if ladder is None or not ladder.business_hours or routes.SYNTHETIC in row.labels:
        return None
    return muting.outside_hours(routes.hours_of(telling, row.team), now)


def source_names(inhibitions: Sequence[Inhibition]) -> list[str] | None:
    """The names that causes can have, where every rule names one; None: any alert may be a cause."""
    names: set[str] = set()
    for inhibition in inhibitions:
        matchers = map(parse, inhibition.source)
        named = [m.value for m in matchers if m.name == "alertname" and m.is_equal and not m.is_regex]
        if not named:
            return None
        names.update(named)
    return sorted(names)
