"""Bodies of the endpoints about alerts: their models, how they are read, and how the OpenAPI document shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.alerts.acting import LONGEST_COMMENT, LONGEST_MINUTES, LONGEST_NAME
from app.errors import Invalid
from app.web.deps import parse_json, sent_bytes
from app.web.errors import validation_problems

MOST_MATCHERS = 50
MOST_LABELS = 100


_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _reckonable(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("must lie between the years 1970 and 9000")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_reckonable)]
"""A moment with its offset that can be reckoned with."""


class Body(BaseModel):
    """Base of all: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class Act(Body):
    """Who acts, and why. Everything is optional: a request without a body acts as the caller."""

    by: str | None = Field(
        default=None, min_length=1, max_length=LONGEST_NAME, description="who acts; default: the caller's name"
    )
    comment: str = Field(default="", max_length=LONGEST_COMMENT, description="kept in the alert's history")


class Acknowledge(Act):
    """Somebody is at it."""

    minutes: float | None = Field(
        default=None, gt=0, le=LONGEST_MINUTES, description="how long it holds; default: as the severity's ladder says"
    )


class Comment(Body):
    """A sentence for the alert's history."""

    by: str | None = Field(default=None, min_length=1, max_length=LONGEST_NAME, description="who says it")
    text: str = Field(min_length=1, max_length=LONGEST_COMMENT, description="what is said")


class Verdict(Act):
    """Was action needed?"""

    verdict: Literal["needed", "not_needed"] = Field(description="whether the alert was worth telling")


class DryRun(Body):
    """An alert that might come."""

    labels: dict[str, str] = Field(max_length=MOST_LABELS, description="its labels; `alertname` is required")
    annotations: dict[str, str] = Field(default_factory=dict, max_length=MOST_LABELS, description="its annotations")
    at: Moment | None = Field(default=None, description="when it would begin to fire; default: now")


class SilenceMatcher(Body):
    """Alertmanager's form of a matcher."""

    name: str = Field(min_length=1, max_length=100, description="a label")
    value: str = Field(max_length=1000, description="its value, or a regular expression of RE2 for all of it")
    is_regex: bool = Field(default=False, alias="isRegex", description="the value is a regular expression")
    is_equal: bool = Field(default=True, alias="isEqual", description="false: everything but that")


class SilenceRequest(Body):
    """What shall not be told, and until when. Give `ends_at`, or `minutes` from the start."""

    matchers: list[SilenceMatcher | str] = Field(
        min_length=1, max_length=MOST_MATCHERS, description='all must match; texts such as `severity="warning"` will do'
    )
    starts_at: Moment | None = Field(default=None, description="default: now")
    ends_at: AwareDatetime | None = Field(default=None, description="first moment after it")
    minutes: float | None = Field(default=None, gt=0, le=525_600, description="how long, instead of `ends_at`")
    comment: str = Field(min_length=1, max_length=LONGEST_COMMENT, description="why")
    by: str | None = Field(default=None, min_length=1, max_length=LONGEST_NAME, description="default: the caller")


class ChannelTest(Body):
    """Where the test message goes."""

    to: str | None = Field(
        default=None, min_length=1, max_length=320, description="address there, where the channel has many"
    )


class OverrideRequest(Body):
    """Somebody takes over a rotation for a while."""

    rotation: str = Field(max_length=63, description="name of a rotation")
    person: str = Field(max_length=63, description="who takes over")
    starts_at: Moment | None = Field(default=None, description="default: now")
    ends_at: Moment = Field(description="first moment after it")
    reason: str = Field(default="", max_length=500, description="shown in the plan")
    by: str | None = Field(default=None, min_length=1, max_length=LONGEST_NAME, description="default: the caller")


MODELS: tuple[type[Body], ...] = (
    Acknowledge,
    Act,
    ChannelTest,
    Comment,
    DryRun,
    OverrideRequest,
    SilenceRequest,
    Verdict,
)

Model = TypeVar("Model", bound=Body)
Sent = Annotated[bytes, Depends(sent_bytes)]
"""The body as it came, of a caller who is known."""


def read(model: type[Model], raw: bytes) -> Model:
    """The body; an empty one is `{}`. Raises Invalid naming each field that is wrong."""
    try:
        return model.model_validate(parse_json(raw) if raw.strip() else {})
    except ValidationError as error:
        problems = validation_problems(error.errors(include_input=False))
        raise Invalid(problems, subject="body") from None


def components() -> dict[str, Any]:
    """The schemas of all bodies, for the OpenAPI document."""
    found: dict[str, Any] = {}
    for model in MODELS:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found


def body(model: type[Body], *, required: bool = False) -> dict[str, Any]:
    """An operation's `requestBody`."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
