"""What a probe is given and what it gives back. A kind of probe is one file in `probes/`:

    KIND, SUMMARY, DEFAULTS (Defaults), Options (pydantic, extra forbidden), READINGS (numbers, with what they mean),
    THRESHOLDS (of some of them),
    ADVICE (what to do, by error code or by the reading that is past its threshold),
    probe(target, options) -> Outcome | CannotTell

A failure that the probe expects is an Outcome with an error, never an exception. Its own waits end at
`target.deadline()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from app import clock
from app.catalog import Docker
from app.health.results import ProbeError, Threshold


class TimedOut(Exception):
    """The probe's whole time has run out."""


class Deadline:
    """One moment that bounds all waits of a probe."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = clock.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left. Raises TimedOut when there are none."""
        left = self._end - clock.monotonic()
        if left <= 0:
            raise TimedOut
        return left


@dataclass(frozen=True, slots=True)
class Target:
    """One service to probe, with the addresses of our own servers for the probes that default to them.

    `watched_since`: when a watcher that starts together with what it watches began; None for all others. `stood`: the
    levels of the last result, by reading; `told_at`, `told_code`: when it ended, and the code of its error.
    """

    name: str
    timeout_seconds: float
    home: Path
    database_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    registered_at: datetime | None = None
    last_heartbeat_at: datetime | None = None
    watched_since: datetime | None = None
    container: str | None = None
    docker: Docker = field(default_factory=Docker, repr=False)
    stood: Mapping[str, str] = field(default_factory=dict)
    told_at: datetime | None = None
    told_code: str | None = None

    def deadline(self) -> Deadline:
        return Deadline(self.timeout_seconds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe learned. `degraded`: a reading that is bad without being a number."""

    readings: Mapping[str, object] = field(default_factory=dict)
    latency_ms: float | None = None
    error: ProbeError | None = None
    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class CannotTell:
    """Neither good nor bad: what would have told is itself away, or it is too early. Nothing is recorded."""

    why: str


class Options(BaseModel):
    """Base of every probe's options: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Defaults:
    """Of a kind, where the catalogue says nothing. `watched_by`: "engine", or "watchdog" for what the engine needs."""

    interval_seconds: float = 60
    timeout_seconds: float = 10
    watched_by: str = "engine"


class ProbeModule(Protocol):
    """The shape of a file in `probes/`."""

    KIND: str
    SUMMARY: str
    DEFAULTS: Defaults
    READINGS: Mapping[str, str]
    THRESHOLDS: Mapping[str, Threshold]
    ADVICE: Mapping[str, str]
    Options: type[Options]

    def probe(self, target: Target, options: Any) -> Outcome | CannotTell: ...


def failed(code: str, text: str, *, readings: Mapping[str, object] | None = None) -> Outcome:
    """A failure with its stable code and a text for people."""
    return Outcome(readings=readings or {}, error=ProbeError(code, text))


def milliseconds_since(started: float) -> float:
    """From a monotonic moment to now, to a hundredth."""
    return round((clock.monotonic() - started) * 1000, 2)
