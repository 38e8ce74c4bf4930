"""Shares of time, and the error budget that an objective leaves. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

WINDOW = "30d"
"""The window that error budgets are for."""
BUDGET_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Uptime:
    """What a service was in one window. Seconds; what is neither known nor excluded (maintenance) is not known.

    `incidents`: how many there were of it, outside of maintenance.
    """

    window_seconds: float = 0.0
    known_seconds: float = 0.0
    down_seconds: float = 0.0
    degraded_seconds: float = 0.0
    excluded_seconds: float = 0.0
    incidents: int = 0

    @property
    def ratio(self) -> float | None:
        """The share of the known time in which it was up, degraded or not; None when nothing is known."""
        return 1 - self.down_seconds / self.known_seconds if self.known_seconds else None

    @property
    def percent(self) -> float | None:
        """The same in percent, rounded down: only what was never down is at 100."""
        return None if self.ratio is None else _rounded_down(self.ratio * 100)

    @property
    def coverage_percent(self) -> float | None:
        """The share of the window that is known or was excluded, in percent."""
        if not self.window_seconds:
            return None
        return _rounded_down(min(1.0, (self.known_seconds + self.excluded_seconds) / self.window_seconds) * 100)

    def brief(self) -> dict[str, Any]:
        """What says most, JSON-ready."""
        return {
            "percent": self.percent,
            "coverage_percent": self.coverage_percent,
            "down_seconds": self.down_seconds,
            "incidents": self.incidents,
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return {
            **self.brief(),
            "known_seconds": self.known_seconds,
            "degraded_seconds": self.degraded_seconds,
            "maintenance_seconds": self.excluded_seconds,
        }


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a service may be down in 30 days by its objective (percent), and how long it was."""

    objective: float
    used_seconds: float

    @property
    def total_seconds(self) -> float:
        return (1 - self.objective / 100) * BUDGET_SECONDS

    @property
    def left_seconds(self) -> float:
        """Below zero once it is overdrawn."""
        return self.total_seconds - self.used_seconds

    @property
    def left_ratio(self) -> float:
        return self.left_seconds / self.total_seconds

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "window": WINDOW,
            "total_seconds": round(self.total_seconds, 3),
            "used_seconds": round(self.used_seconds, 3),
            "left_seconds": round(self.left_seconds, 3),
            "used_percent": round(100 - self.left_ratio * 100, 2),
            "left_percent": round(self.left_ratio * 100, 2),
        }


def _rounded_down(percent: float) -> float:
    """To three places; what differs from a whole thousandth by a rounding error only is that."""
    return math.floor(round(percent * 1000, 6)) / 1000
