"""The declarative TOML file, typed: the services to look after. A broken one never replaces a good one."""

from app.catalog.current import current, last_good_file, problem, use_check
from app.catalog.explain import did_you_mean, explain
from app.catalog.load import Check, lines_of, load, parse, shown_path
from app.catalog.model import COMMON_FIELDS, NAME, Catalog, Limits, Service, in_maintenance
from app.catalog.windows import OneOff, Weekly, Window

__all__ = [
    "COMMON_FIELDS",
    "NAME",
    "Catalog",
    "Check",
    "Limits",
    "OneOff",
    "Service",
    "Weekly",
    "Window",
    "current",
    "did_you_mean",
    "explain",
    "in_maintenance",
    "last_good_file",
    "lines_of",
    "load",
    "parse",
    "problem",
    "shown_path",
    "use_check",
]
