"""What one probe found, and what thresholds make of its readings. Pure values.

A reading that has reached a level keeps it until it has come back past the limit by a margin: one that wavers around a
limit would otherwise be told over and over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Level = Literal["warning", "degraded"]
MARGIN = 0.05
"""Share of a limit by which a reading must come back."""

_RANK = {"warning": 1, "degraded": 2}


@dataclass(frozen=True, slots=True)
class ProbeError:
    """Why a probe failed: a stable code ("refused", "timeout", "status") and a text for people, free of secrets."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One finished probe. `degraded` says what was read at or past a degraded threshold; `warnings` likewise.

    `levels` are those of all readings past a limit; of a failed probe, which read nothing, those that stood before it.
    """

    ok: bool
    started_at: datetime
    finished_at: datetime
    latency_ms: float | None = None
    readings: Mapping[str, object] = field(default_factory=dict)
    error: ProbeError | None = None
    degraded: str | None = None
    warnings: tuple[str, ...] = ()
    levels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Limits of one reading. `below`: the lower the worse (days left), otherwise the higher the worse."""

    warning: float | None = None
    degraded: float | None = None
    below: bool = False
    margin: float = MARGIN

    def level(self, value: float, *, stood: str | None = None) -> tuple[Level, float] | None:
        """(the level, its limit), or None. `stood` is the level of the reading before this one."""
        limits: tuple[tuple[Level, float | None], ...] = (("degraded", self.degraded), ("warning", self.warning))
        for name, limit in limits:
            if limit is not None and self._is_past(value, limit, held=_RANK.get(stood or "", 0) >= _RANK[name]):
                return name, limit
        return None

    def _is_past(self, value: float, limit: float, *, held: bool) -> bool:
        gap = abs(limit) * self.margin if held else 0.0
        if self.below:
            return value <= limit or value < limit + gap
        return value >= limit or value > limit - gap


@dataclass(frozen=True, slots=True)
class Assessment:
    """What degrades and what warns, each in words, and the level of each reading that is past a limit."""

    degraded: str | None = None
    warnings: tuple[str, ...] = ()
    levels: Mapping[str, str] = field(default_factory=dict)


def is_worse(level: str, *, than: str | None) -> bool:
    """Is this level worse than that one, or than none?"""
    return _RANK.get(level, 0) > _RANK.get(than or "", 0)


def assess(
    readings: Mapping[str, object], thresholds: Mapping[str, Threshold], stood: Mapping[str, str] | None = None
) -> Assessment:
    """What the limits make of the readings; `stood` are the levels of the result before, by reading."""
    degraded: list[str] = []
    warnings: list[str] = []
    levels: dict[str, str] = {}
    for name, threshold in sorted(thresholds.items()):
        value = readings.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        reached = threshold.level(value, stood=(stood or {}).get(name))
        if reached is None:
            continue
        levels[name], limit = reached
        text = f"{name} is {value:g}, {levels[name]} {'at or under' if threshold.below else 'from'} {limit:g}"
        (degraded if levels[name] == "degraded" else warnings).append(text)
    return Assessment("; ".join(degraded) or None, tuple(warnings), levels)
