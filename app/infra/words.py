"""Times and durations as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta


def duration(seconds: float | None) -> str:
    """`850 ms`, `12.3 s`, `4 min 10 s`, `3 h 2 min`, `2 d 4 h`; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def ago(moment: datetime | None, now: datetime) -> str:
    """`12 s ago`, `3 min ago`: in one unit, because it is stale at once; a dash for None."""
    if moment is None:
        return "-"
    seconds = int(max(now - moment, timedelta()).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
