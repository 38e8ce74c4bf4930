"""The three kinds of task: a job's doorbell, beat's tick, and a plain message. Here errors become retries and truth.

A body has neither `try` nor `retry`. What Flower shows of an attempt is what happened to it: retried or failed with a
scrubbed exception, ignored when it was a duplicate doorbell, success only when the job's completion is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from celery.exceptions import Ignore, Reject, Retry
from celery.worker.request import Request

from app.config import settings
from app.errors import LeaseLost, SmmError
from app.infra import metrics
from app.infra.logging import bound, get_logger
from app.infra.scrub import scrub_text
from app.jobs import JobState, schedule, spec, worker
from app.jobs.worker import AttemptFailed, JobContext
from celeryconfig import limits_of, queue_of
from tasks.celery import celery

log = get_logger(__name__)

Body = TypeVar("Body", bound=Callable[..., Any])

__all__ = ["JobContext", "job", "plain", "tick"]


class TaskFailed(Exception):
    """A failed attempt, with the scrubbed text of its error: what may be shown in Flower and carried by events."""


def job(
    name: str,
    *,
    published: bool = False,
    max_attempts: int | None = None,
    version: int = 1,
    allowed_queues: tuple[str, ...] = (),
) -> Callable[[Body], Body]:
    """Declare a job: `body(ctx, *, …)` with keyword-only arguments that make its contract."""

    def declare(body: Body) -> Body:
        contract = spec.TaskSpec(
            name=name,
            queue=queue_of(name),
            arguments=spec.arguments_of(name, body),
            max_attempts=max_attempts or settings().job_max_attempts,
            published=published,
            version=version,
            summary=_first_line(body),
            allowed_queues=allowed_queues,
        )
        spec.register(contract)

        def doorbell(task: Any, job_id: str) -> None:
            _answer(task, contract, body, UUID(job_id))

        _register(name, doorbell)
        return body

    return declare


def tick(name: str) -> Callable[[Body], Body]:
    """Declare a look-for-work task of the timetable: no arguments; it may be lost, and it may run twice."""

    def declare(body: Body) -> Body:
        def run(_task: Any) -> None:
            with _observed(name, counter=metrics.TICKS):
                _tick(name, body)

        _register(name, run)
        return body

    return declare


def plain(name: str) -> Callable[[Body], Body]:
    """Declare a message with JSON arguments that may be lost or run twice, such as a batch of probes."""

    def declare(body: Body) -> Body:
        def run(_task: Any, /, **kwargs: Any) -> None:
            with _observed(name):
                body(**kwargs)

        _register(name, run)
        return body

    return declare


def envelope(name: str) -> Callable[[Body], Body]:
    """Declare a task that handles its own message: `body(task, **kwargs)`; it may raise Celery's Reject."""

    def declare(body: Body) -> Body:
        def run(task: Any, /, **kwargs: Any) -> None:
            with _observed(name):
                body(task, **kwargs)

        # A killed or hanging worker must leave the message in the broker: no row stands for it yet.
        _register(name, run, Request=QuietRequest, acks_on_timeout=False, reject_on_worker_lost=True)
        return body

    return declare


class QuietRequest(Request):  # type: ignore[misc]
    """A message whose arguments are for its task only: Flower and the event stream do not get to see them."""

    @property
    def argsrepr(self) -> str:
        """Nothing."""
        return "()"

    @property
    def kwargsrepr(self) -> str:
        """Nothing."""
        return "{}"


_names: list[str] = []


def names() -> list[str]:
    """Every task declared so far."""
    return sorted(_names)


def _register(name: str, run: Callable[..., None], **options: Any) -> None:
    _names.append(name)
    soft, hard = limits_of(name)
    limits = {"soft_time_limit": soft, "time_limit": hard}
    celery.task(run, name=name, bind=True, throws=(TaskFailed,), typing=False, lazy=True, **limits, **options)


def _first_line(body: Callable[..., Any]) -> str:
    return (body.__doc__ or "").strip().split("\n")[0]


