"""When to start again what died, and when to give up on what fell silent. Pure: times are seconds on one clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0
STEADY_SECONDS = 60.0
SILENT_SECONDS = 60.0
_OUR_PAUSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long the next restart waits: doubling, and short again for what had been alive for a minute."""

    wait_seconds: float = FIRST_SECONDS

    def after_death(self, *, alive_seconds: float) -> tuple[float, Backoff]:
        """(seconds to wait now, the back-off for the time after)."""
        wait = FIRST_SECONDS if alive_seconds >= STEADY_SECONDS else self.wait_seconds
        return wait, Backoff(min(wait * 2, LONGEST_SECONDS))


@dataclass(frozen=True, slots=True)
class Pulse:
    """A heartbeat file as we saw it change, by our own clock: its time stamp would lie after a suspended night."""

    stamp: int | None = None
    changed_at: float = 0.0
    looked_at: float = 0.0

    def seen(self, stamp: int | None, *, at: float) -> Pulse:
        """After a look that found modification time `stamp` (None: no file)."""
        we_paused = at - self.looked_at > _OUR_PAUSE_SECONDS
        if stamp != self.stamp or we_paused:
            return Pulse(stamp, at, at)
        return replace(self, looked_at=at)

    def is_silent(self, *, at: float) -> bool:
        """Did a file that once was touched stay untouched for a minute while we watched?"""
        return self.stamp is not None and at - self.changed_at > SILENT_SECONDS
