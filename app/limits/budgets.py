"""Budgets as the limiter counts them: which of them apply to a call, each as a limit with a ceiling for every class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress
from typing import Any, NamedTuple

from app import catalog, clock
from app.catalog import CLASSES, COUNTER, MICRO, Budget, Budgeting, RateLimit
from app.errors import Invalid, Transient
from app.infra.logging import get_logger
from app.limits import keys
from app.limits.plans import MOST, crossings
from app.limits.windows import window_at

LOOK_SECONDS = 2.0
"""How old what people changed may be, in other processes than the one that changed it."""

HOURS = {"day": 24, "week": 168, "month": 720}
"""Even hours of a period."""

_BACKGROUND, _NORMAL = CLASSES.index("background"), CLASSES.index("normal")
_HOUR = "_hour"
_INTERACTION = "interaction"
_KEPT = 50_000
"""Subjects whose budgets are kept ready."""

__all__ = [
    "COUNTER",
    "Changes",
    "Counted",
    "Effective",
    "Override",
    "Who",
    "brought_back",
    "configure",
    "effective",
    "look_again",
    "name_of",
]

log = get_logger(__name__)


class Who(NamedTuple):
    """For whom a call is made; a name nobody gave is the empty text."""

    tenant: str = ""
    department: str = ""
    user: str = ""
    agent: str = ""
    skill: str = ""
    interaction: str = ""


@dataclass(frozen=True, slots=True)
class Override:
    """Another amount than the catalogue's, in millionths of a dollar: of all subjects ("") or of one."""

    name: str
    subject: str
    amount: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What people changed, and what is throttled at present: pairs of a budget's name and a subject.

    `version` differs whenever anything else does.
    """

    version: object = None
    budgets: Sequence[Budget] = ()
    overrides: Sequence[Override] = ()
    throttled: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Counted:
    """A budget as one subject's counter. `ceilings`: up to how much each class may go, the most urgent first.

    `is_throttle`: the counter of an hour beside the budget's own, while it is throttled.
    """

    budget: Budget
    subject: str
    limit: RateLimit
    ceilings: tuple[int, ...]
    is_throttle: bool = False

    def ceiling(self, rank: int, estimate: int) -> int:
        """Up to how much a class may go. What is throttled goes once in an hour, however much it is."""
        return max(self.ceilings[rank], estimate) if self.is_throttle else self.ceilings[rank]


class Effective:
    """The budgets that are in force: the catalogue's, people's own, and the amounts that people set."""

    def __init__(self, budgeting: Budgeting, changes: Changes | None = None) -> None:
        self.budgeting = budgeting
        self.changes = changes or Changes()
        self.budgets: Mapping[str, Budget] = {
            **{budget.name: budget for budget in self.changes.budgets},
            **budgeting.budgets,
        }
        self._amounts = {(one.name, one.subject): one.amount for one in self.changes.overrides}
        self._limits: dict[tuple[str, int, str, bool], RateLimit] = {}
        self._kept: dict[tuple[str, str], tuple[Counted, ...]] = {}
        scopes = {_INTERACTION if one.period == _INTERACTION else one.scope for one in self.budgets.values()}
        self._scopes = frozenset(scopes)
        self._told_apart = [name in scopes or (name == "agent" and _INTERACTION in scopes) for name in Who._fields]

    def alike(self, who: Who) -> tuple[str, ...]:
        """The names of those that are told apart: of whom they are the same, the same budgets count."""
        return tuple(compress(who, self._told_apart))

    def of(self, who: Who) -> tuple[Counted, ...]:
        """Every budget that a call for `who` counts in, the widest scope first."""
        found = self._of("global", "")
        for scope, value in (
            ("tenant", who.tenant),
            ("department", who.department),
            ("user", who.user),
            ("agent", who.agent),
            ("skill", who.skill),
        ):
            if value and scope in self._scopes:
                found += self._of(scope, value)
        if who.agent and who.interaction and _INTERACTION in self._scopes:
            found += self._of("interaction", f"{who.agent}/{who.interaction}")
        return found

    def counted(self, budget: str, subject: str) -> Counted | None:
        """One budget of one subject, such as `tenant:acme`; None where it does not apply."""
        scope, _, value = ("global", "", "") if subject == keys.EVERYBODY else subject.partition(":")
        return next((one for one in self._of(scope, value) if one.budget.name == budget and not one.is_throttle), None)

    def _of(self, scope: str, value: str) -> tuple[Counted, ...]:
        kept = self._kept.get((scope, value))
        if kept is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            kept = self._kept[(scope, value)] = tuple(self._made(scope, value))
        return kept

    def _made(self, scope: str, value: str) -> Iterator[Counted]:
        subject = subject_of(scope, value)
        for budget in self.budgets.values():
            if not _is_for(budget, scope, value):
                continue
            amount = self._amounts.get((budget.name, subject)) or self._amounts.get((budget.name, ""), budget.units)
            zone = budget.timezone or (self.budgeting.zone_of(value) if scope == "tenant" else "UTC")
            limit = self._limit(budget, amount, zone)
            yield Counted(budget, subject, limit, ceilings(budget, amount))
            if (budget.name, subject) in self.changes.throttled and budget.period in HOURS:
                slow = self._limit(budget, amount, zone, is_throttle=True)
                allowed = tuple(slow.units if rank >= _NORMAL else MOST for rank in range(len(CLASSES)))
                yield Counted(budget, subject, slow, allowed, is_throttle=True)

    def _limit(self, budget: Budget, amount: int, zone: str, *, is_throttle: bool = False) -> RateLimit:
        key = (budget.name, amount, zone, is_throttle)
        if key not in self._limits:
            self._limits[key] = _throttle(budget, amount) if is_throttle else _limit(budget, amount, zone)
        return self._limits[key]


def subject_of(scope: str, value: str) -> str:
    """The limiter's subject of a scope: `all`, `tenant:T`, `department:D`, `interaction:AGENT/ID` …"""
    return keys.EVERYBODY if scope == "global" else f"{scope}:{value}"


