"""What people have said that a page must respect, kept in a file for when the database is away: silences, overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.alerts import overrides
from app.alerts.matchers import Matcher
from app.alerts.muting import Silence
from app.alerts.oncall import Swap
from app.errors import Invalid
from app.infra.files import write_private

MOST = 10_000
"""Silences that are copied."""


@dataclass(frozen=True, slots=True)
class Known:
    """Silences that are not over, and by rotation who stands in for whom. Old copies stay true: each has its end."""

    silences: tuple[Silence, ...] = ()
    swaps: Mapping[str, tuple[Swap, ...]] = field(default_factory=dict)


_KNOWN: TypeAdapter[Known] = TypeAdapter(Known)


def path_in(run_dir: Path) -> Path:
    """Where the copy is."""
    return run_dir / "silences.json"


def load(session: Session, now: datetime) -> Known:
    """From the database, what has not begun yet included."""
    rows = session.execute(
        text(
            "SELECT id, matchers, starts_at, ends_at, created_by, comment FROM alert_silences"
            " WHERE ends_at > :now ORDER BY ends_at DESC LIMIT :most"
        ),
        {"now": now, "most": MOST},
    )
    silences = [
        Silence(
            id=str(row.id),
            matchers=tuple(map(Matcher.from_dict, row.matchers)),
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            created_by=row.created_by,
            comment=row.comment,
        )
        for row in rows
    ]
    return Known(tuple(silences), {name: tuple(swaps) for name, swaps in overrides.current(session, now).items()})


def keep(path: Path, known: Known) -> None:
    """Replace the copy. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, _KNOWN.dump_json(known).decode())


def kept(path: Path) -> Known:
    """The copy; nothing when there is none that can be read: then people are told rather than not."""
    try:
        return _KNOWN.validate_json(path.read_bytes())
    except (OSError, ValidationError, Invalid):
        return Known()
