"""What is asked before something is done on a platform: may this operation go on, for this account?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from app import clock
from app.admission import operations
from app.admission.operations import Known
from app.catalog import MICRO
from app.catalog.limiting import LONGEST
from app.errors import Invalid, NotFound, Problem
from app.infra.ids import uuid7
from app.infra.text import json_safe, storable
from app.jobs import intake, spec
from app.limits.spending import NOBODY, Who

LARGEST_ESTIMATE = 1_000_000
"""Dollars that one operation may be expected to cost."""


def _plain(value: str) -> str:
    """One line that Postgres keeps as it is: what cannot be written down cannot be found again."""
    if storable(value) != value or not value.isprintable():
        raise ValueError("must be one line of printable text")
    return value


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_plain)]
"""What accounts, tenants and ids may be called."""


class AdmissionRequest(BaseModel):
    """One question. Times are ISO 8601 with an offset; money is dollars."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    operation: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="an operation of the catalogue"
    )
    account: Name | None = Field(
        default=None,
        description="the account on its platform, as everybody calls it; not of an operation that reserves in budgets",
    )
    tenant: Name | None = Field(default=None, description="whose account it is")
    department: Name | None = Field(default=None, description="whose budget counts, as of the four below")
    user: Name | None = None
    agent: Name | None = None
    skill: Name | None = None
    interaction: Name | None = Field(default=None, description="what the agent is at")
    id: Name | None = Field(
        default=None, description="the caller's own id: asked again with the same one, nothing is consumed twice"
    )
    estimate: Annotated[float, BeforeValidator(_no_flag), Field(ge=0, le=LARGEST_ESTIMATE)] | None = Field(
        default=None, description="dollars it is expected to cost, where the operation spends money"
    )
    on_wait: Literal["defer", "deny"] = Field(
        default="defer", description="what to do when it may not go on now: keep it in order, or say no"
    )
    task: dict[str, Any] | None = Field(
        default=None, description="a job, as POST /api/v1/jobs takes it, that is submitted when the operation may go on"
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="when waiting has no use any more; else the operation's own time"
    )


@dataclass(frozen=True, slots=True)
class Request:
    """A question that can be answered. `estimate` is in millionths of a dollar; `given_id`: the caller named the id."""

    known: Known
    account: str
    who: Who
    id: str
    given_id: bool
    estimate: int
    defers: bool
    task: dict[str, Any] | None
    expires_at: datetime | None
    caller: str

    @property
    def line(self) -> str:
        """`PLATFORM/ACCOUNT`."""
        return self.known.line(self.account)

    @property
    def tenant(self) -> str:
        """Whose account it is; the empty text where nobody said."""
        return self.who.tenant


def parse(body: object, *, caller: str, is_tried: bool = False) -> Request:
    """The question, checked against the catalogue. Raises Invalid that names every wrong field.

    `is_tried`: nothing will be done, so no task is needed.
    """
    try:
        given = AdmissionRequest.model_validate(body)
    except ValidationError as error:
        problems = [*spec.problems_of(error), *_unknown(body.get("operation") if isinstance(body, dict) else None)]
        raise Invalid(problems, subject="admission") from None
    if problems := _unknown(given.operation):
        raise Invalid([*problems, *_task(given, caller)], subject="admission")
    known = operations.known(given.operation)
    problems = [*_missing(given, known), *_task(given, caller), *_expiry(given.expires_at)]
    if known.operation.one_at_a_time and given.task is None and not is_tried:
        problems.append(
            Problem("task", f"is required: {given.operation} goes on when the job of the one before is done")
        )
    if problems:
        raise Invalid(problems, subject="admission")
    return Request(
        known=known,
        account=_account(given, known),
        who=_who(given),
        id=str(uuid7()) if given.id is None else operations.id_of(known, given.id),
        given_id=given.id is not None,
        estimate=round((given.estimate or 0) * MICRO),
        defers=given.on_wait == "defer",
        task=None if given.task is None else json_safe(given.task),
        expires_at=given.expires_at,
        caller=caller,
    )


def _account(given: AdmissionRequest, known: Known) -> str:
    """What reserves in budgets waits in its tenant's queue: there the record of its call finds what was reserved."""
    if known.operation.budgets:
        return given.tenant or NOBODY
    return given.account or ""


def _who(given: AdmissionRequest) -> Who:
    return Who(*(getattr(given, name) or "" for name in Who._fields))


def _unknown(operation: object) -> list[Problem]:
    """What is wrong with a name that has the shape of one."""
    try:
        if isinstance(operation, str) and operation:
            operations.known(operation)
    except NotFound as error:
        return [Problem("operation", str(error))]
    return []


def _missing(given: AdmissionRequest, known: Known) -> list[Problem]:
    problems = []
    if given.account is None and not known.operation.budgets:
        problems.append(Problem("account", "is required"))
    if known.operation.budgets and given.account not in (None, _account(given, known)):
        said = f"must be left out: {given.operation} waits in its tenant's queue"
        problems.append(Problem("account", said))
    if given.tenant is None and "tenant" in known.kinds:
        problems.append(Problem("tenant", f"is required: a limit of {given.operation} is counted by tenant"))
    if given.estimate is None and operations.spends(known):
        problems.append(Problem("estimate", f"is required: {given.operation} spends money"))
    return problems


def _expiry(at: datetime | None) -> list[Problem]:
    wait = timedelta(seconds=1) if at is None else at - clock.now()
    if wait <= timedelta():
        return [Problem("expires_at", "is past")]
    if wait > timedelta(seconds=LONGEST):
        return [Problem("expires_at", f"must lie in the next {timedelta(seconds=LONGEST).days} days")]
    return []


def _task(given: AdmissionRequest, caller: str) -> list[Problem]:
    if given.task is None:
        return []
    try:
        intake.submission(intake.parse(given.task), caller=caller)
    except Invalid as error:
        return [Problem(f"task.{problem.field}", problem.message) for problem in error.problems]
    return []
