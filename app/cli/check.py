"""`smm-admin check`: probe one service now, from a worker, and print what it found."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import typer

from app import clock, jobs
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json
from app.errors import NotFound, Transient
from app.infra.db import read_only, unit_of_work
from app.infra.words import duration
from app.jobs import admin
from app.jobs.core import FINISHED, JobState
from tasks.celery import compose

POLL_SECONDS = 0.1
TASK = "tasks.health.check_service"


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("check")(check)


def check(
    service: str = typer.Argument(help="A service of the catalogue."),
    *,
    timeout: float = typer.Option(60.0, help="How many seconds to wait for a worker at most."),
    as_json: bool = JsonOption,
) -> None:
    """Probe one service now. Exit code 1 unless it answered well."""
    compose()
    with unit_of_work() as uow:
        identifier = jobs.submit(uow, TASK, priority=jobs.Priority.HIGH, caller=who(), service=service)
    job = _finished(identifier, timeout)
    if job.state != JobState.SUCCEEDED:
        raise NotFound(_failure(job))
    result = dict(job.result or {})
    print_json(result) if as_json else typer.echo(_sentence(result))
    if not result.get("ok"):
        raise typer.Exit(1)


def _finished(identifier: UUID, timeout: float) -> admin.JobView:
    deadline = clock.monotonic() + timeout
    while True:
        with read_only() as session:
            job = admin.get(session, identifier)
        if job.state in FINISHED:
            return job
        if clock.monotonic() > deadline:
            with unit_of_work() as uow:
                admin.cancel(uow, identifier)
            raise Transient(f"no worker took the check within {timeout:g} s: see `smm-admin status`")
        time.sleep(POLL_SECONDS)


def _failure(job: admin.JobView) -> str:
    return str((job.error or {}).get("message") or f"the check ended as {job.state}")


def _sentence(result: dict[str, Any]) -> str:
    name = result["service"]
    if result["ok"] is None:
        return f"{name}: cannot be told: {result['why']}"
    latency = result["latency_ms"]
    took = f" in {duration(latency / 1000)}" if latency is not None else ""
    if not result["ok"]:
        return f"{name}: failed: {result['error']['text']}"
    told = [f"{key} {value}" for key, value in result["readings"].items() if isinstance(value, int | float | str)]
    judged = [text for text in (result["degraded"], *result["warnings"]) if text]
    return "\n  ".join(
        [f"{name}: {'degraded' if result['degraded'] else 'fine'}{took}", *judged, ", ".join(told)]
    ).rstrip()
