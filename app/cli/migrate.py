"""`smm-admin migrate`: bring the database's schema to what this version expects."""

from __future__ import annotations

import typer

from app.config import settings
from app.infra import migrate as schema
from app.infra import readiness
from app.jobs import upkeep


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("migrate")(migrate)


def migrate(wait: float = typer.Option(0.0, help="How many seconds to wait for the servers to answer.")) -> None:
    """Check both servers, then run the missing migrations; two at once wait for each other."""
    readiness.require_servers(settings(), wait_seconds=wait)
    before, after = schema.upgrade()
    # Before anything writes: a row on its way to a DEFAULT partition fails while its day's own partition is attached.
    upkeep.make_partitions()
    if before == after:
        typer.echo(f"schema is at {after}")
    else:
        typer.echo(f"schema migrated from {before or 'nothing'} to {after}")
