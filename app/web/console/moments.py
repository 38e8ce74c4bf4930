"""Times as pages show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.infra.words import ago


@dataclass(frozen=True, slots=True)
class Moment:
    """A time for people (`3 min ago`) and for machines and tooltips."""

    text: str
    iso: str | None


def moment(value: object, now: datetime) -> Moment:
    """From the ISO text of a document; a dash for nothing."""
    at = parse(value)
    return Moment("-", None) if at is None else Moment(ago(at, now), str(value))


def parse(value: object) -> datetime | None:
    """A document's time; None for anything else."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
