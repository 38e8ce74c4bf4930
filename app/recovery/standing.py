"""How services stand, read from what health has stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.health.core import State
from app.recovery.core import Runner
from app.recovery.playbooks import Standing

_COLUMNS = (
    "SELECT name, kind, state, announced, since, severity, essential, last_result, open_incident_id, watched_by"
    " FROM services WHERE present"
)


def of_service(session: Session, name: str) -> Standing | None:
    """One service of the catalogue; None while health does not know it."""
    row = session.execute(text(f"{_COLUMNS} AND name = :name"), {"name": name}).one_or_none()
    return None if row is None else _standing(row)


def of_services(session: Session, names: Iterable[str]) -> dict[str, Standing]:
    """These services of the catalogue, by name."""
    rows = session.execute(text(f"{_COLUMNS} AND name = ANY(:names)"), {"names": sorted(set(names))})
    return {row.name: _standing(row) for row in rows}


def in_trouble(session: Session) -> list[Standing]:
    """Every service that is down, degraded or warns, by name."""
    rows = session.execute(text(f"{_COLUMNS} AND (state IN ('down', 'degraded') OR warning) ORDER BY name"))
    return [_standing(row) for row in rows]


def fallen(session: Session, names: Iterable[str]) -> str | None:
    """The first of these services that is down, in their order."""
    wanted = list(names)
    rows = session.execute(
        text("SELECT name FROM services WHERE present AND state = 'down' AND name = ANY(:names)"), {"names": wanted}
    )
    down = {row.name for row in rows}
    return next((name for name in wanted if name in down), None)


def _standing(row: Row[Any]) -> Standing:
    last: Mapping[str, Any] = row.last_result or {}
    return Standing(
        service=row.name,
        kind=row.kind,
        state=State(row.state),
        announced=State(row.announced),
        since=row.since,
        severity=row.severity,
        essential=row.essential,
        readings=last.get("readings") or {},
        levels=last.get("levels") or {},
        error=last.get("error"),
        degraded=last.get("degraded"),
        incident_id=row.open_incident_id,
        runner=Runner.WATCHDOG if row.watched_by == "watchdog" else Runner.ENGINE,
    )
