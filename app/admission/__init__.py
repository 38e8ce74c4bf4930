"""What may be done now: one decision over limits, pauses, modes and services; and what waits. Modes are told here."""

from app.admission.checks import catalog_problems
from app.admission.core import Effect, Hold
from app.admission.mirror import KEY
from app.admission.modes import enter, follow_health, leave, reconcile
from app.admission.reading import Modes, hold_shown, read
from app.admission.turn import RECONCILE

__all__ = [
    "KEY",
    "RECONCILE",
    "Effect",
    "Hold",
    "Modes",
    "catalog_problems",
    "enter",
    "follow_health",
    "hold_shown",
    "leave",
    "read",
    "reconcile",
]
