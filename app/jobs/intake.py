"""Jobs asked for by others: only published tasks, arguments checked by the task's schema, a key answered once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    HttpUrl,
    StringConstraints,
    Tag,
    ValidationError,
)

from app.errors import Invalid, NotFound, Problem
from app.infra.db import UnitOfWork
from app.infra.text import json_safe
from app.jobs import service, spec
from app.jobs.core import Priority


def _within_reach(moment: datetime) -> datetime:
    """Nearer the ends of the calendar than a day, a time cannot be turned into UTC."""
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must lie between the years 1970 and 9998")
    return moment


_Moment = Annotated[AwareDatetime, AfterValidator(_within_reach)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]

PRIORITIES = {"high": Priority.HIGH, "normal": Priority.NORMAL, "low": Priority.LOW}


class UrlCallback(BaseModel):
    """POST the finished job to this address."""

    model_config = ConfigDict(extra="forbid")
    url: HttpUrl


class TaskCallback(BaseModel):
    """Submit this published task; it gets `finished_job_id` where it has such an argument."""

    model_config = ConfigDict(extra="forbid")
    task: _Name
    kwargs: dict[str, Any] = Field(default_factory=dict)


def _kind_of_callback(given: object) -> str:
    """The one kind that was meant, so that an error speaks of that one only."""
    has_url = "url" in given if isinstance(given, dict) else isinstance(given, UrlCallback)
    return UrlCallback.__name__ if has_url else TaskCallback.__name__


_Callback = Annotated[
    Annotated[UrlCallback, Tag(UrlCallback.__name__)] | Annotated[TaskCallback, Tag(TaskCallback.__name__)],
    Discriminator(_kind_of_callback),
]


class JobRequest(BaseModel):
    """One job, as another service asks for it. Times are ISO 8601 with an offset."""

    model_config = ConfigDict(extra="forbid")

    task: _Name = Field(description="a task of the published contract")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="its arguments, checked by its schema")
    queue: _Name | None = Field(default=None, description="another queue than its own, where its contract allows")
    not_before: _Moment | None = Field(default=None, description="do not start earlier")
    expires_at: _Moment | None = Field(default=None, description="drop it when it has not started by then")
    key: _Name | None = Field(default=None, description="at most one waiting job per task and key")
    priority: Literal["high", "normal", "low"] = Field(default="normal", description="order within its queue")
    callback: _Callback | None = Field(default=None, description="who is told at the end")


class IdempotencyMismatch(Invalid):
    """A key was used before with another body."""

    def __init__(self) -> None:
        super().__init__([Problem("Idempotency-Key", "was used before with another body")], subject="request")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is now durable; `replayed` when the same key and body had been answered before."""

    id: UUID
    replayed: bool = False


def parse(body: object) -> JobRequest:
    """The request, typed. Raises Invalid naming each wrong field."""
    try:
        return JobRequest.model_validate(json_safe(body))
    except ValidationError as error:
        raise Invalid(_without_union_names(spec.problems_of(error)), subject="job") from None


def body_hash(body: object) -> str:
    """The hash that decides whether two bodies are the same: of canonical JSON."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def accept(
    uow: UnitOfWork,
    request: JobRequest,
    *,
    caller: str,
    idempotency_key: str | None = None,
    body_hash: str = "",
    key_of: str | None = None,
) -> Accepted:
    """Write the job, or give the answer the key was given before. Raises Invalid or IdempotencyMismatch.

    `key_of`: whose the key is, where several callers share it; else the caller's.
    """
    owner = key_of or caller
    if idempotency_key is not None:
        known = _claim_key(uow, owner, idempotency_key, body_hash)
        if known is not None:
            return Accepted(known, replayed=True)
    job_id = service.submit_many(uow, [submission(request, caller=caller)])[0]
    if idempotency_key is not None:
        uow.execute(
            "UPDATE idempotency_keys SET job_id = :id WHERE caller = :caller AND key = :key",
            id=job_id,
            caller=owner,
            key=idempotency_key,
        )
    return Accepted(job_id)


def accept_batch(uow: UnitOfWork, items: Sequence[object], *, caller: str) -> list[Accepted | Invalid]:
    """Write the good ones and report the bad ones, each at its place."""
    answers: list[Accepted | Invalid | None] = [None] * len(items)
    good: list[tuple[int, service.Submission]] = []
    for place, item in enumerate(items):
        try:
            good.append((place, submission(parse(item), caller=caller)))
        except Invalid as error:
            answers[place] = error
    ids = service.submit_many(uow, [item for _, item in good])
    for (place, _), job_id in zip(good, ids, strict=True):
        answers[place] = Accepted(job_id)
    return [answer for answer in answers if answer is not None]


def submission(request: JobRequest, *, caller: str) -> service.Submission:
    """The request as a submission. Raises Invalid for what the task's contract refuses."""
    contract = _published(request.task, "task")
    kwargs = contract.validate(request.kwargs)
    if request.queue is not None and request.queue not in (contract.queue, *contract.allowed_queues):
        allowed = ", ".join((contract.queue, *contract.allowed_queues))
        raise Invalid([Problem("queue", f"{request.task} may run in: {allowed}")], subject="job")
    if request.expires_at and request.not_before and request.expires_at <= request.not_before:
        raise Invalid([Problem("expires_at", "must be later than not_before")], subject="job")
    return service.Submission(
        task=request.task,
        kwargs=kwargs,
        queue=request.queue,
        not_before=request.not_before,
        expires_at=request.expires_at,
        key=request.key,
        priority=PRIORITIES[request.priority],
        callback=_callback(request.callback),
        caller=caller,
    )


def _callback(callback: UrlCallback | TaskCallback | None) -> dict[str, Any] | None:
    if isinstance(callback, TaskCallback):
        contract = _published(callback.task, "callback.task")
        kwargs = dict(callback.kwargs)
        if "finished_job_id" in contract.arguments.model_fields:
            kwargs["finished_job_id"] = "00000000-0000-0000-0000-000000000000"
        contract.validate(kwargs, at="callback.kwargs")
    return None if callback is None else callback.model_dump(mode="json")


def _published(task: str, field: str) -> spec.TaskSpec:
    try:
        contract = spec.get(task)
    except NotFound:
        contract = None
    if contract is None or not contract.published:
        raise Invalid([Problem(field, f"no published task is named {task}")], subject="job")
    return contract


def _claim_key(uow: UnitOfWork, caller: str, key: str, body: str) -> UUID | None:
    """Take a caller's key, waiting for whoever is taking it now; the job it stands for when it was taken before."""
    taken = uow.execute(
        "INSERT INTO idempotency_keys (caller, key, body_hash, job_id) VALUES (:caller, :key, :body, :nil)"
        " ON CONFLICT DO NOTHING RETURNING key",
        caller=caller,
        key=key,
        body=body,
        nil=UUID(int=0),
    ).one_or_none()
    if taken is not None:
        return None
    row = uow.execute(
        "SELECT body_hash, job_id FROM idempotency_keys WHERE caller = :caller AND key = :key", caller=caller, key=key
    ).one()
    if row.body_hash != body:
        raise IdempotencyMismatch
    return UUID(str(row.job_id))


def _without_union_names(problems: Sequence[Problem]) -> list[Problem]:
    """Pydantic names the tried class in the path of a union's error; a caller knows only the field."""
    names = {UrlCallback.__name__, TaskCallback.__name__}
    return [Problem(".".join(part for part in p.field.split(".") if part not in names), p.message) for p in problems]
