"""The status document from what is stored: Postgres, or the watchdog's file while it is away. Never a fresh probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app import catalog
from app.catalog import Catalog, in_maintenance, outward
from app.clock import iso
from app.config import Settings, settings
from app.errors import Invalid
from app.health import statefile, store
from app.health.core import State
from app.health.document import Shown, build
from app.health.specs import resolve_all
from app.health.standing import STALE_AT_LEAST, StackState, stale_after, standing
from app.jobs import admin

BROKEN = "the catalogue file is broken, the last good one stays in force: "
NO_CHANNEL = "no alert channel is configured: nobody will be told when something fails"


def document(
    session: Session, now: datetime, *, current: Catalog | None = None, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The stored state of everything. `current` is the process's catalogue unless given."""
    known, notices = (current, []) if current is not None else _catalogue()
    rows = store.present(session)
    services = [_shown(row, known, now) for row in rows]
    heard = statefile.read(statefile.path_in(settings().run_dir))
    notices = [*_mute(known), *notices, *_silent(rows, now), *_withheld(heard), *admin.notices(session, now)]
    return build(services, now, notices=notices, extra=extra)


def fallback(config: Settings, now: datetime) -> dict[str, Any]:
    """The document while Postgres does not answer: the watchdog's view, and all else as not known."""
    known, notices = _catalogue()
    found = from_state_file(statefile.path_in(config.run_dir), now, current=known)
    found["notices"] += notices
    return found


def from_state_file(path: Path, now: datetime, *, current: Catalog | None = None) -> dict[str, Any]:
    """The watchdog's view. Unhealthy whatever it says: without Postgres nothing of ours works."""
    found = statefile.read(path)
    services = [_watched(name, item, now) for name, item in found.services.items()] if found else []
    notices = ["Postgres does not answer: only what the watchdog sees is known"]
    if found is None:
        notices.append("the watchdog has written nothing: see that it runs")
    elif now - found.written_at > STALE_AT_LEAST:
        notices.append(f"the watchdog has written nothing since {iso(found.written_at)}: see that it runs")
    shown = {service.name for service in services}
    others = [_not_known(spec.row()) for name, spec in sorted(_specs(current).items()) if name not in shown]
    services = sorted([*services, *others], key=lambda service: service.name)
    notices += [*_mute(current), *_withheld(found)]
    return build(services, now, notices=notices, least=StackState.UNHEALTHY)


def _mute(known: Catalog | None) -> list[str]:
    """Said loudly while nobody outside would be told of anything."""
    return [] if known is not None and outward(known.telling) else [NO_CHANNEL]


def _withheld(found: statefile.StateFile | None) -> list[str]:
    """Why the dead-man's switch is not called, where the watchdog of this home calls one."""
    if found is None or found.deadman is None or not found.deadman.withheld:
        return []
    return [f"the dead-man's switch is not called: {'; '.join(found.deadman.withheld)}"]


def _catalogue() -> tuple[Catalog | None, list[str]]:
    try:
        known, problem = catalog.current(), catalog.problem()
    except Invalid as error:
        return None, [f"there is no usable catalogue: {error}"]
    return known, [f"{BROKEN}{problem}"] if problem else []


def _specs(current: Catalog | None) -> dict[str, Any]:
    try:
        return dict(resolve_all(current)) if current is not None else {}
    except Invalid:
        return {}


def _shown(row: Row[Any], known: Catalog | None, now: datetime) -> Shown:
    last = row.last_result or {}
    interval = timedelta(seconds=row.interval_seconds)
    stands = standing(State(row.state), row.since, row.last_finished_at, interval, now)
    service = known.services.get(row.name) if known is not None else None
    return Shown(
        name=row.name,
        kind=row.kind,
        state=stands.state,
        essential=row.essential,
        severity=row.severity,
        depends_on=tuple(row.depends_on),
        watched_by=row.watched_by,
        since=stands.since,
        last_checked=row.last_finished_at,
        latency_ms=round(row.latency_ms, 2) if row.latency_ms is not None else None,
        readings=last.get("readings", {}),
        error=last.get("error"),
        degraded=last.get("degraded"),
        warnings=tuple(last.get("warnings", ())),
        stale=stands.stale,
        maintenance=in_maintenance(service, now) if service is not None else None,
        flapping=row.flapping,
    )


def _watched(name: str, item: statefile.Watched, now: datetime) -> Shown:
    last = item.last
    interval = timedelta(seconds=item.interval_seconds)
    stands = standing(item.state.state, item.state.since, last.finished_at if last else None, interval, now)
    return Shown(
        name=name,
        kind=item.kind,
        state=stands.state,
        essential=item.essential,
        severity=item.severity,
        depends_on=item.depends_on,
        watched_by="watchdog",
        since=stands.since,
        last_checked=last.finished_at if last else None,
        latency_ms=last.latency_ms if last else None,
        readings=last.readings if last else {},
        error={"code": last.error.code, "text": last.error.text} if last and last.error else None,
        degraded=last.degraded if last else None,
        warnings=last.warnings if last else (),
        stale=stands.stale,
        maintenance=item.maintenance,
        flapping=item.state.flapping,
    )


def _not_known(row: Mapping[str, Any]) -> Shown:
    return Shown(
        name=row["name"],
        kind=row["kind"],
        state=State.UNKNOWN,
        essential=row["essential"],
        severity=row["severity"],
        depends_on=tuple(row["depends_on"]),
        watched_by=row["watched_by"],
        stale="not known while Postgres does not answer",
    )


def _silent(rows: Sequence[Row[Any]], now: datetime) -> list[str]:
    """Watchers from whom nothing was heard of any of their services for as long as makes all of them stale."""
    notices = []
    for watcher, advice in (("engine", "beat, Redis and the workers run"), ("watchdog", "it runs")):
        theirs = [row for row in rows if row.watched_by == watcher]
        heard = max((row.last_finished_at or row.registered_at for row in theirs), default=now)
        patience = min((stale_after(timedelta(seconds=row.interval_seconds)) for row in theirs), default=STALE_AT_LEAST)
        if now - heard > patience:
            notices.append(f"the {watcher} has stored no result since {iso(heard)}: see that {advice}")
    return notices