def name_of(counter: str) -> str:
    """The budget that a counter, or the one of its hour, belongs to."""
    name = counter.removeprefix(COUNTER)
    return name[1:].removesuffix(_HOUR) if name.startswith("_") else name


def ceilings(budget: Budget, amount: int) -> tuple[int, ...]:
    """Up to how much each class may go. What takes effect after a time of grace is left to a pause."""
    allowed = [MOST] * len(CLASSES)
    if budget.grace_hours:
        return tuple(allowed)
    for step in reversed(budget.ladder):
        most = int(amount * step.per_mille) // 1000
        if "stop" in step.actions:
            allowed = [most] * len(CLASSES)
        elif "pause" in step.actions:
            allowed[_BACKGROUND] = most
    return tuple(allowed)


def _is_for(budget: Budget, scope: str, value: str) -> bool:
    if budget.period == "interaction":
        return scope == "interaction" and (budget.only is None or value.startswith(f"{budget.only}/"))
    return budget.scope == scope and budget.only in (None, value)


def _limit(budget: Budget, amount: int, zone: str) -> RateLimit:
    is_rolling = budget.period == "interaction"
    return _made(
        name=budget.counter,
        capacity=amount / MICRO,
        window="rolling" if is_rolling else "calendar",
        period="day" if is_rolling else budget.period,
        timezone=zone,
        warn_at=tuple(step.at for step in budget.ladder),
    )


def _throttle(budget: Budget, amount: int) -> RateLimit:
    """What throttled work may spend in an hour. Its name is no budget's counter: their names begin with a letter."""
    share = max(1, round(amount * budget.throttle_share / HOURS[budget.period]))
    return _made(
        name=f"{COUNTER}_{budget.name}{_HOUR}",
        capacity=share / MICRO,
        window="calendar",
        period="hour",
        warn_at=(10.0,),
    )


def _made(**given: Any) -> RateLimit:
    return RateLimit.model_validate({"per": "all", "currency": "usd", "ceilings": {}, **given})


def brought_back(subject: str, spent: Mapping[str, tuple[datetime, int]], now: datetime) -> dict[str, dict[str, Any]]:
    """Counters of a subject's budgets after a loss of Redis, of windows that `now` is in: what was written down.

    Nothing is told again that was told of less. `spent` is by counter: the start of its window, and the amount.
    """
    found, known = {}, effective()
    for name, (start, amount) in spent.items():
        counted = known.counted(name.removeprefix(COUNTER), subject)
        if counted is None or counted.limit.window != "calendar":
            continue
        window = window_at(counted.limit, start)
        if window.start == start and now < window.end:
            levels = crossings(counted.limit.units, counted.limit.warn_at)
            found[name] = {
                "s": round(window.start.timestamp() * 1000),
                "e": round(window.end.timestamp() * 1000),
                "u": amount,
                "k": counted.limit.units,
                "n": sum(amount >= level for level in levels),
            }
    return found


_read: Callable[[], Changes] = Changes
_effective: Effective | None = None
_looked_at = float("-inf")


def configure(read: Callable[[], Changes]) -> None:
    """Say where people's changes are read (composition)."""
    global _read
    _read = read
    look_again()


def look_again() -> None:
    """Have the next caller read what people changed: this process has just changed it."""
    global _looked_at
    _looked_at = float("-inf")


def effective() -> Effective:
    """The budgets in force. While Postgres is away those that were known last."""
    global _effective, _looked_at
    known, now = _effective, clock.monotonic()
    budgeting = _budgeting(known)
    if known is not None and known.budgeting is budgeting and now - _looked_at < LOOK_SECONDS:
        return known
    _looked_at = now
    changes = _changes(known)
    if known is None or known.budgeting is not budgeting or known.changes.version != changes.version:
        _effective = known = Effective(budgeting, changes)
    return known


def _budgeting(known: Effective | None) -> Budgeting:
    try:
        return catalog.current().budgeting
    except Invalid:
        return Budgeting() if known is None else known.budgeting


def _changes(known: Effective | None) -> Changes:
    try:
        return _read()
    except Transient as error:
        log.warning("budgets as they were: what people changed cannot be read", error=str(error))
        return Changes() if known is None else known.changes
