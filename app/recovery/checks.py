"""Everything that judges a catalogue before it is taken up: services, channels, who is told, modes, bills, apps ..."""

from __future__ import annotations

from app import admission, notify
from app.alerts import catalog_check as alerting
from app.catalog import Check
from app.costs import billing
from app.health import specs
from app.recovery import catalog_check
from app.tokens import catalog_check as tokens

CHECKS: tuple[Check, ...] = (
    specs.catalog_problems,
    notify.catalog_problems,
    alerting.catalog_problems,
    admission.catalog_problems,
    catalog_check.catalog_problems,
    billing.catalog_problems,
    tokens.catalog_problems,
)
