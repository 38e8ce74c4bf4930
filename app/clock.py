"""The only caller of "now": everything else takes a time as an argument or asks the database."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current moment, aware, in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, to the millisecond: the one form in which times leave the product."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
