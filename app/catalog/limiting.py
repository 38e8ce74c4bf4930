"""The catalogue's tables about limits: [limits.NAME], [operations.NAME] and [http], the limits of our own API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, field_validator

from app.catalog.alerting import Table, Texts, _zone
from app.catalog.explain import did_you_mean
from app.catalog.modes import OPERATION
from app.catalog.rows import rows
from app.catalog.values import NAME, Count, Figure, Label, Seconds
from app.errors import Problem

LIMIT = r"^[a-z][a-z0-9_]{0,62}$"
"""What limits may be called: their names are keys of the status document."""

Class = Literal["critical", "interactive", "normal", "background"]
CLASSES: tuple[Class, ...] = ("critical", "interactive", "normal", "background")
"""Priority classes of operations, the most urgent first; a class's place here is its rank."""

MICRO = 1_000_000
LARGEST = 10**13
"""Of any capacity, in calls or millionths of a dollar: the limiter's numbers stay exact."""

PERIODS = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "month": 2_592_000.0}
"""Names of periods and their lengths in seconds; a calendar day, week or month may be shorter or longer."""

LONGEST = 2_678_400
"""Seconds of any window, and of any wait: 31 days."""


def _period(value: object) -> object:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= LONGEST and value % 1 == 0
    if not whole and not (isinstance(value, str) and value in PERIODS):
        raise ValueError(f"must be minute, hour, day, week, month, or whole seconds from 1 to {LONGEST}")
    return value


def _cost(value: object) -> object:
    if value != "estimate" and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError('must be a whole number, or "estimate"')
    return value


def _rising(shares: tuple[float, ...]) -> tuple[float, ...]:
    if not shares:
        raise ValueError("must not be empty")
    if list(shares) != sorted(set(shares)):
        raise ValueError("must rise, such as [0.8, 0.95, 1.0]")
    return shares


Share = Annotated[Figure, Field(ge=0, le=10)]
Period = Annotated[Literal["minute", "hour", "day", "week", "month"] | float, BeforeValidator(_period)]
Cost = Annotated[int | Literal["estimate"], BeforeValidator(_cost)]


class RateLimit(Table):
    """[limits.NAME]: so much in such a window, for each account (or tenant, or all together)."""

    name: str = Field(pattern=LIMIT, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    platform: Label | None = Field(default=None, description="whose limit it is; the house's own where it is nobody's")
    per: Literal["account", "tenant", "all"] = Field(default="account", description="who has a counter of its own")
    currency: Literal["calls", "usd"] = Field(default="calls", description="what is counted")
    capacity: Figure = Field(gt=0, description="calls in a window, or dollars where the currency is usd")
    window: Literal["calendar", "rolling"] = Field(
        description="calendar: it starts anew with each period; rolling: any stretch of time of that length"
    )
    period: Period = Field(description="the window's length: minute, hour, day, week, month, or seconds")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="where the calendar's days, weeks and months begin at midnight"
    )
    warn_at: Annotated[tuple[Share, ...], AfterValidator(_rising)] = Field(
        default=(0.8, 0.95, 1.0), max_length=10, description="shares whose crossing is told, once each"
    )
    ceilings: dict[Class, Share] = Field(
        default={"background": 0.95},
        description="share of the capacity up to which a class may go; a class that is not named may use all of it",
    )
    reserve: Share = Field(
        default=0.1, le=0.9, description="share that work which has waited leaves to interactive work; it melts away"
    )
    spread: Share = Field(default=0.05, le=1, description="share of a window over which work that has waited is let go")
    reported_by: tuple[Literal["app_usage", "business_usage", "publishing_limit"], ...] = Field(
        default=(), description="figures of the platform that correct the counter upward"
    )
    escalate_after: Count = Field(
        default=3, ge=1, le=1000, description="windows in a row at the limit after which people are told"
    )

    @field_validator("capacity")
    @classmethod
    def _countable(cls, value: float, info: ValidationInfo) -> float:
        """The limiter counts in whole units, and exactly."""
        if info.data.get("currency") == "usd":
            if not 1 <= round(value * MICRO) <= LARGEST:
                raise ValueError(f"must be dollars from 0.000001 to {LARGEST // MICRO}")
        elif value > LARGEST or value % 1:
            raise ValueError(f"must be a whole number of calls, at most {LARGEST}")
        return value

    @property
    def units(self) -> int:
        """The capacity in whole units: calls, or millionths of a dollar."""
        return round(self.capacity * MICRO) if self.currency == "usd" else round(self.capacity)

    @property
    def seconds(self) -> float:
        """The window's length; of a calendar month, 30 days."""
        return PERIODS[self.period] if isinstance(self.period, str) else self.period

    def ceiling(self, rank: int) -> int:
        """Up to how much a class may go, in units. A class named with more than 1 may go over the limit."""
        return int(self.units * self.ceilings.get(CLASSES[rank], 1.0) + 1e-9)


