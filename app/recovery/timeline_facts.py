"""What is stored about one incident, in a few bounded queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import signals
from app.catalog import behind
from app.health.incidents import Incident
from app.infra import ids
from app.recovery import store
from app.recovery.core import Run
from app.signals.service import Signal

AFTER = timedelta(hours=1)
"""How long after its end what is told and answered still belongs to it."""
BEFORE = timedelta(minutes=1)
NEAR = timedelta(minutes=2)
"""How much later a cause may have been seen to fall than what fell because of it."""

MOST_PROBES = 30
MOST_RUNS = 20
MOST_ALERTS = 20
MOST_EVENTS = 300
MOST_NEIGHBOURS = 20
MOST_MODES = 50


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of an incident. `failures`: probes until it was detected; `successes`: until it was up."""

    incident: Incident
    failures: Sequence[Row[Any]]
    successes: Sequence[Row[Any]]
    causes: Sequence[Incident]
    affected: Sequence[Incident]
    runs: Sequence[Run]
    episodes: Sequence[Row[Any]]
    history: Sequence[Row[Any]]
    notifications: Sequence[Row[Any]]
    modes: Sequence[Signal]


def load(session: Session, incident: Incident, now: datetime) -> Facts:
    """Read them; `now` bounds what lasts."""
    until = (incident.recovered_at or now) + (AFTER if incident.recovered_at else NEAR)
    span = {"service": incident.service, "since": incident.started_at - BEFORE, "until": until}
    span |= {"low": ids.floor(incident.started_at - BEFORE), "high": ids.floor(until)}
    episodes = session.execute(text(_EPISODES), {**span, "most": MOST_ALERTS}).all()
    of_alerts = {**span, "ids": [row.id for row in episodes], "most": MOST_EVENTS}
    causes, affected = _neighbours(session, incident, now)
    runs = store.runs(session, _RUNS, "created_at, id", limit=MOST_RUNS, id=incident.id, **span)
    return Facts(
        incident=incident,
        failures=_failures(session, incident),
        successes=_successes(session, incident),
        causes=causes,
        affected=affected,
        runs=runs,
        episodes=episodes,
        history=session.execute(text(_HISTORY), of_alerts).all() if episodes else (),
        notifications=session.execute(text(_NOTIFICATIONS), of_alerts).all() if episodes else (),
        modes=_modes(session, incident, runs, span),
    )


_PROBES = """
SELECT started_at, ok, state, error_code, error, latency_ms, source FROM system_health_log
WHERE service = :service AND id >= :low AND id < :high ORDER BY id LIMIT :most
"""

_RUNS = "(incident_id = :id OR (service = :service AND created_at >= :since AND created_at < :until))"

# There is no index by service: three others narrow it down to what began, ended or lasts in these times.
_EPISODES = """
SELECT * FROM alert_episodes
WHERE service = :service AND starts_at < :until AND (resolved_at IS NULL OR resolved_at >= :since)
  AND ((id >= :low AND id < :high) OR (resolved_at >= :since AND resolved_at < :until)
       OR (state <> 'resolved' AND id < :high))
ORDER BY id LIMIT :most
"""

_HISTORY = """
SELECT id, at, episode_id, event, by, facts FROM alert_history
WHERE episode_id = ANY(:ids) AND id >= :low AND id < :high
UNION ALL
SELECT h.id, h.at, NULL, h.event, h.by, h.facts FROM alert_history h
WHERE h.group_id IN (SELECT group_id FROM alert_group_members WHERE episode_id = ANY(:ids)) AND h.episode_id IS NULL
  AND h.id >= :low AND h.id < :high AND h.event IN ('told', 'failed_over')
ORDER BY id LIMIT :most
"""

_NOTIFICATIONS = """
SELECT id, recipient, channel, reason, event, state, fact_at, created_at, finished_at, attempts, error, source
FROM notifications
WHERE group_id IN (SELECT group_id FROM alert_group_members WHERE episode_id = ANY(:ids))
  AND created_at >= :since AND created_at < :until AND state IN ('delivered', 'failed')
ORDER BY id LIMIT :most
"""

