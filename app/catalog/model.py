"""The catalogue as values: what there is to look after. Everything an operator may write has its field here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.catalog.alerting import Telling
from app.catalog.availability import Availability
from app.catalog.billing import Billing
from app.catalog.budgeting import Budgeting
from app.catalog.connecting import Connecting
from app.catalog.engines import Docker
from app.catalog.limiting import Limiting
from app.catalog.modes import Mode
from app.catalog.recovery import Playbook, Recovery
from app.catalog.toml_lines import Path
from app.catalog.values import NAME, Count, Figure, Label, Seconds, Severity, WatchedBy
from app.catalog.windows import Window


class Limits(BaseModel):
    """Limits of one reading, replacing the kind's own. Which readings there are is the kind's business."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    warning: Figure | None = Field(default=None, description="from here on the service is up with a warning")
    degraded: Figure | None = Field(default=None, description="from here on the service is degraded")
    margin: Figure = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="share of the limit by which the reading must come back",
    )


class Service(BaseModel):
    """One service. Times are in seconds; what is None is the kind's default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    name: str = Field(pattern=NAME, exclude=True)
    kind: Label = Field(description="what is probed, and how: http, tcp, postgres, ...")
    enabled: bool = Field(default=True, description="false: not probed, and shown nowhere")
    description: str = Field(default="", max_length=500, description="for people")
    interval: Seconds | None = Field(default=None, ge=1, le=86_400, description="seconds from probe to probe")
    confirm_interval: Seconds = Field(
        default=5, ge=1, le=3600, description="seconds to the next probe while a failure or a recovery is unconfirmed"
    )
    timeout: Seconds | None = Field(default=None, gt=0, le=120, description="seconds a probe may take in all")
    failures_to_down: Count = Field(default=3, ge=1, le=100, description="failures in a row until it is down")
    successes_to_up: Count = Field(default=2, ge=1, le=100, description="successes in a row until it is up again")
    essential: bool = Field(default=False, description="its loss makes the stack unhealthy, not only degraded")
    severity: Severity = Field(default="error", description="of the alert when it is down")
    objective: Figure = Field(default=99.5, gt=0, lt=100, description="percent of the time in which it shall be up")
    watched_by: WatchedBy | None = Field(default=None, description="who probes it: the engine or the watchdog")
    container: str | None = Field(
        default=None, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$", description="container a restart would restart"
    )
    recovery: bool = Field(default=True, description="false: no playbook starts for it by itself")
    team: Label | None = Field(default=None, description="whose it is")
    tags: tuple[Label, ...] = Field(default=(), description="words to select it by")
    depends_on: tuple[str, ...] = Field(default=(), description="services whose loss explains this one's")
    maintenance: tuple[Window, ...] = Field(default=(), description="times in which its failures are expected")
    thresholds: dict[Label, Limits] = Field(default_factory=dict, description="limits of readings")
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="every other key: the kind's own, checked by the kind"
    )
    references: dict[Path, str] = Field(default_factory=dict, repr=False, exclude=True)

    def shown(self, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Everything set or defaulted, JSON-ready, with `${NAME}` in place of what came from the environment.

        `options`, when given, stands in for the service's own: the kind's, with its defaults and its secrets hidden.
        """
        plain: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        if options is not None:
            plain["options"] = dict(options)
        for path, written in self.references.items():
            _put(plain, path, written)
        return plain


COMMON_FIELDS = frozenset(Service.model_fields) - {"name", "options", "references"}
"""Keys of a service that mean the same for every kind."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """One valid catalogue. `digest` changes exactly when its content does; comments do not count."""

    services: Mapping[str, Service] = field(default_factory=dict)
    telling: Telling = field(default_factory=Telling)
    docker: Docker = field(default_factory=Docker)
    availability: Availability = field(default_factory=Availability)
    recovery: Recovery = field(default_factory=Recovery)
    playbooks: Mapping[str, Playbook] = field(default_factory=dict)
    modes: Mapping[str, Mode] = field(default_factory=dict)
    limiting: Limiting = field(default_factory=Limiting)
    budgeting: Budgeting = field(default_factory=Budgeting)
    billing: Billing = field(default_factory=Billing)
    connecting: Connecting = field(default_factory=Connecting)
    digest: str = ""


def in_maintenance(service: Service, now: datetime) -> str | None:
    """The reason of the first window of `service` that `now` is in, or None."""
    return next((window.reason for window in service.maintenance if window.contains(now)), None)


def _put(tree: Any, path: Path, value: str) -> None:
    for step in path[:-1]:
        tree = tree[step]
    tree[path[-1]] = value