class Operation(Table):
    """[operations.NAME]: something that is done on a platform, what it uses and what it cannot do without."""

    name: str = Field(pattern=OPERATION, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    platform: Label | None = Field(default=None, description="where it is done")
    urgency: Class = Field(default="normal", alias="class", description="critical, interactive, normal or background")
    consumes: dict[str, Cost] = Field(
        default_factory=dict, description='how much of which limit: {instagram_api = 1, tenant_spend = "estimate"}'
    )
    budgets: bool = Field(
        default=False,
        description="true: it spends money, and reserves its estimate in every budget that applies; it has no platform",
    )
    requires: Texts = Field(default=(), max_length=20, description="services; while one is down the operation waits")
    requires_token: bool = Field(default=False, description="true: it waits while the account's token is not usable")
    expires_seconds: Seconds = Field(
        default=86_400, ge=1, le=LONGEST, description="how long it may wait before it is dropped"
    )
    fall_back: str = Field(default="", max_length=500, description="what to do instead, told to whoever has to wait")
    unreachable: Literal["refuse", "allow"] = Field(
        default="refuse", description="what is answered while the counters cannot be reached"
    )
    one_at_a_time: bool = Field(
        default=False, description="true: of an account the next one starts when the one before is done"
    )

    @property
    def rank(self) -> int:
        """0 for the most urgent class, 3 for background."""
        return CLASSES.index(self.urgency)


class HttpLimit(Table):
    """[http.NAME]: how often one caller may ask our own API. `rate` 0: as often as it likes."""

    name: str = Field(pattern=NAME, exclude=True)
    rate: Count = Field(ge=0, le=10_000_000, description="requests a minute")
    burst: Count = Field(default=0, ge=0, le=1_000_000, description="requests a second; 0: no bound of its own")
    paths: Texts = Field(
        default=(),
        max_length=100,
        description="beginnings of paths, up to a slash; the longest one counts, and `/` is the front page alone",
    )
    callers: Texts = Field(default=(), max_length=100, description="names of keys; without a path, the caller decides")

    @field_validator("burst")
    @classmethod
    def _of_a_rate(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("rate") == 0:
            raise ValueError("is not looked at while rate is 0")
        return value


class Limiting(BaseModel):
    """All of it. Operations name limits that exist."""

    model_config = {"frozen": True}

    limits: Mapping[str, RateLimit] = Field(default_factory=dict)
    operations: Mapping[str, Operation] = Field(default_factory=dict)
    http: Mapping[str, HttpLimit] = Field(default_factory=dict)


_MODELS: dict[str, type[Table]] = {"limits": RateLimit, "operations": Operation, "http": HttpLimit}
TABLES = tuple(_MODELS)


def read(tree: Mapping[str, Any], problems: list[Problem]) -> Limiting:
    """Every table of `tree` that can be read; what is wrong is added to `problems`."""
    found: dict[str, dict[str, Any]] = {
        table: dict(rows(tree, table, model, problems)) for table, model in _MODELS.items()
    }
    services = tree.get("services")
    known = frozenset(services if isinstance(services, dict) else ())
    limits = tree.get("limits")
    written = frozenset(limits if isinstance(limits, dict) else ())
    for operation in found["operations"].values():
        problems += _dangling(operation, found["limits"], written, known)
    problems += _twice(found["http"])
    return Limiting(limits=found["limits"], operations=found["operations"], http=found["http"])


def _dangling(
    operation: Operation, limits: Mapping[str, RateLimit], written: frozenset[str], services: frozenset[str]
) -> Iterator[Problem]:
    path = f"operations.{operation.name}"
    if operation.budgets and operation.platform is not None:
        yield Problem(f"{path}.budgets", "is only for an operation without a platform")
    for name, cost in operation.consumes.items():
        limit = limits.get(name)
        if name not in written:
            yield Problem(f"{path}.consumes.{name}", f'there is no limit "{name}"{did_you_mean(name, written)}')
        elif limit is not None and cost == "estimate" and limit.currency != "usd":
            yield Problem(f"{path}.consumes.{name}", "only a limit in usd is consumed by an estimate")
        elif limit is not None and isinstance(cost, int):
            most = min(limit.units, limit.ceiling(operation.rank))
            if not 1 <= cost <= most:
                said = (
                    f"must lie between 1 and {most}, which is all that {operation.urgency} work may use of this limit"
                )
                yield Problem(f"{path}.consumes.{name}", said)
    for place, name in enumerate(operation.requires):
        if name not in services:
            yield Problem(f"{path}.requires[{place}]", f'there is no service "{name}"{did_you_mean(name, services)}')


def _twice(http: Mapping[str, HttpLimit]) -> Iterator[Problem]:
    for field, (words, wanted) in _WORDS.items():
        seen: dict[str, str] = {}
        for limit in http.values():
            for place, word in enumerate(getattr(limit, field)):
                path = f"http.{limit.name}.{field}[{place}]"
                same = word.rstrip("/") if field == "paths" else word
                if not re.fullmatch(words, word):
                    yield Problem(path, f"must be {wanted}")
                elif same in seen:
                    yield Problem(path, f"is in http.{seen[same]}.{field} already")
                seen.setdefault(same, limit.name)


_WORDS = {
    "paths": (r"/[^\s?#\x7f-\U0010ffff]*", "the beginning of a path, such as /api/v1/chat"),
    "callers": (r".{1,200}", "the name of a key"),
}
"""What may stand in the lists of [http.NAME], and how that is said."""
