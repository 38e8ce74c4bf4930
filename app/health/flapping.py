"""Is a service changing its mind? Sensu's measure: the weighted share of changes over the last 21 results.

Newer changes weigh more, from 0.8 for the oldest to 1.18 for the newest of twenty
(https://docs.sensu.io/sensu-go/latest/observability-pipeline/observe-schedule/checks/#flap-detection-algorithm).
"""

from __future__ import annotations

from itertools import pairwise

WINDOW = 21
HIGH_PERCENT = 50.0
LOW_PERCENT = 25.0


def remember(history: str, mark: str) -> str:
    """The history with one more result; marks are single letters, oldest first."""
    return (history + mark)[-WINDOW:]


def change_percent(history: str) -> float:
    """Weighted change in percent; 0 until the window is full."""
    if len(history) < WINDOW:
        return 0.0
    changes = sum(0.80 + 0.02 * index for index, (before, after) in enumerate(pairwise(history)) if before != after)
    return changes / (WINDOW - 1) * 100


def is_flapping(history: str, *, was: bool, high: float = HIGH_PERCENT, low: float = LOW_PERCENT) -> bool:
    """Flapping starts at `high` and ends under `low`: between them it stays what it was."""
    percent = change_percent(history)
    return percent >= low if was else percent >= high