def _answer(task: Any, contract: spec.TaskSpec, body: Callable[..., Any], job_id: UUID) -> None:
    """Answer a doorbell: claim, run, and tell Celery what became of the attempt."""
    with bound(task=contract.name, job=str(job_id)):
        claimed = _claim(job_id, str(task.request.hostname))
        if claimed is None:
            raise Ignore
        metrics.JOB_START_DELAY.observe(claimed.waited_seconds, queue=claimed.queue)
        with bound(attempt=claimed.attempt, **({"request_id": claimed.request_id} if claimed.request_id else {})):
            _attempt(contract, body, claimed)


def _claim(job_id: UUID, hostname: str) -> worker.Claim | None:
    try:
        return worker.claim(job_id, worker=hostname)
    except SmmError as error:  # the job stays rung: the relay rings it again once the database answers
        raise _shown(error) from None


def _attempt(contract: spec.TaskSpec, body: Callable[..., Any], claimed: worker.Claim) -> None:
    started = time.perf_counter()
    outcome = "succeeded"
    try:
        worker.run(claimed, contract, body)
    except LeaseLost as lost:
        outcome = "lease_lost"
        log.warning("the job was taken back; its effects were rolled back", error=str(lost))
        raise Ignore from None
    except AttemptFailed as failed:
        error = failed.__cause__ or failed
        outcome = str(failed.outcome.reason)
        _say(failed, error)
        if failed.will_retry:
            raise Retry(exc=_shown(error), when=failed.outcome.delay.total_seconds()) from None
        raise _shown(error) from None
    except Exception as error:
        outcome = "unrecorded"
        log.exception("the attempt's end could not be recorded; its lease will run out")
        raise _shown(error) from None
    finally:
        seconds = time.perf_counter() - started
        metrics.TASK_SECONDS.observe(seconds, task=contract.name, outcome=outcome)
        metrics.JOB_ATTEMPTS.inc(task=contract.name, outcome=outcome)
        schedule.job_ran(claimed.key, claimed.caller, outcome=outcome, duration_ms=round(seconds * 1000))


def _say(failed: AttemptFailed, error: BaseException) -> None:
    outcome = failed.outcome
    if outcome.state is JobState.SCHEDULED and isinstance(error, SmmError):
        log.warning("attempt failed", reason=outcome.reason, error=str(error), again_in=outcome.delay.total_seconds())
    elif isinstance(error, SmmError):
        log.error("job ended", state=outcome.state, reason=outcome.reason, error=str(error))
    else:
        log.error("attempt raised", state=outcome.state, reason=outcome.reason, exc_info=error)


def _shown(error: BaseException) -> TaskFailed:
    return TaskFailed(f"{type(error).__name__}: {scrub_text(str(error))[:500]}")


@contextmanager
def _observed(name: str, *, counter: metrics.Counter | None = None) -> Iterator[None]:
    """Bind the log, measure, count, and show a failure without its secrets."""
    started = time.perf_counter()
    outcome = "succeeded"
    with bound(task=name):
        try:
            yield
        except (Ignore, Reject) as verdict:
            outcome = "put_back" if isinstance(verdict, Reject) else "paused"
            raise
        except SmmError as error:
            outcome = "failed"
            log.warning("task failed", error=str(error))
            raise _shown(error) from None
        except Exception as error:
            outcome = "failed"
            log.exception("task raised")
            raise _shown(error) from None
        finally:
            metrics.TASK_SECONDS.observe(time.perf_counter() - started, task=name, outcome=outcome)
            if counter is not None:
                counter.inc(task=name, outcome=outcome)


def _tick(name: str, body: Callable[[], Any]) -> None:
    entry = schedule.name_of(name)
    if entry is None:
        body()
        return
    if schedule.is_paused(entry):
        raise Ignore
    started = time.perf_counter()
    error: str | None = None
    try:
        body()
    except Exception as failure:
        error = f"{type(failure).__name__}: {scrub_text(str(failure))[:500]}"
        raise
    finally:
        outcome = "failed" if error else "succeeded"
        ms = round((time.perf_counter() - started) * 1000)
        schedule.ran(entry, outcome=outcome, duration_ms=ms, error=error)
