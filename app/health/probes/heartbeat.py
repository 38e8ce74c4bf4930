"""The service calls us; silence past its period is a failure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from app import clock
from app.health.probing import CannotTell, Defaults, Outcome, Target, failed
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold

KIND = "heartbeat"
SUMMARY = "the service calls us in time"
DEFAULTS = Defaults(interval_seconds=30)
READINGS = {
    "last_seen_seconds": "time since the last call",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {"silent": "See why the service stopped calling: its scheduler, its process, or its way to us."}


class Options(BaseOptions):
    """How often the service calls."""

    period_seconds: float = Field(default=300, gt=0, description="longest silence that is still fine")


def probe(target: Target, options: Options) -> Outcome | CannotTell:
    """Silence is measured from the last call, or from when the service was registered if it never called."""
    now = clock.now()
    heard_at = target.last_heartbeat_at
    if heard_at is None:
        waited = (now - target.registered_at).total_seconds() if target.registered_at else 0.0
        if waited <= options.period_seconds:
            return CannotTell("no heartbeat yet, and its first period is not over")
        return failed("silent", f"never called in {waited:.0f} s; expected every {options.period_seconds:g} s")
    silence = max(0.0, (now - heard_at).total_seconds())
    readings = {"last_seen_seconds": round(silence, 1)}
    if silence > options.period_seconds:
        text = f"silent for {silence:.0f} s; expected every {options.period_seconds:g} s"
        return failed("silent", text, readings=readings)
    return Outcome(readings)
