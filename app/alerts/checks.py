"""Everything that judges a catalogue before it is taken up: services, channels, and who is told of what."""

from __future__ import annotations

from app import admission, notify
from app.alerts import catalog_check
from app.catalog import Check
from app.health import specs

CHECKS: tuple[Check, ...] = (
    specs.catalog_problems,
    notify.catalog_problems,
    catalog_check.catalog_problems,
    admission.catalog_problems,
)
