"""`smm-admin queues ...`: what waits where, and the tap of each queue."""

from __future__ import annotations

import typer

from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.infra.db import read_only, unit_of_work
from app.infra.words import duration
from app.jobs import admin, counting, queues
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="The queues: what waits, how long, what is paused.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="queues")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_queues(as_json: bool = JsonOption) -> None:
    """Messages in Redis, jobs in Postgres, and pauses."""
    with read_only() as session:
        held = queues.ledger(session)
    shown = queues.document(held, queues.messages())
    if as_json:
        print_json(shown)
        return
    print_table(
        ("queue", "messages", "oldest", "scheduled", "rung", "running", "waiting for", "state"),
        [
            (
                row["name"],
                row["depth"],
                duration(row["oldest_seconds"]),
                *(counting.shown(number, is_capped=state in row["capped"]) for state, number in row["jobs"].items()),
                duration(row["oldest_due_seconds"]),
                f"paused by {row['paused']['paused_by']}: {row['paused']['reason']}" if row["paused"] else "active",
            )
            for row in shown["queues"]
        ],
        empty="no queues",
    )
    if shown["problem"]:
        typer.echo(f"depths are not known: {shown['problem']}", err=True)
    else:
        typer.echo(f"{shown['unacked']} messages are held by workers")


@app.command("pause")
def pause(
    name: str, reason: str = typer.Option("", help="Shown wherever the queue is shown."), as_json: bool = JsonOption
) -> None:
    """Let nothing of a queue start until it is resumed; running jobs finish."""
    with unit_of_work() as uow:
        admin.pause_queue(uow, name, who=who(), reason=reason)
    print_json({"queue": name, "paused": True}) if as_json else typer.echo(f"{name} is paused")


@app.command("resume")
def resume(name: str, as_json: bool = JsonOption) -> None:
    """Let a queue go on, in priority and age order."""
    with unit_of_work() as uow:
        admin.resume_queue(uow, name)
    print_json({"queue": name, "paused": False}) if as_json else typer.echo(f"{name} is active")


@app.command("purge")
def purge(
    name: str,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    as_json: bool = JsonOption,
) -> None:
    """Cancel every waiting job of a queue; running ones finish. Cancelled jobs can be retried."""
    with read_only() as session:
        waiting = queues.waiting_jobs(session, name)
    if not yes and not typer.confirm(f"Cancel {waiting} waiting jobs of {name}?", err=True):
        raise typer.Exit(1)
    cancelled = admin.purge_queue(name)
    print_json({"queue": name, "cancelled": cancelled}) if as_json else typer.echo(f"{cancelled} jobs were cancelled")
