"""What callers tell after an operation: what the platform answered, what it cost, or that nothing was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError

from app.admission import operations, platforms
from app.admission.operations import Known
from app.admission.platform import PlatformError, Sent
from app.admission.requests import LARGEST_ESTIMATE, Name, _no_flag
from app.catalog import MICRO
from app.errors import Invalid, NotFound, Problem
from app.infra.text import storable
from app.jobs import spec
from app.limits.spending import NOBODY

MOST_HEADERS = 200
LONGEST_VALUE = 65_536
LONGEST_MESSAGE = 300
"""Characters of an error's message that are kept; more are taken."""
_LARGEST_CODE = 10**9


class ReportedError(BaseModel):
    """The platform's error. Its other fields may be sent along and are not kept."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    code: Annotated[int, BeforeValidator(_no_flag), Field(ge=-_LARGEST_CODE, le=_LARGEST_CODE)]
    subcode: Annotated[int, BeforeValidator(_no_flag), Field(ge=-_LARGEST_CODE, le=_LARGEST_CODE)] | None = Field(
        default=None, validation_alias=AliasChoices("subcode", "error_subcode")
    )
    message: str = Field(default="", max_length=LONGEST_VALUE)


class AdmissionOutcome(BaseModel):
    """What came of one operation. Money is dollars."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    operation: Annotated[str, Field(min_length=1, max_length=100)] = Field(description="as in the admission")
    account: Name | None = Field(default=None, description="as in the admission")
    tenant: Name | None = Field(default=None, description="as in the admission")
    id: Name | None = Field(default=None, description="of the admission; needed for `cost` and `refund`")
    status: Annotated[int, BeforeValidator(_no_flag), Field(ge=100, le=599)] | None = Field(
        default=None, description="HTTP status of the platform's answer"
    )
    headers: dict[str, Annotated[str, Field(max_length=LONGEST_VALUE)]] | None = Field(
        default=None,
        max_length=MOST_HEADERS,
        description="its headers; those that tell of limits are read, none is kept",
    )
    error: ReportedError | None = Field(default=None, description="the platform's error: its code, subcode and message")
    publishing_limit: dict[str, Any] | None = Field(
        default=None, description="an entry of content_publishing_limit: {quota_usage, config: {quota_total}}"
    )
    cost: Annotated[float, BeforeValidator(_no_flag), Field(ge=0, le=LARGEST_ESTIMATE)] | None = Field(
        default=None, description="dollars that it really cost, where the operation spends money"
    )
    refund: StrictBool = Field(default=False, description="the call was not made: all that it took is given back")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an operation. `cost` is in millionths of a dollar; `sent` has nothing but what is read."""

    known: Known
    account: str
    tenant: str
    id: str | None
    sent: Sent = field(default_factory=Sent)
    cost: int | None = None
    refund: bool = False

    @property
    def line(self) -> str:
        """`PLATFORM/ACCOUNT`."""
        return self.known.line(self.account)

    @property
    def key(self) -> str:
        """The limiter's id of the decision."""
        return self.known.key(self.account, self.id or "")

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose counters the operation uses, as in the decision."""
        return self.known.subjects(self.account, self.tenant)


def parse(body: object) -> Outcome:
    """The outcome, checked against the catalogue. Raises Invalid that names every wrong field."""
    try:
        given = AdmissionOutcome.model_validate(body)
    except ValidationError as error:
        raise Invalid(spec.problems_of(error), subject="outcome") from None
    try:
        known = operations.known(given.operation)
    except NotFound as error:
        raise Invalid([Problem("operation", str(error))], subject="outcome") from None
    problems = _missing(given, known)
    if problems:
        raise Invalid(problems, subject="outcome")
    return Outcome(
        known=known,
        account=(given.tenant or NOBODY) if known.operation.budgets else given.account or "",
        tenant=given.tenant or "",
        id=None if given.id is None else operations.id_of(known, given.id),
        sent=_sent(given, known.operation.platform),
        cost=None if given.cost is None else round(given.cost * MICRO),
        refund=given.refund,
    )


def _missing(given: AdmissionOutcome, known: Known) -> list[Problem]:
    problems = []
    if given.account is None and not known.operation.budgets:
        problems.append(Problem("account", "is required"))
    if given.tenant is None and "tenant" in known.kinds:
        problems.append(Problem("tenant", f"is required: a limit of {given.operation} is counted by tenant"))
    if given.id is None and (given.refund or given.cost is not None):
        problems.append(Problem("id", "is required: by it is found what the operation took"))
    if given.cost is not None and given.refund:
        problems.append(Problem("refund", "is no outcome of what has a cost: give one of both"))
    return problems


def _sent(given: AdmissionOutcome, platform: str | None) -> Sent:
    headers: Mapping[str, str] = given.headers or {}
    error = given.error
    return Sent(
        status=given.status,
        headers=platforms.headers_of(platform, headers),
        error=None
        if error is None
        else PlatformError(error.code, error.subcode, storable(error.message, limit=LONGEST_MESSAGE)),
        publishing_limit=given.publishing_limit,
    )
