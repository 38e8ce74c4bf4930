"""What people must know of at once, as it is handed on to whoever pages: a fall, or a repair that did not help."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.health.core import Decision
from app.health.results import ProbeResult
from app.health.specs import Spec
from app.recovery.core import Run


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


@dataclass(frozen=True, slots=True)
class Failure:
    """A repair that has ended, and a person is needed."""

    spec: Spec
    run: Run

    @property
    def began_at(self) -> datetime:
        return self.run.ended_at or self.run.created_at

    @property
    def key(self) -> str:
        return failure_key(self.run)


Trouble = Fall | Failure


def failure_key(run: Run) -> str:
    """What tells the failure of one repair from that of the next, and from the falls of its service."""
    return f"{run.service}: run {run.id}"
