"""`smm-admin jobs ...`: enqueue work and look after it. Speaks to Postgres, so it needs no web process."""

from __future__ import annotations

import getpass
import json
import time
from datetime import datetime
from typing import Any
from uuid import UUID

import typer

from app import clock
from app.cli.output import JsonOption, print_json, print_table
from app.errors import Invalid, Problem, Transient
from app.infra.db import read_only, unit_of_work
from app.infra.words import ago
from app.jobs import admin, intake
from app.jobs.core import FINISHED, JobState
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="Enqueue work and look after it.")

POLL_SECONDS = 0.2


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="jobs")


@app.callback()
def _compose() -> None:
    compose()


@app.command("submit")
def submit(
    task: str = typer.Argument(help="A published task; `smm-admin contract` lists them."),
    *,
    kwargs: str = typer.Option("{}", help="Its arguments, a JSON object."),
    key: str | None = typer.Option(None, help="At most one waiting job per task and key."),
    not_before: str | None = typer.Option(None, help="Do not start earlier: ISO 8601 with an offset."),
    expires_at: str | None = typer.Option(None, help="Drop it when it has not started by then."),
    priority: str = typer.Option("normal", help="high, normal or low: order within its queue."),
    queue: str | None = typer.Option(None, help="Another queue than the task's own, where its contract allows."),
    wait: bool = typer.Option(False, "--wait", help="Wait for the end; exit code 1 unless it succeeded."),
    timeout: float = typer.Option(300.0, help="How many seconds --wait waits at most."),
    as_json: bool = JsonOption,
) -> None:
    """Enqueue one job and print its id."""
    given = {
        "task": task,
        "kwargs": _object(kwargs),
        "key": key,
        "not_before": not_before,
        "expires_at": expires_at,
        "priority": priority,
        "queue": queue,
    }
    request = intake.parse({name: value for name, value in given.items() if value is not None})
    with unit_of_work() as uow:
        accepted = intake.accept(uow, request, caller=who())
    if not wait:
        print_json({"id": accepted.id, "task": task}) if as_json else typer.echo(str(accepted.id))
        return
    job = _wait_for(accepted.id, timeout)
    _print_job(job, as_json)
    if job.state != JobState.SUCCEEDED:
        raise typer.Exit(1)


@app.command("list")
def list_jobs(
    *,
    state: str | None = typer.Option(None, help="scheduled, rung, running, succeeded, dead, cancelled or expired."),
    task: str | None = typer.Option(None),
    queue: str | None = typer.Option(None),
    key: str | None = typer.Option(None),
    limit: int = typer.Option(50, min=1, max=1000),
    before: str | None = typer.Option(None, help="Only jobs older than this id: the last one of the page before."),
    as_json: bool = JsonOption,
) -> None:
    """Jobs, newest first."""
    with read_only() as session:
        found = admin.list_jobs(
            session,
            state=state,
            task=task,
            queue=queue,
            key=key,
            limit=limit,
            before=None if before is None else job_id(before),
        )
    if as_json:
        print_json({"jobs": [job.as_dict() for job in found]})
        return
    now = clock.now()
    print_table(
        ("id", "task", "queue", "state", "tries", "created", "error"),
        [
            (
                job.id,
                job.task,
                job.queue,
                job.state,
                f"{job.attempt}/{job.max_attempts}",
                ago(job.created_at, now),
                _error(job),
            )
            for job in found
        ],
        empty="no jobs",
    )


@app.command("show")
def show(identifier: str = typer.Argument(metavar="ID"), as_json: bool = JsonOption) -> None:
    """Everything about one job; its arguments with secrets masked."""
    with read_only() as session:
        job = admin.get(session, job_id(identifier))
    _print_job(job, as_json)


@app.command("retry")
def retry(identifier: str = typer.Argument(metavar="ID"), as_json: bool = JsonOption) -> None:
    """Run a dead, cancelled or expired job again."""
    with unit_of_work() as uow:
        job = admin.retry(uow, job_id(identifier))
    print_json(job.as_dict()) if as_json else typer.echo(f"{job.id} is {job.state}")


@app.command("cancel")
def cancel(identifier: str = typer.Argument(metavar="ID"), as_json: bool = JsonOption) -> None:
    """Cancel a waiting job, or ask a running one to stop."""
    with unit_of_work() as uow:
        job = admin.cancel(uow, job_id(identifier))
    asked = "asked to stop" if job.cancel_requested else job.state
    print_json(job.as_dict()) if as_json else typer.echo(f"{job.id} is {asked}")


def job_id(text: str) -> UUID:
    """A job's id as typed. Raises Invalid."""
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(
            [Problem("ID", "is no job id: those look like 019f0e6c-7d55-7c1e-9d1a-3a1f6f0c2b11")], subject="job id"
        ) from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Invalid([Problem("--kwargs", f"is no JSON: {error}")], subject="arguments") from None
    if not isinstance(value, dict):
        raise Invalid([Problem("--kwargs", 'must be a JSON object, such as {"service": "web"}')], subject="arguments")
    return value


def who() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def _wait_for(identifier: UUID, timeout: float) -> admin.JobView:
    deadline = clock.monotonic() + timeout
    while True:
        with read_only() as session:
            job = admin.get(session, identifier)
        if job.state in FINISHED:
            return job
        if clock.monotonic() > deadline:
            raise Transient(f"job {identifier} has not finished within {timeout:g} s; it is {job.state}")
        time.sleep(POLL_SECONDS)


def _error(job: admin.JobView) -> str:
    if not job.error:
        return "-"
    text = f"{job.error.get('type', '')}: {job.error.get('message', '')}"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _print_job(job: admin.JobView, as_json: bool) -> None:
    shown = job.as_dict()
    if as_json:
        print_json(shown)
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        if value is None:
            continue
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else _plain_text(value)
        typer.echo(f"{name.replace('_', ' '):<{width}}  {text}")


def _plain_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clock.iso(value) if isinstance(value, datetime) else str(value)
