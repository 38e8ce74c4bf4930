"""Which warnings people know of, and what of them is news. Pure.

A service that is up warns while any reading is past a limit, and is told again whenever another one joins or one gets
worse. A degraded service was told with all its readings; one that joins later is told as a warning. As with states,
nothing new is told of a service that flaps, and a failure that is not yet a fall says nothing of what was read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.health.core import Decision, Kind, State
from app.health.results import ProbeResult, is_worse

WARNING, WARNING_OVER = "health.warning", "health.warning_over"
"""A service reads something at or past a limit that people do not know of; nothing is left of what they were told."""

_BACK = {Kind.UP, Kind.RECOVERED}


@dataclass(frozen=True, slots=True)
class Known:
    """What people were told: is there a warning, and the level of each reading."""

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
    joined = any(is_worse(level, than=before.levels.get(reading)) for reading, level in result.levels.items())
    match state.state:
        case State.UP:
            warned = bool(result.warnings)
            return Known(warned, result.levels), warned and (
                joined or not before.warned or not _BACK.isdisjoint(decision.announce)
            )
        case State.DEGRADED if Kind.DEGRADED in decision.announce:
            return Known(False, result.levels), False
        case State.DEGRADED:
            return Known(before.warned or joined, result.levels), joined
        case _:
            return Known(), False
