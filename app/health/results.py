"""What one probe found, and what thresholds make of its readings. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProbeError:
    """Why a probe failed: a stable code ("refused", "timeout", "status") and a text for people, free of secrets."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One finished probe. `degraded` says what was read at or past a degraded threshold; `warnings` likewise."""

    ok: bool
    started_at: datetime
    finished_at: datetime
    latency_ms: float | None = None
    readings: Mapping[str, object] = field(default_factory=dict)
    error: ProbeError | None = None
    degraded: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Threshold:
    """Limits of one reading. `below`: the lower the worse (days left), otherwise the higher the worse."""

    warning: float | None = None
    degraded: float | None = None
    below: bool = False

    def level(self, value: float) -> tuple[str, float] | None:
        """("degraded" | "warning", the limit that was reached), or None."""
        for name, limit in (("degraded", self.degraded), ("warning", self.warning)):
            if limit is not None and (value <= limit if self.below else value >= limit):
                return name, limit
        return None


def assess(readings: Mapping[str, object], thresholds: Mapping[str, Threshold]) -> tuple[str | None, tuple[str, ...]]:
    """(what degrades, what warns), each saying what was read and the limit it reached."""
    degraded: list[str] = []
    warnings: list[str] = []
    for name, threshold in sorted(thresholds.items()):
        value = readings.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        reached = threshold.level(value)
        if reached is None:
            continue
        level, limit = reached
        text = f"{name} is {value:g}, {level} {'at or under' if threshold.below else 'from'} {limit:g}"
        (degraded if level == "degraded" else warnings).append(text)
    return "; ".join(degraded) or None, tuple(warnings)
