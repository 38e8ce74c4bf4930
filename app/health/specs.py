"""The catalogue's services as the engine runs them: every default filled in, options typed, thresholds merged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from app.catalog import COMMON_FIELDS, Catalog, Service, did_you_mean, explain, in_maintenance
from app.errors import Invalid, Problem
from app.health.core import Policy
from app.health.probes import kinds
from app.health.probing import Options, ProbeModule
from app.health.results import Threshold


@dataclass(frozen=True, slots=True)
class Spec:
    """How one service is probed and judged. Options may hold secrets and are not shown."""

    service: Service
    probe: ProbeModule
    options: Options = field(repr=False)
    thresholds: Mapping[str, Threshold]
    interval_seconds: float
    timeout_seconds: float
    watched_by: str

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def policy(self) -> Policy:
        return Policy(
            interval=timedelta(seconds=self.interval_seconds),
            confirm_interval=timedelta(seconds=self.service.confirm_interval),
            failures_to_down=self.service.failures_to_down,
            successes_to_up=self.service.successes_to_up,
        )

    def in_maintenance(self, now: datetime) -> bool:
        return in_maintenance(self.service, now) is not None

    def row(self) -> dict[str, Any]:
        """The columns of `services` that come from the catalogue."""
        columns: dict[str, Any] = {
            "name": self.name,
            "kind": self.service.kind,
            "watched_by": self.watched_by,
            "essential": self.service.essential,
            "severity": self.service.severity,
            "depends_on": sorted(set(self.service.depends_on)),
            "interval_seconds": self.interval_seconds,
            "confirm_interval_seconds": self.service.confirm_interval,
            "timeout_seconds": self.timeout_seconds,
            "failures_to_down": self.service.failures_to_down,
            "successes_to_up": self.service.successes_to_up,
        }
        said = repr(sorted(columns.items())) + self.service.model_dump_json()
        return columns | {"spec_digest": hashlib.sha256(said.encode()).hexdigest()}


def resolve(service: Service) -> Spec:
    """The service with everything filled in. Raises Invalid, which a checked catalogue never does."""
    problems = service_problems(service)
    if problems:
        raise Invalid(problems, subject=f"service {service.name}")
    probe = kinds()[service.kind]
    given = {name: _threshold(probe, name, service) for name in service.thresholds}
    return Spec(
        service=service,
        probe=probe,
        options=probe.Options.model_validate(service.options),
        thresholds={**probe.THRESHOLDS, **given},
        interval_seconds=service.interval or probe.DEFAULTS.interval_seconds,
        timeout_seconds=service.timeout or probe.DEFAULTS.timeout_seconds,
        watched_by=service.watched_by or probe.DEFAULTS.watched_by,
    )


def resolve_all(catalog: Catalog) -> dict[str, Spec]:
    """Every enabled service, by name."""
    return {service.name: resolve(service) for service in catalog.services.values() if service.enabled}


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """What is wrong with the services' kinds, options and thresholds, each with its path: `services.web.url`."""
    return [problem for service in catalog.services.values() for problem in service_problems(service)]


def service_problems(service: Service) -> list[Problem]:
    """The same for one service."""
    path = f"services.{service.name}"
    probe = kinds().get(service.kind)
    if probe is None:
        return [Problem(f"{path}.kind", f"is none of {', '.join(kinds())}{did_you_mean(service.kind, kinds())}")]
    problems = [
        Problem(f"{path}.thresholds.{name}", _no_reading(probe, name))
        for name in service.thresholds
        if name not in probe.READINGS
    ]
    if service.kind == "heartbeat" and service.watched_by == "watchdog":
        problems.append(Problem(f"{path}.watched_by", "heartbeats are kept in the database: the engine watches them"))
    if service.kind == "docker" and service.container is None:
        problems.append(Problem(f"{path}.container", "is required: the container to look at"))
    return [*problems, *_option_problems(service, probe)]


def _no_reading(probe: ProbeModule, name: str) -> str:
    return f"{probe.KIND} reads {', '.join(probe.READINGS)}, not this{did_you_mean(name, probe.READINGS)}"


def _option_problems(service: Service, probe: ProbeModule) -> list[Problem]:
    try:
        probe.Options.model_validate(service.options)
    except ValidationError as error:
        return explain(error, ("services", service.name), known={*probe.Options.model_fields, *COMMON_FIELDS})
    return []


def _threshold(probe: ProbeModule, reading: str, service: Service) -> Threshold:
    """The catalogue's limits; which way is worse comes from the kind, else from the order of the two limits."""
    limits = service.thresholds[reading]
    own = probe.THRESHOLDS.get(reading)
    if own is not None:
        below = own.below
    else:
        below = limits.warning is not None and limits.degraded is not None and limits.degraded < limits.warning
    return Threshold(warning=limits.warning, degraded=limits.degraded, below=below, margin=limits.margin)
