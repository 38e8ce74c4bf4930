"""One attempt at a job: claimed under a lease, run, and ended in the transaction of its effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.config import settings
from app.errors import Cancelled, Conflict, LeaseLost
from app.infra.db import UnitOfWork, unit_of_work
from app.jobs import ending, store
from app.jobs.core import AfterFailure, JobState, after_failure
from app.jobs.lease import keeper
from app.jobs.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this process holds: the row as claimed."""

    id: UUID
    task: str
    queue: str
    kwargs: dict[str, Any]
    attempt: int
    max_attempts: int
    key: str | None
    caller: str | None
    request_id: str | None
    cancel_requested: bool
    waited_seconds: float


@dataclass(slots=True)
class JobContext:
    """What a job's body may ask of its attempt."""

    claim: Claim
    completed: bool = field(default=False)

    @property
    def id(self) -> UUID:
        """The job's id: the idempotency key to send along with effects outside the database."""
        return self.claim.id

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""
        return self.claim.attempt

    def unit_of_work(self) -> AbstractContextManager[UnitOfWork]:
        """A transaction before the last one."""
        return unit_of_work()

    @contextmanager
    def complete(self, result: Any | None = None) -> Iterator[UnitOfWork]:
        """The last transaction: what is written in it is committed together with the job's completion, or not at all.

        Raises LeaseLost, and rolls back, when the job was meanwhile taken back.
        """
        with unit_of_work() as uow:
            yield uow
            ending.succeed(uow, self.id, attempt=self.attempt, result=result)
        self.completed = True

    def raise_if_cancelled(self) -> None:
        """For long bodies, between steps. Raises Cancelled when an operator asked for it, LeaseLost when taken back."""
        if keeper.lost:
            raise LeaseLost(f"job {self.id} was taken back during attempt {self.attempt}")
        if keeper.cancel_requested or self.claim.cancel_requested:
            raise Cancelled(f"job {self.id} was cancelled")


def claim(job_id: UUID, *, worker: str) -> Claim | None:
    """Take a job; None when there is nothing to take (a duplicate doorbell, expired, paused). Raises Transient."""
    row = store.claim(job_id, worker=worker, lease_seconds=settings().lease_seconds)
    if row is None:
        return None
    return Claim(
        row.id, row.task, row.queue, row.kwargs, row.attempt, row.max_attempts, row.key, row.caller, row.request_id,
        row.cancel_requested, row.waited_seconds,
    )  # fmt: skip


def run(claimed: Claim, spec: TaskSpec, body: Callable[..., Any]) -> AfterFailure | None:
    """Run one attempt to its end; None when it succeeded, else what became of it, with the error as `__cause__`.

    Raises AttemptFailed carrying both, or LeaseLost when someone else holds the job by now.
    """
    context = JobContext(claimed)
    try:
        with keeper.keeping(claimed.id, claimed.attempt):
            arguments = spec.arguments.model_validate(spec.validate(claimed.kwargs))
            result = body(context, **{name: getattr(arguments, name) for name in type(arguments).model_fields})
            if not context.completed:
                with context.complete(result):
                    pass
    except LeaseLost:
        raise
    except Conflict as error:
        if not context.completed:
            _end(claimed, error)
    except Exception as error:
        if context.completed:  # the effects are durable: what came after cannot make the job run again
            raise
        outcome = _end(claimed, error)
        raise AttemptFailed(outcome) from error
    return None


class AttemptFailed(Exception):
    """An attempt raised; `__cause__` is what, `outcome` what became of the job."""

    def __init__(self, outcome: AfterFailure) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome

    @property
    def will_retry(self) -> bool:
        """Is another try scheduled?"""
        return self.outcome.state is JobState.SCHEDULED


def _end(claimed: Claim, error: Exception) -> AfterFailure:
    outcome = after_failure(
        error,
        attempt=claimed.attempt,
        max_attempts=claimed.max_attempts,
        cancel_requested=keeper.cancel_requested or claimed.cancel_requested,
    )
    with unit_of_work() as uow:
        ending.fail(uow, claimed, outcome, ending.describe(error))
    return outcome
