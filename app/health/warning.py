"""Which warnings people know of, and what of them is news. Pure.

While a reading is past a limit people know of it: by a warning, or because it degraded the service. They are told again
whenever another reading joins or one gets worse, and once when none is left. As with states, nothing new is told of a
service that flaps, and a failure that is not yet a fall says nothing of what was read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.health.core import Decision, Kind, State
from app.health.results import ProbeResult, is_worse

WARNING, WARNING_OVER = "health.warning", "health.warning_over"
"""A service reads something past a limit that people do not know of; nothing it reads is past one any more."""

_BACK = {Kind.UP, Kind.RECOVERED}


@dataclass(frozen=True, slots=True)
class Known:
    """What people were told: is anything past a limit, and the level of each reading."""

    warned: bool = False
    levels: Mapping[str, str] = field(default_factory=dict)


def tell(before: Known, result: ProbeResult, decision: Decision) -> tuple[Known, list[str]]:
    """What people know after this result, and the signals to record for it.

    The end of a warning comes before a change of state, its beginning after one.
    """
    after, news = _known(before, result, decision)
    over = [WARNING_OVER] if before.warned and not after.warned else []
    return after, [*over, *decision.announce, *([WARNING] if news else [])]


def _known(before: Known, result: ProbeResult, decision: Decision) -> tuple[Known, bool]:
    state = decision.state
    if state.flapping or (not result.ok and state.state is not State.DOWN):
        return before, False
    if state.state not in (State.UP, State.DEGRADED):
        return Known(), False
    warned = bool(result.levels or result.warnings)
    joined = any(is_worse(level, than=before.levels.get(reading)) for reading, level in result.levels.items())
    back = not _BACK.isdisjoint(decision.announce)
    news = warned and (joined or back or not before.warned) and Kind.DEGRADED not in decision.announce
    return Known(warned, result.levels), news
