"""Jobs of operations that waited: what was asked for is checked again, and submitted in the order of release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from app.admission import operations
from app.admission.operations import Known
from app.errors import Invalid, NotFound
from app.infra.db import UnitOfWork
from app.jobs import Submission, intake, spec, submit_many

KEY_OF = "operations that were admitted"
"""Whose the keys of their jobs are: no caller's, for an id counts within its account."""


@dataclass(slots=True)
class Candidate:
    """An operation that may be next, with the job that follows it, if one does; `go_at` is when it is let go.

    `is_again`: the limiter had let it go before.
    """

    row: Any
    known: Known
    submission: Submission | None
    go_at: datetime
    is_again: bool = False

    @property
    def queue(self) -> str | None:
        """The workers' queue that it needs a place in."""
        if self.submission is None:
            return None
        return self.submission.queue or spec.get(self.submission.task).queue

    @property
    def kind(self) -> str:
        """Where one of a kind has to stay, the others do: its operation, and for whom, where budgets decide."""
        kind: str = self.row.kind if self.known.operation.budgets else self.row.operation
        return kind

    @property
    def lanes(self) -> frozenset[str]:
        """All that it may ever wait for."""
        return frozenset({self.known.operation.name, *self.known.operation.consumes})

    @property
    def is_alone(self) -> bool:
        """Must the one of its kind before it be done?"""
        return self.submission is not None and self.known.operation.one_at_a_time


def candidate(row: Any, now: datetime) -> Candidate:
    """A row of a queue, with what is known of it today. Raises NotFound or Invalid for what can never be done."""
    known = operations.known(row.operation)
    submission = None if row.task is None else intake.submission(intake.parse(row.task), caller=row.caller)
    return Candidate(row, known, submission, now)


def submit(uow: UnitOfWork, account: str, ones: Sequence[Candidate]) -> tuple[dict[UUID, UUID], dict[UUID, str]]:
    """Submit the jobs of those that have one; by the operations' ids the jobs', and why there is none.

    `not_before` rises from one to the next: the relay rings in its order.
    """
    jobs: dict[UUID, UUID] = {}
    problems: dict[UUID, str] = {}
    wanted = {
        one.row.id: _of_one(one, one.submission) for one in ones if one.submission is not None and not one.is_again
    }
    try:
        jobs = dict(zip(wanted, submit_many(uow, list(wanted.values())), strict=True))
    except (Invalid, NotFound):  # nothing was written: each for itself
        for each, submission in wanted.items():
            _try(each, jobs, problems, partial(_submit, uow, submission))
    for one in ones:
        if one.submission is not None and one.is_again:
            _try(one.row.id, jobs, problems, partial(_once, uow, account, one))
    return jobs, problems


def _of_one(one: Candidate, submission: Submission) -> Submission:
    start = max(one.go_at, submission.not_before or one.go_at)
    return replace(submission, not_before=start, key=submission.key or f"admission:{one.row.id}")


def _try(each: UUID, jobs: dict[UUID, UUID], problems: dict[UUID, str], submit_one: Callable[[], UUID]) -> None:
    try:
        jobs[each] = submit_one()
    except (Invalid, NotFound) as error:
        problems[each] = str(error)


def _submit(uow: UnitOfWork, submission: Submission) -> UUID:
    return submit_many(uow, [submission])[0]


def _once(uow: UnitOfWork, account: str, one: Candidate) -> UUID:
    """The job of what had been let go before.

    By a look that died before it wrote that down; or at once, when the caller asked again while the limiter did not
    know that it waits: then its job exists under this key.
    """
    request = intake.parse(one.row.task)
    request = request.model_copy(update={"not_before": max(one.go_at, request.not_before or one.go_at)})
    return submit_once(uow, operations.key_of(account, one.row.request_id), request, one.row.task, one.row.caller)


def submit_once(uow: UnitOfWork, key: str, request: intake.JobRequest, task: Any, caller: str) -> UUID:
    """The job of an id, once whoever asks and by whatever way. Raises IdempotencyMismatch where it had another one."""
    body = intake.body_hash(task)
    return intake.accept(uow, request, caller=caller, idempotency_key=key, body_hash=body, key_of=KEY_OF).id