_NEIGHBOURS = """
SELECT id, service, started_at, detected_at, recovered_at, outcome, severity, error_code, error, in_maintenance,
       failures FROM incidents
WHERE service = ANY(:names) AND started_at >= :earliest AND started_at <= :latest
  AND (recovered_at IS NULL OR recovered_at >= :since) ORDER BY started_at LIMIT :most
"""

_LONGEST = timedelta(days=30)
"""How long before this one a cause may have fallen."""


def _failures(session: Session, incident: Incident) -> Sequence[Row[Any]]:
    """The failing probes from the first one to the one by which it was seen to be down."""
    rows = _probes(session, incident.service, incident.started_at, incident.detected_at)
    return [row for row in rows if not row.ok]


def _successes(session: Session, incident: Incident) -> Sequence[Row[Any]]:
    """The good probes from the first one to the one by which it was seen to be up."""
    if incident.recovered_at is None:
        return ()
    found = []
    for row in _probes(session, incident.service, incident.recovered_at, incident.recovered_at + AFTER):
        if not row.ok:
            break
        found.append(row)
        if row.state != "down":
            break
    return found


def _probes(session: Session, service: str, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    bounds = {"low": ids.floor(since), "high": ids.floor(until + timedelta(milliseconds=1))}
    return session.execute(text(_PROBES), {"service": service, "most": MOST_PROBES, **bounds}).all()


def _neighbours(session: Session, incident: Incident, now: datetime) -> tuple[list[Incident], list[Incident]]:
    """What it depends on that was down when it fell, and what depends on it that fell while it was down."""
    rows = session.execute(text("SELECT name, depends_on FROM services WHERE present"))
    depends_on = {row.name: tuple(row.depends_on) for row in rows}
    causes = behind(incident.service, depends_on)
    symptoms = dependents(incident.service, depends_on)
    ended_at = incident.recovered_at or now
    fell = {"earliest": incident.started_at - _LONGEST, "latest": incident.started_at + NEAR}
    followed = {"earliest": incident.started_at - NEAR, "latest": ended_at}
    return (
        _incidents(session, causes, incident, fell),
        _incidents(session, symptoms, incident, followed),
    )


def dependents(name: str, depends_on: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Every service that depends on this one, near or far, the near first."""
    needed_by: dict[str, list[str]] = {other: [] for other in depends_on}
    for other, causes in sorted(depends_on.items()):
        for cause in causes:
            needed_by.setdefault(cause, []).append(other)
    return behind(name, {cause: tuple(others) for cause, others in needed_by.items()})


def _incidents(
    session: Session, names: Iterable[str], incident: Incident, bounds: Mapping[str, datetime]
) -> list[Incident]:
    asked = {"names": list(names), "since": incident.started_at, "most": MOST_NEIGHBOURS, **bounds}
    if not asked["names"]:
        return []
    return [Incident(**row._asdict()) for row in session.execute(text(_NEIGHBOURS), asked)]


def _modes(session: Session, incident: Incident, runs: Sequence[Run], span: Mapping[str, Any]) -> list[Signal]:
    """Modes that came on or went off meanwhile: because of it, by its runs, or by people."""
    query = text(
        "SELECT * FROM signals WHERE kind IN ('modes.entered', 'modes.left') AND id >= :low AND id < :high"
        " ORDER BY id LIMIT :most"
    )
    bounds = {"low": ids.floor(incident.started_at), "high": span["high"], "most": MOST_MODES}
    found = [Signal(**row._asdict()) for row in session.execute(query, bounds)]
    return [signal for signal in found if _concerns(signal, incident, runs)]


def _concerns(signal: signals.Signal, incident: Incident, runs: Sequence[Run]) -> bool:
    cause, holder = signal.facts.get("cause") or [], str(signal.facts.get("set_by", ""))
    if cause:
        return incident.service in cause
    return not holder.startswith("playbook:") or any(str(run.id) in holder for run in runs)
