"""The declarative TOML file, typed: what to look after, whom to tell. A broken one never replaces a good one."""

from app.catalog.alerting import (
    SEVERITIES,
    Alerting,
    AlertRule,
    BusinessHours,
    Channel,
    Condition,
    Contact,
    Inhibition,
    Ladder,
    Mute,
    Override,
    Person,
    Receiver,
    Rotation,
    Route,
    Step,
    Team,
    Telling,
)
from app.catalog.availability import STACK, Availability, BurnWindows
from app.catalog.billing import Billing, Provider
from app.catalog.budgeting import COUNTER, Budget, Budgeting, Tenant, Threshold
from app.catalog.causes import behind, root_of
from app.catalog.connecting import App, Connecting, Tokens
from app.catalog.current import current, last_good_file, problem, use_check
from app.catalog.engines import Docker
from app.catalog.explain import did_you_mean, explain
from app.catalog.limiting import CLASSES, MICRO, HttpLimit, Limiting, Operation, RateLimit
from app.catalog.load import Check, lines_of, load, parse, shown_path
from app.catalog.model import COMMON_FIELDS, Catalog, Limits, Service, in_maintenance
from app.catalog.modes import OPERATION, Mode, Replay, operation_problems
from app.catalog.recovery import Playbook, PlaybookStep, Recovery, steps_of
from app.catalog.telling import outward, routes_of
from app.catalog.values import NAME, Severity
from app.catalog.windows import OneOff, Weekly, Window

__all__ = [
    "CLASSES",
    "COMMON_FIELDS",
    "COUNTER",
    "MICRO",
    "NAME",
    "OPERATION",
    "SEVERITIES",
    "STACK",
    "AlertRule",
    "Alerting",
    "App",
    "Availability",
    "Billing",
    "Budget",
    "Budgeting",
    "BurnWindows",
    "BusinessHours",
    "Catalog",
    "Channel",
    "Check",
    "Condition",
    "Connecting",
    "Contact",
    "Docker",
    "HttpLimit",
    "Inhibition",
    "Ladder",
    "Limiting",
    "Limits",
    "Mode",
    "Mute",
    "OneOff",
    "Operation",
    "Override",
    "Person",
    "Playbook",
    "PlaybookStep",
    "Provider",
    "RateLimit",
    "Receiver",
    "Recovery",
    "Replay",
    "Rotation",
    "Route",
    "Service",
    "Severity",
    "Step",
    "Team",
    "Telling",
    "Tenant",
    "Threshold",
    "Tokens",
    "Weekly",
    "Window",
    "behind",
    "current",
    "did_you_mean",
    "explain",
    "in_maintenance",
    "last_good_file",
    "lines_of",
    "load",
    "operation_problems",
    "outward",
    "parse",
    "problem",
    "root_of",
    "routes_of",
    "shown_path",
    "steps_of",
    "use_check",
]
