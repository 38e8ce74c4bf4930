"""A fall that people must know of, as the watch hands it on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.health.core import Decision
from app.health.results import ProbeResult
from app.health.specs import Spec


@dataclass(frozen=True, slots=True)
class Fall:
    """A service that is down: by which result and decision, and since when (which tells one fall from the next)."""

    spec: Spec
    result: ProbeResult
    decision: Decision
    began_at: datetime

    @property
    def key(self) -> str:
        return f"{self.spec.name} {self.began_at.isoformat()}"
