"""Probing services from a worker: up to fifty at once, each result stored as it arrives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app import catalog, clock
from app.catalog import Docker
from app.config import settings
from app.errors import Misconfigured, NotFound, SmmError
from app.health import prober, store
from app.health.probing import CannotTell, Target
from app.health.recording import InMaintenance, record, result_dict
from app.health.results import ProbeResult
from app.health.specs import Spec, resolve
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger

ENGINE = "engine"

log = get_logger(__name__)


def target_of(
    spec: Spec,
    *,
    timeout_seconds: float | None = None,
    watched_since: datetime | None = None,
    last: ProbeResult | None = None,
) -> Target:
    """What the probe of a service is given, but for what is in the database; `last` is its last result."""
    config = settings()
    return Target(
        name=spec.name,
        timeout_seconds=timeout_seconds or spec.timeout_seconds,
        home=config.home,
        database_url=_or_none(config.database),
        redis_url=_or_none(config.redis),
        watched_since=watched_since,
        container=spec.service.container,
        docker=catalog.current().docker if spec.service.kind == "docker" else Docker(),
        stood=last.levels if last is not None else {},
        told_at=last.finished_at if last is not None else None,
        told_code=last.error.code if last is not None and last.error is not None else None,
    )


def check_services(names: Sequence[str]) -> int:
    """Probe these services and store each result as it arrives, sorted by name; how many were stored.

    Names that are no longer in the catalogue are passed over.
    """
    specs = _specs(names)
    targets = _targets(specs)
    running = prober.of_this_process()
    for spec in specs:
        running.start(spec, targets[spec.name])
    waiting = {spec.name for spec in specs}
    until = clock.monotonic() + running.longest_seconds(targets.values())
    stored = 0
    while waiting:
        if clock.monotonic() > until:
            log.error("probes without a verdict were given up", services=sorted(waiting))
            break
        finished = running.collect(1.0)
        waiting -= {spec.name for spec, _ in finished}
        results = [(spec.name, verdict) for spec, verdict in finished if isinstance(verdict, ProbeResult)]
        if results:
            with unit_of_work() as uow:
                record(
                    uow,
                    results,
                    source=ENGINE,
                    in_maintenance=maintenance_of(spec for spec, _ in finished),
                    now=clock.now(),
                )
            stored += len(results)
    return stored


def probe_now(name: str) -> tuple[Spec, ProbeResult | CannotTell]:
    """Probe one service. Raises NotFound when the catalogue has none of that name."""
    specs = _specs([name])
    if not specs:
        raise NotFound(f"the catalogue has no service {name}")
    running = prober.of_this_process()
    targets = _targets(specs)
    until = clock.monotonic() + running.longest_seconds(targets.values())
    running.start(specs[0], targets[name])
    while clock.monotonic() <= until:
        for spec, verdict in running.collect(1.0):
            if spec.name == name:
                return spec, verdict
    return specs[0], CannotTell("the probe gave no verdict")


def store_now(uow: UnitOfWork, spec: Spec, verdict: ProbeResult | CannotTell) -> None:
    """Store what `probe_now` found."""
    if isinstance(verdict, ProbeResult):
        record(uow, [(spec.name, verdict)], source=ENGINE, in_maintenance=maintenance_of([spec]), now=clock.now())


def told(spec: Spec, verdict: ProbeResult | CannotTell) -> dict[str, Any]:
    """What `probe_now` found, JSON-ready; `ok` is null when the probe could not tell."""
    if isinstance(verdict, CannotTell):
        return {"service": spec.name, "ok": None, "why": verdict.why}
    times = {"started_at": clock.iso(verdict.started_at), "finished_at": clock.iso(verdict.finished_at)}
    return {"service": spec.name, "latency_ms": verdict.latency_ms, **times, **result_dict(verdict)}


def maintenance_of(specs: Iterable[Spec]) -> InMaintenance:
    """Whether a service's failing is expected at a moment, by the windows of these services."""
    by_name = {spec.name: spec for spec in specs}

    def in_maintenance(name: str, at: datetime) -> bool:
        spec = by_name.get(name)
        return spec is not None and spec.in_maintenance(at)

    return in_maintenance


def _specs(names: Sequence[str]) -> list[Spec]:
    services = catalog.current().services
    return [resolve(services[name]) for name in dict.fromkeys(names) if name in services and services[name].enabled]


def _targets(specs: Sequence[Spec]) -> dict[str, Target]:
    """What each probe is given. Without a database a probe still tells much, if not of what calls us."""
    targets = {spec.name: target_of(spec) for spec in specs}
    calling = {spec.name for spec in specs if spec.service.kind == "heartbeat"}
    try:
        with read_only() as session:
            past = store.pasts(session, list(targets))
    except (SQLAlchemyError, SmmError):
        if calling:
            raise
        return targets
    for row in past:
        targets[row.name] = replace(
            targets[row.name],
            registered_at=row.registered_at,
            last_heartbeat_at=row.last_heartbeat_at,
            stood=row.levels or {},
            told_at=row.last_finished_at,
            told_code=row.code,
        )
    return targets


def _or_none(address: Any) -> str | None:
    try:
        return str(address())
    except Misconfigured:
        return None
