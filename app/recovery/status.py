"""The stack's status document as people get it: health's, with limits, modes and what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import admission, catalog
from app.admission import limit_document, limit_reading
from app.catalog import Catalog
from app.config import Settings
from app.errors import Invalid
from app.health import status
from app.recovery import control, imported, reading

_OF_MODES = ("name", "set_by", "reason", "since", "until")


def document(session: Session, now: datetime) -> dict[str, Any]:
    """The stored state of everything. `modes` has one entry for each holder of a mode that is on."""
    found = status.document(session, now)
    current = _catalogue()
    if current is not None:
        found["rate_limits"] = limit_reading.status_limits(session, current.limiting, now)
    found["notices"] += reading.notices(session, current)
    found["modes"] = [
        {key: hold[key] for key in _OF_MODES} for hold in map(admission.hold_shown, admission.read(session).holds)
    ]
    if "action_taken" in found:
        found["action_taken"] = reading.action_taken(session, now) or "none"
    return found


def fallback(config: Settings, now: datetime) -> dict[str, Any]:
    """The document while Postgres does not answer: the stop and the watchdog's work are known, by files."""
    found = status.fallback(config, now)
    current = _catalogue()
    if current is not None:
        found["rate_limits"] = limit_document.unknown_entries(current.limiting.limits.values())
    found["action_taken"] = reading.actions_of(imported.lately(config.home, now - reading.LATELY)) or "none"
    stopped = control.kept(control.stop_file())
    if stopped is not None:
        found["notices"].append(f"recovery is stopped {stopped}: nothing is repaired")
    return found


def _catalogue() -> Catalog | None:
    """None while there is no usable one; the notices of health say so."""
    try:
        return catalog.current()
    except Invalid:
        return None
