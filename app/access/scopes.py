"""What a key may be allowed: scopes with their selectors, and which endpoint asks for which of them.

An endpoint that is not in ENDPOINTS is for admins. A scope is written NAME or NAME:SELECTOR; several of one name add
up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from app.catalog import did_you_mean
from app.errors import Invalid, Problem

TOKENS_READ, TOKENS_LIST = "tokens:read", "tokens:list"
ADMISSIONS = "admissions"
COSTS_RECORD = "costs:record"
JOBS_SUBMIT = "jobs:submit"
TIMELINE_READ = "timeline:read"
METRICS_READ = "metrics:read"
ALERTS_POST = "alerts:post"

ANY_KEY = ""
"""For endpoints that every key may use, whatever its scopes."""

TENANT = "tenant="
MOST = 50
"""Scopes of one key."""
LONGEST = 500

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_TASK = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_ACCOUNT_SHAPES = "PLATFORM, PLATFORM/ACCOUNT or tenant=TENANT"


def _selects_accounts(selector: str) -> bool:
    if selector.startswith(TENANT):
        return _is_name(selector.removeprefix(TENANT))
    platform, slash, account = selector.partition("/")
    return _LABEL.fullmatch(platform) is not None and (not slash or _is_name(account))


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 200 and text.isprintable() and text == text.strip()


def _selects_a_task(selector: str) -> bool:
    return _TASK.fullmatch(selector) is not None


def _selects_signals(selector: str) -> bool:
    return _LABEL.fullmatch(selector) is not None


@dataclass(frozen=True, slots=True)
class Kind:
    """A scope that there is. `shapes`: what may follow its name, for people; empty: nothing may."""

    gives: str
    shapes: str = ""
    selects: Callable[[str], bool] | None = None


KINDS: Mapping[str, Kind] = {
    TOKENS_READ: Kind("fetch current access tokens", _ACCOUNT_SHAPES, _selects_accounts),
    TOKENS_LIST: Kind("see how tokens stand, never the tokens", _ACCOUNT_SHAPES, _selects_accounts),
    ADMISSIONS: Kind("ask whether operations may go on, and report what came of them"),
    COSTS_RECORD: Kind("record LLM calls"),
    JOBS_SUBMIT: Kind("submit jobs, and follow one's own", "TASK", _selects_a_task),
    TIMELINE_READ: Kind("read the timeline", "the first word of its kinds, such as tokens", _selects_signals),
    METRICS_READ: Kind("read the figures of health, availability, alerts and limits"),
    ALERTS_POST: Kind("post alerts, as Prometheus does"),
}

ENDPOINTS: Mapping[str, str] = {
    "POST /api/v1/tokens/{platform}/{account}/read": TOKENS_READ,
    "GET /api/v1/tokens": TOKENS_LIST,
    "GET /api/v1/tokens/banners": TOKENS_LIST,
    "GET /api/v1/tokens/report": TOKENS_LIST,
    "GET /api/v1/tokens/success": TOKENS_LIST,
    "GET /api/v1/tokens/{platform}/{account}": TOKENS_LIST,
    "GET /api/v1/tokens/{platform}/{account}/history": TOKENS_LIST,
    "POST /api/v1/admissions": ADMISSIONS,
    "POST /api/v1/admissions/batch": ADMISSIONS,
    "POST /api/v1/admissions/outcomes": ADMISSIONS,
    "GET /api/v1/admissions": ADMISSIONS,
    "GET /api/v1/admissions/{deferred_id}": ADMISSIONS,
    "POST /api/v1/admissions/{deferred_id}/cancel": ADMISSIONS,
    "POST /api/v1/costs/calls": COSTS_RECORD,
    "POST /api/v1/jobs": JOBS_SUBMIT,
    "POST /api/v1/jobs/batch": JOBS_SUBMIT,
    "GET /api/v1/jobs/{job_id}": JOBS_SUBMIT,
    "GET /api/v1/timeline": TIMELINE_READ,
    "GET /api/v1/status": METRICS_READ,
    "GET /api/v1/services/{service}/latency": METRICS_READ,
    "GET /api/v1/availability": METRICS_READ,
    "GET /api/v1/availability/{service}": METRICS_READ,
    "GET /api/v1/alerts/figures": METRICS_READ,
    "GET /api/v1/limits": METRICS_READ,
    "POST /api/v2/alerts": ALERTS_POST,
    "POST /api/v1/webhooks/alertmanager": ALERTS_POST,
    "GET /api/v1/contract": ANY_KEY,
    "GET /api/v1/modes": ANY_KEY,
    "GET /api/v1/modes/{name}": ANY_KEY,
}
"""Method and path, as the OpenAPI document writes it, to the scope. Selectors are looked at by the endpoint itself."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing that a key may do. Without a selector: for all there is."""

    name: str
    selector: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.selector}" if self.selector else self.name


