"""`smm-admin schedule ...`: the timetable, entry by entry."""

from __future__ import annotations

import typer

from app import clock
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.infra.db import read_only, unit_of_work
from app.infra.words import ago, duration
from app.jobs import schedule
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="The timetable: what runs by itself, when it last ran, what is paused.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="schedule")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_entries(as_json: bool = JsonOption) -> None:
    """Every entry with its last run and, for dated ones, its next."""
    with read_only() as session:
        rows = schedule.overview(session)
    if as_json:
        print_json({"schedule": rows})
        return
    now = clock.now()
    print_table(
        ("name", "timing", "task", "last run", "took", "outcome", "next", "state"),
        [
            (
                row["name"],
                row["timing"],
                row["task"],
                ago(row["last_run_at"] or row["last_due_at"], now),
                duration(None if row["last_duration_ms"] is None else row["last_duration_ms"] / 1000),
                row["last_outcome"],
                row["next_due_at"],
                f"paused by {row['paused_by']}: {row['pause_reason']}" if row["paused_at"] else "active",
            )
            for row in rows
        ],
        empty="the timetable is empty",
    )


@app.command("run")
def run(name: str, as_json: bool = JsonOption) -> None:
    """Run an entry now, out of turn; its ordinary times stay."""
    with unit_of_work() as uow:
        schedule.run_now(uow, name, who=who())
    print_json({"entry": name, "requested": True}) if as_json else typer.echo(f"{name} was asked to run")


@app.command("pause")
def pause(
    name: str, reason: str = typer.Option("", help="Shown wherever the entry is shown."), as_json: bool = JsonOption
) -> None:
    """Stop an entry from running until it is resumed."""
    with unit_of_work() as uow:
        schedule.pause(uow, name, who=who(), reason=reason)
    print_json({"entry": name, "paused": True}) if as_json else typer.echo(f"{name} is paused")


@app.command("resume")
def resume(name: str, as_json: bool = JsonOption) -> None:
    """Let an entry run again; a dated one that came due meanwhile runs once."""
    with unit_of_work() as uow:
        schedule.resume(uow, name)
    print_json({"entry": name, "paused": False}) if as_json else typer.echo(f"{name} is active")
