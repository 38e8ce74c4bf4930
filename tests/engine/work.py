"""Tasks for tests, loaded into real workers through SMM_TASK_MODULES. Their effects are rows of the table `effects`."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from uuid import UUID

from app import signals
from app.errors import Conflict, Misconfigured, Permanent, Transient
from app.infra.secret import Secret
from app.jobs.worker import JobContext
from tasks.base import job


def _effect(ctx: JobContext, note: str) -> None:
    with ctx.complete({"note": note}) as uow:
        uow.execute(
            "INSERT INTO effects (job, note, worker) VALUES (:job, :note, :worker)",
            job=ctx.id,
            note=note,
            worker=str(os.getpid()),
        )


def _mark(ctx: JobContext, note: str) -> None:
    """An effect outside the completing transaction: one per attempt."""
    with ctx.unit_of_work() as uow:
        uow.execute(
            "INSERT INTO effects (job, note, worker) VALUES (:job, :note, :worker)",
            job=ctx.id,
            note=note,
            worker=str(os.getpid()),
        )


@job("tests.record", published=True, allowed_queues=("bulk", "high", "critical"))
def record(ctx: JobContext, *, note: str = "", seconds: float = 0) -> None:
    """Leave one effect, after a while."""
    time.sleep(seconds)
    _effect(ctx, note)


@job("tests.marked", max_attempts=4)
def marked(ctx: JobContext, *, seconds: float) -> None:
    """Mark the attempt, wait, and leave one effect."""
    _mark(ctx, f"attempt {ctx.attempt}")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ctx.raise_if_cancelled()
        time.sleep(0.05)
    _effect(ctx, "done")


@job("tests.flaky", max_attempts=4)
def flaky(ctx: JobContext, *, failures: int, kind: str = "transient", pause: float = 0.1) -> None:
    """Fail that many times, each for `pause` seconds, then leave one effect."""
    if ctx.attempt <= failures:
        match kind:
            case "transient":
                raise Transient("not yet: token=sk-hidden-12345678", retry_after=timedelta(seconds=pause))
            case "permanent":
                raise Permanent("never")
            case "misconfigured":
                raise Misconfigured("no key is set")
            case "conflict":
                raise Conflict("already there")
            case _:
                raise RuntimeError("a bug with password=hunter2secret")
    _effect(ctx, "done")


@job("tests.poison", max_attempts=2)
def poison(ctx: JobContext) -> None:
    """Kill the process it runs in."""
    _mark(ctx, f"attempt {ctx.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)


@job("tests.large")
def large(_ctx: JobContext, *, size: int) -> str:
    """Give a result of that many characters."""
    return "x" * size


@job("tests.told", published=True)
def told(ctx: JobContext, *, finished_job_id: UUID) -> None:
    """Remember which job was reported as finished."""
    _effect(ctx, str(finished_job_id))


@job("tests.heard")
def heard(ctx: JobContext, *, signal_id: UUID) -> None:
    """Act on a signal unless a newer one of its subject was acted on."""
    with ctx.complete() as uow:
        signal = signals.load(uow.session, signal_id)
        if signals.is_news(uow, "tests.heard", signal):
            uow.execute("INSERT INTO effects (job, note) VALUES (:job, :note)", job=ctx.id, note=signal.kind)


@job("tests.holds_a_token", max_attempts=1)
def holds_a_token(_ctx: JobContext, *, token: str) -> None:
    """Fail with a secret at hand, in clear and not; it begins as every token of the tests does."""
    secret = Secret(f"canary-{token}")
    sent = {"access_token": secret.reveal()}
    raise RuntimeError(f"refused {secret} after {len(sent)} try")
