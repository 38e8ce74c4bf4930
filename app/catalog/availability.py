"""The catalogue's [availability] table: what the stack shall be up for, and when its error budgets burn too fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from app.catalog.alerting import Table
from app.catalog.explain import explain
from app.catalog.values import Count, Figure, Seconds
from app.errors import Problem

TABLE = "availability"
STACK = "stack"
"""What the whole is called among services; none of them may be."""


class BurnWindows(Table):
    """`{long = 3600, short = 300, rate = 14.4}`: the budget burns when it goes that fast in both windows.

    The long one says that it matters, the short one that it has not stopped.
    """

    long: Seconds = Field(ge=60, le=2_592_000, description="seconds of the window that says that it matters")
    short: Seconds = Field(ge=60, le=2_592_000, description="seconds of the window that says that it goes on")
    rate: Figure = Field(
        gt=0, le=1000, description="from here on it burns; at 1 the budget of 30 days lasts for 30 days"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.short >= self.long:
            raise ValueError("`short` must be shorter than `long`")
        return self


class Availability(Table):
    """How availability is judged. Each service has an `objective` of its own."""

    stack_objective: Figure = Field(
        default=99.9, gt=0, lt=100, description="percent of the time in which every essential service shall be up"
    )
    fast: tuple[BurnWindows, ...] = Field(
        default=(BurnWindows(long=3600, short=300, rate=14.4), BurnWindows(long=21_600, short=1800, rate=6)),
        description="windows of which one is enough for a page",
    )
    slow: tuple[BurnWindows, ...] = Field(
        default=(BurnWindows(long=86_400, short=7200, rate=3), BurnWindows(long=259_200, short=21_600, rate=1)),
        description="windows of which one is enough for a ticket",
    )
    minimum_minutes: Count = Field(
        default=3, ge=1, le=60, description="minutes with a fault in the long window, without which nothing burns"
    )
    minimum_failures: Count = Field(
        default=2, ge=1, le=1000, description="failed probes of incidents in the long window, likewise"
    )


def read(tree: Mapping[str, Any], problems: list[Problem]) -> Availability:
    """The table of `tree`, or its defaults; what is wrong is added to `problems`."""
    table = tree.get("services")
    if isinstance(table, dict) and STACK in table:
        problems.append(Problem(f"services.{STACK}", "is what all services together are called: choose another name"))
    try:
        return Availability.model_validate(tree.get(TABLE, {}))
    except ValidationError as error:
        problems += explain(error, (TABLE,), known={*Availability.model_fields, *BurnWindows.model_fields})
        return Availability()