@dataclass(frozen=True, slots=True)
class Reach:
    """Which accounts scopes are about."""

    everything: bool = False
    platforms: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()

    def covers(self, tenant: str, platform: str, external_id: str) -> bool:
        """Is this account among them?"""
        return (
            self.everything
            or platform in self.platforms
            or f"{platform}/{external_id}" in self.accounts
            or tenant in self.tenants
        )

    def condition(self, alias: str = "a") -> tuple[str, dict[str, list[str]]]:
        """The same as SQL about a row of `accounts`, with its parameters."""
        if self.everything:
            return "true", {}
        said = (
            f"({alias}.platform = ANY(:reach_platforms) OR {alias}.tenant = ANY(:reach_tenants)"
            f" OR {alias}.platform || '/' || {alias}.external_id = ANY(:reach_accounts))"
        )
        return said, {
            "reach_platforms": sorted(self.platforms),
            "reach_tenants": sorted(self.tenants),
            "reach_accounts": sorted(self.accounts),
        }


EVERYTHING = Reach(everything=True)


def parse(text: str) -> Scope:
    """A scope as it is written. Raises Invalid."""
    scope, message = _parsed(text)
    if scope is None:
        raise Invalid([Problem("scopes", message)], subject="key")
    return scope


def parse_all(texts: Iterable[str], *, platforms: Iterable[str] = (), tasks: Iterable[str] = ()) -> tuple[Scope, ...]:
    """Scopes as they are written, each once. Raises Invalid naming every wrong one.

    `platforms`, `tasks`: those that there are, where the caller knows: a selector that names another one is wrong.
    """
    found: dict[Scope, None] = {}
    problems = []
    known = {TOKENS_READ: tuple(platforms), TOKENS_LIST: tuple(platforms), JOBS_SUBMIT: tuple(tasks)}
    for place, text in enumerate(texts):
        scope, message = _parsed(text)
        if scope is not None:
            message = _unknown(scope, known.get(scope.name, ()))
            found[scope] = None
        if message:
            problems.append(Problem(f"scopes[{place}]", message))
    if len(found) > MOST:
        problems.append(Problem("scopes", f"are {len(found)}; the most is {MOST}"))
    if problems:
        raise Invalid(problems, subject="key")
    return tuple(found)


def reach_of(scopes: Iterable[Scope], name: str) -> Reach:
    """The accounts that the scopes of this name are about."""
    selectors = [scope.selector for scope in scopes if scope.name == name]
    tenants = frozenset(one.removeprefix(TENANT) for one in selectors if one.startswith(TENANT))
    others = [one for one in selectors if not one.startswith(TENANT)]
    return Reach(
        everything="" in others,
        platforms=frozenset(one for one in others if one and "/" not in one),
        accounts=frozenset(one for one in others if "/" in one),
        tenants=tenants,
    )


def _parsed(text: str) -> tuple[Scope | None, str]:
    if len(text) > LONGEST:
        return None, f"must have at most {LONGEST} characters"
    name = next((name for name in KINDS if text == name or text.startswith(f"{name}:")), None)
    if name is None:
        said = ":".join(text.split(":")[:2])
        return None, f"is no scope{did_you_mean(said, KINDS)}; there are {', '.join(KINDS)}"
    selector = text.removeprefix(name)
    if not selector:
        return Scope(name), ""
    kind, selector = KINDS[name], selector.removeprefix(":")
    if kind.selects is None:
        return None, f"{name} stands alone: nothing may follow it"
    if not kind.selects(selector):
        return None, f"after {name}: must be {kind.shapes}"
    return Scope(name, selector), ""


def _unknown(scope: Scope, known: tuple[str, ...]) -> str:
    if not scope.selector or not known or scope.selector.startswith(TENANT):
        return ""
    word = scope.selector.partition("/")[0] if scope.name != JOBS_SUBMIT else scope.selector
    what = "published task" if scope.name == JOBS_SUBMIT else "platform"
    return "" if word in known else f'"{word}" is no {what}{did_you_mean(word, known)}'
