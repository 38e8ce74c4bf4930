"""What may explain an alert, read from the database when the first alert comes that something could explain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.alerts import dependencies, store
from app.alerts.dependencies import Down, Failing
from app.alerts.matchers import parse
from app.catalog import Inhibition, Telling
from app.health import unconfirmed

AFTERMATH = timedelta(seconds=30)
"""How long a cause still explains its symptoms once its alert is over: they are probed again meanwhile."""


def of_inhibitions(session: Session, inhibitions: Sequence[Inhibition]) -> Iterator[tuple[str, dict[str, str]]]:
    """Fingerprint and labels of what may inhibit."""
    yield from _firing(session, source_names(inhibitions))


def down(session: Session, telling: Telling, now: datetime) -> Iterator[Down]:
    """The alerts that say that a service is down, or said so a moment ago."""
    for row in _fallen(session, dependencies.down_rules(telling.alerts), since=now - AFTERMATH):
        yield Down(row.service, row.severity, row.fingerprint, row.labels, row.is_over)


def failing(session: Session) -> Iterator[Failing]:
    """The services of which it is not known yet whether they are down."""
    for row in unconfirmed.failing(session):
        yield Failing(row.name, row.severity, row.known_at)


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


_SEEN = (
    "labels || jsonb_strip_nulls(jsonb_build_object('severity', severity, 'team', team, 'service', service)) AS labels"
)


def _firing(session: Session, names: Sequence[str] | None) -> list[tuple[str, dict[str, str]]]:
    """Fingerprint and labels (as `routes.seen`) of all that sounds, of these names if they are known: causes."""
    where = "" if names is None else " AND name = ANY(:names)"
    rows = session.execute(
        text(f"SELECT fingerprint, {_SEEN} FROM alert_episodes WHERE state IN {store.SOUNDING}{where}"),
        {} if names is None else {"names": list(names)},
    )
    return [(row.fingerprint, row.labels) for row in rows]


_FALLEN = (
    "SELECT fingerprint, service, severity, state = 'resolved' AS is_over, {} FROM alert_episodes"
    " WHERE rule = ANY(:rules) AND service IS NOT NULL AND {}"
)


def _fallen(session: Session, rules: Sequence[str], *, since: datetime) -> Sequence[Row[Any]]:
    """What these rules raised about services and sounds, or sounded until after `since`."""
    sounds = _FALLEN.format(_SEEN, f"state IN {store.SOUNDING}")
    sounded = _FALLEN.format(_SEEN, "state = 'resolved' AND fired_at IS NOT NULL AND resolved_at > :since")
    return session.execute(text(f"{sounds} UNION ALL {sounded}"), {"rules": list(rules), "since": since}).all()
