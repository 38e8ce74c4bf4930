"""The status document of the stack, made of what is known of each service. Pure; the keys are a contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.catalog import behind, root_of
from app.clock import iso
from app.health.core import State
from app.health.probes import kinds
from app.health.standing import StackState, stack_state

ENTRY_KEYS = frozenset(
    {
        "status",
        "latency_ms",
        "since",
        "last_checked",
        "kind",
        "essential",
        "issue",
        "cause",
        "warnings",
        "maintenance",
        "flapping",
    }
)
"""Keys of every service's entry; all others are its readings."""

SEVERITIES = ("critical", "error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Shown:
    """One service as it is shown. `stale` says since when nothing was heard; `maintenance` is a reason."""

    name: str
    kind: str
    state: State
    essential: bool
    severity: str
    depends_on: tuple[str, ...] = ()
    watched_by: str = "engine"
    since: datetime | None = None
    last_checked: datetime | None = None
    latency_ms: float | None = None
    readings: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] | None = None
    degraded: str | None = None
    warnings: tuple[str, ...] = ()
    stale: str | None = None
    maintenance: str | None = None
    flapping: bool = False

    @property
    def in_maintenance(self) -> bool:
        return self.maintenance is not None


def build(
    services: Sequence[Shown],
    now: datetime,
    *,
    notices: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    least: StackState | None = None,
) -> dict[str, Any]:
    """The document. `extra` adds or replaces keys; `least` is the stack's state whatever the services say."""
    causes = causes_of(services)
    status = least or stack_state(services)
    document: dict[str, Any] = {
        "timestamp": iso(now),
        "status": status,
        "services": {service.name: _entry(service, causes[service.name]) for service in services},
        "rate_limits": {},
        "cost_today": None,
        "cost_limit": None,
        "notices": list(notices),
    }
    if status is not StackState.HEALTHY:
        document["alerts"] = _alerts(services, causes)
        document["action_taken"] = "none"
    return document | dict(extra or {})


def causes_of(services: Sequence[Shown]) -> dict[str, Shown | None]:
    """Of each service that is not up the one at the root of its trouble, near or far; None without one.

    One that goes up and down is as good a cause as one that is down.
    """
    by_name = {service.name: service for service in services}
    depends_on = {service.name: service.depends_on for service in services}
    found: dict[str, Shown | None] = {}
    for service in services:
        names = () if service.state is State.UP else behind(service.name, depends_on)
        root = root_of([name for name in names if _is_fallen(by_name[name])], depends_on)
        found[service.name] = by_name[root] if root is not None else None
    return found


def _is_fallen(service: Shown) -> bool:
    return service.state is State.DOWN or service.flapping


def _entry(service: Shown, cause: Shown | None) -> dict[str, Any]:
    return {
        **service.readings,
        "status": service.state,
        "latency_ms": service.latency_ms,
        "since": iso(service.since) if service.since else None,
        "last_checked": iso(service.last_checked) if service.last_checked else None,
        "kind": service.kind,
        "essential": service.essential,
        "issue": _issue(service, cause),
        "cause": cause.name if cause else None,
        "warnings": list(service.warnings),
        "maintenance": service.maintenance,
        "flapping": service.flapping,
    }


def _issue(service: Shown, cause: Shown | None) -> str | None:
    """What is wrong, in a sentence; None when nothing is."""
    because = f"; {cause.name}, on which it depends, {_trouble(cause)}" if cause else ""
    said = service.error["text"] if service.error else ""
    match service.state:
        case State.DOWN:
            return f"down since {iso(service.since)}: {said}{because}" if service.since else f"down: {said}{because}"
        case State.UNKNOWN:
            return (service.stale or said or "not known yet") + because
        case State.DEGRADED:
            return (service.degraded or said or "degraded") + because
        case State.UP:
            return f"the last probe failed: {said}; confirming" if service.error else None


def _trouble(cause: Shown) -> str:
    what = "is down" if cause.state is State.DOWN else "goes up and down"
    return f"{what} (maintenance: {cause.maintenance})" if cause.in_maintenance else what


def _alerts(services: Sequence[Shown], causes: Mapping[str, Shown | None]) -> list[dict[str, Any]]:
    alerts = [
        {
            "severity": service.severity if service.state is State.DOWN else "warning",
            "service": service.name,
            "issue": _issue(service, causes[service.name]),
            "recommendation": _recommendation(service, causes[service.name]),
        }
        for service in services
        if not service.in_maintenance and _matters(service)
    ]
    return sorted(alerts, key=lambda alert: (SEVERITIES.index(str(alert["severity"])), alert["service"]))


def _matters(service: Shown) -> bool:
    return service.state in (State.DOWN, State.DEGRADED) or (service.essential and service.state is State.UNKNOWN)


def _recommendation(service: Shown, cause: Shown | None) -> str:
    if cause and cause.in_maintenance:
        return f"Wait until the maintenance of {cause.name} is over, or put {service.name} into maintenance, too."
    if cause:
        return f"Repair {cause.name} first."
    if service.state is State.UNKNOWN:
        watcher = "the watchdog runs" if service.watched_by == "watchdog" else "beat, Redis and the workers run"
        return f"Nothing probes it: see that {watcher}."
    probe = kinds().get(service.kind)
    advice = probe.ADVICE if probe else {}
    what = service.error["code"] if service.error else (service.degraded or "").split(" ")[0]
    return advice.get(what, "Look at the service's own log.")
