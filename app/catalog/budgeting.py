"""The catalogue's tables about money: [tenants.NAME], whose day begins when, and [budgets.NAME]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from app.catalog.alerting import Contact, Table, _zone
from app.catalog.limiting import LARGEST, LIMIT, MICRO
from app.catalog.rows import rows
from app.catalog.values import Figure, Label, Severity
from app.errors import Problem

Scope = Literal["global", "tenant", "department", "user", "agent", "skill"]
Action = Literal["notify", "throttle", "pause", "stop", "cheaper", "escalate"]
"""What happens when a share is reached: people are told; background work is slowed down, or waits for the next period;
everything waits; skills are told to take a cheaper model; a person is called at once."""

COUNTER = "budget_"
"""Counters of budgets are named so, and no limit may be."""

TENANT = r"^[^\x00-\x1f\x7f]{1,200}$"


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Tenant(Table):
    """[tenants.NAME]: a client. One that is not named here has UTC days."""

    name: str = Field(pattern=TENANT, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="where its days, weeks and months begin at midnight"
    )
    contacts: tuple[Contact, ...] = Field(
        default=(), max_length=20, description="how the client is told of its accounts, where an account names none"
    )


class Threshold(Table):
    """One step of a budget's ladder: `{at = 0.8, severity = "warning", actions = ["notify"]}`."""

    at: Figure = Field(ge=0.001, le=10, description="share of the budget at which it is taken, once a period")
    severity: Severity = Field(default="warning", description="of the alert: info, warning, error or critical")
    actions: Annotated[tuple[Action, ...], BeforeValidator(_listed)] = Field(
        default=("notify",), max_length=6, description="notify, throttle, pause, stop, cheaper, escalate"
    )
    team: Label | None = Field(default=None, description="who is told; else the team of the alert")

    @property
    def per_mille(self) -> int:
        """The share in thousandths, which is how it is named."""
        return round(self.at * 1000)


def _ladder(action: Action) -> tuple[Threshold, ...]:
    return (
        Threshold(at=0.75, severity="info"),
        Threshold(at=0.8, severity="warning"),
        Threshold(at=0.9, severity="error"),
        Threshold(at=0.95, severity="critical"),
        Threshold(at=1.0, severity="critical", actions=("notify", action)),
        Threshold(at=1.1, severity="critical", actions=("notify", "escalate")),
    )


LADDER, GLOBAL_LADDER = _ladder("pause"), _ladder("throttle")
INTERACTION_LADDER = (Threshold(at=1.0, severity="warning", actions=("notify", "stop")),)


class Budget(Table):
    """[budgets.NAME]: so many dollars in such a period, for one of a scope or for each of them."""

    name: str = Field(pattern=LIMIT, max_length=50, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    scope: Scope = Field(description="global, tenant, department, user, agent or skill")
    only: str | None = Field(
        default=None,
        alias="for",
        pattern=TENANT,
        description="the one tenant, user … that it is for; without it each has a budget of its own",
    )
    period: Literal["day", "week", "month", "interaction"] = Field(
        description="day, week (from Monday), month; of an agent also interaction, over a day after its last call"
    )
    amount: Figure = Field(gt=0, le=LARGEST // MICRO, description="dollars")
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="where its periods begin; else the tenant's own zone, and UTC for other scopes"
    )
    thresholds: tuple[Threshold, ...] = Field(
        default=(), max_length=10, description="its ladder; without it the one of its scope"
    )
    grace_hours: Figure = Field(
        default=0, ge=0, le=744, description="how long after `throttle`, `pause` or `stop` was reached it takes effect"
    )
    throttle_share: Figure = Field(
        default=0.1, gt=0, le=1, description="what throttled work may spend an hour, of an even hour of the period"
    )
    cheaper: str = Field(default="", max_length=500, description="what `cheaper` tells skills: which model to take")

    @model_validator(mode="before")
    @classmethod
    def _given_ladder(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("scope") == "global":
            return {"grace_hours": 2, **given}
        return given

    @model_validator(mode="after")
    def _makes_sense(self) -> Budget:
        if self.period == "interaction" and self.scope != "agent":
            raise ValueError("period: interaction is only for the scope agent")
        if self.period == "interaction" and (self.grace_hours or any("throttle" in one.actions for one in self.ladder)):
            raise ValueError("period: an interaction has no hours, for grace_hours or `throttle`")
        if self.scope == "global" and self.only is not None:
            raise ValueError("for: a global budget is for everybody")
        if not self.units:
            raise ValueError("amount: must be at least 0.000001")
        shares = [step.per_mille for step in self.thresholds]
        if shares != sorted(set(shares)):
            raise ValueError("thresholds: must rise, each share once")
        return self

    @property
    def units(self) -> int:
        """The amount in millionths of a dollar."""
        return round(self.amount * MICRO)

    @property
    def ladder(self) -> tuple[Threshold, ...]:
        """Its thresholds, from the lowest."""
        if self.thresholds:
            return self.thresholds
        if self.period == "interaction":
            return INTERACTION_LADDER
        return GLOBAL_LADDER if self.scope == "global" else LADDER

    @property
    def counter(self) -> str:
        """What its counter is called in the limiter."""
        return COUNTER + self.name


class Budgeting(BaseModel):
    """All of it."""

    model_config = {"frozen": True}

    tenants: Mapping[str, Tenant] = Field(default_factory=dict)
    budgets: Mapping[str, Budget] = Field(default_factory=dict)

    def zone_of(self, tenant: str) -> str:
        """The IANA name of a tenant's time zone."""
        known = self.tenants.get(tenant)
        return "UTC" if known is None else known.timezone


_MODELS: dict[str, type[Table]] = {"tenants": Tenant, "budgets": Budget}
TABLES = tuple(_MODELS)


def read(tree: Mapping[str, Any], problems: list[Problem]) -> Budgeting:
    """Every table of `tree` that can be read; what is wrong is added to `problems`."""
    found: dict[str, dict[str, Any]] = {
        table: dict(rows(tree, table, model, problems)) for table, model in _MODELS.items()
    }
    limits = tree.get("limits")
    problems += [
        Problem(f"limits.{name}", f'must not begin with "{COUNTER}": budgets are counted so')
        for name in (limits if isinstance(limits, dict) else ())
        if name.startswith(COUNTER)
    ]
    return Budgeting(tenants=found["tenants"], budgets=found["budgets"])
