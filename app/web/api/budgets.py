"""/api/v1/budgets: how much of which budget is spent, whether more may be, and what people change about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from app import clock
from app.catalog import MICRO
from app.costs import budget_reading, budget_store, budgets, verdict
from app.infra.db import read_within, unit_of_work
from app.limits.budgets import Who
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/budgets", tags=["budgets"])

LIST_SECONDS = 5.0
LARGEST_ESTIMATE = 1_000_000
PERSON = "person:"

Subject = Annotated[str | None, Query(max_length=420, description="such as tenant:acme; without it: all")]
Name = Annotated[str, Query(max_length=200)]


class _Why(Body):
    reason: str = Field(min_length=1, max_length=budgets.LONGEST_TEXT, description="why; kept in the audit")
    by: str | None = Field(default=None, min_length=1, max_length=200, description="default: the caller")


class BudgetDefinition(_Why):
    """A budget that the file has not."""

    definition: dict[str, Any] = Field(description="the keys of [budgets.NAME]: scope, period, amount …")


class BudgetAmount(_Why):
    """Another amount."""

    amount: float = Field(description="dollars")
    subject: str = Field(default="", max_length=420, description="whose, such as tenant:acme; default: everybody's")
    until: str | None = Field(
        default=None,
        max_length=100,
        description="a time, or `period` for the end of the present one; default: for good",
    )
    change: Literal["set", "raise", "lower"] = Field(
        default="set", description="raise and lower refuse what would do the opposite"
    )


class BudgetRemoval(_Why):
    """What shall not be set any more."""

    subject: str = Field(default="", max_length=420, description="whose amount; default: everybody's, or the budget")


@router.get("", summary="Every budget, and who has used most of it")
def show_all(
    _caller: CurrentCaller, most: Annotated[int, Query(ge=1, le=200, description="subjects of each")] = 10
) -> dict[str, Any]:
    """Figures are live (`live` is false while Redis is away: what is written down); who has used most is known by what
    is written down. Interactions are shown by themselves only."""
    with read_within(LIST_SECONDS) as session:
        return budget_reading.listed(session, clock.now(), most=most)


@router.get("/verdict", summary="May money be spent now?")
def show_verdict(
    _caller: CurrentCaller,
    *,
    tenant: Name = "",
    department: Name = "",
    user: Name = "",
    agent: Name = "",
    skill: Name = "",
    interaction: Name = "",
    urgency: Annotated[str, Query(alias="class", max_length=50)] = "normal",
    estimate: Annotated[float, Query(ge=0, le=LARGEST_ESTIMATE, description="dollars it may cost")] = 0.0,
) -> dict[str, Any]:
    """`allow`, `throttle` (go on, slowly) or `wait`, by the first budget that has no room; nothing is reserved.

    `cheaper` lists budgets of which so much is used that a cheaper model should be taken.
    """
    who = Who(tenant, department, user, agent, skill, interaction)
    return verdict.of(who, verdict.rank_of(urgency), round(estimate * MICRO)).document()


@router.get("/changes", summary="What people changed, newest first")
def show_changes(
    _caller: CurrentCaller,
    name: Annotated[str | None, Query(max_length=50, description="of this budget only")] = None,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[UUID | None, Query(description="`id` of the last one seen")] = None,
) -> dict[str, Any]:
    """Who changed what, why, and what it was before."""
    with read_within(LIST_SECONDS) as session:
        return {"changes": budget_store.history(session, name=name, limit=page_size, before=before)}


@router.get("/{name}", summary="One budget")
def show(
    _caller: CurrentCaller,
    name: str,
    subject: Subject = None,
    most: Annotated[int, Query(ge=1, le=1000, description="subjects, where none is named")] = 50,
) -> dict[str, Any]:
    """Of the subject, or of those that have used most of it."""
    with read_within(LIST_SECONDS) as session:
        return budget_reading.show(session, name, clock.now(), subject=subject, most=most)


@router.put("/{name}", openapi_extra=bodies.body(BudgetDefinition, required=True), summary="Make a budget")
def define(caller: CurrentCaller, name: str, raw: bodies.Sent) -> dict[str, Any]:
    """One that the file has not. It counts what is spent from now on, and within a minute what was spent before."""
    wanted = bodies.read(BudgetDefinition, raw)
    with unit_of_work() as uow:
        budgets.define(uow, name, wanted.definition, by=_by(wanted, caller.name), reason=wanted.reason)
        return budget_reading.show(uow.session, name, clock.now(), most=1)


@router.post("/{name}/amount", openapi_extra=bodies.body(BudgetAmount, required=True), summary="Set, raise or lower")
def set_amount(caller: CurrentCaller, name: str, raw: bodies.Sent) -> dict[str, Any]:
    """What waited for this budget goes on at once, where there is room now."""
    wanted = bodies.read(BudgetAmount, raw)
    with unit_of_work() as uow:
        change = budgets.change_amount(
            uow,
            name,
            wanted.amount,
            by=_by(wanted, caller.name),
            reason=wanted.reason,
            subject=wanted.subject,
            until=budgets.moment_of(wanted.until),
            what=wanted.change,
        )
    return {"name": name, "subject": change.subject, **change.document()}


@router.post("/{name}/remove", openapi_extra=bodies.body(BudgetRemoval, required=True), summary="Set it no longer")
def remove(caller: CurrentCaller, name: str, raw: bodies.Sent) -> dict[str, Any]:
    """The file's own amount counts again. A budget that people made is gone, with all amounts that were set for it."""
    wanted = bodies.read(BudgetRemoval, raw)
    with unit_of_work() as uow:
        ended = budgets.remove(uow, name, by=_by(wanted, caller.name), reason=wanted.reason, subject=wanted.subject)
    return {"name": name, "removed": [{"subject": one.subject, **one.document()} for one in ended]}


def _by(wanted: _Why, caller: str) -> str:
    return f"{PERSON}{wanted.by or caller}"


def components() -> dict[str, Any]:
    """The schemas of the bodies, for the OpenAPI document."""
    return {model.__name__: model.model_json_schema() for model in (BudgetDefinition, BudgetAmount, BudgetRemoval)}
