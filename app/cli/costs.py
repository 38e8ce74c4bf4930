"""`smm-admin costs ...`: what was spent, by whom and on what."""

from __future__ import annotations

import typer

from app.cli import costs_forecast, costs_reports
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="What was spent, by whom and on what.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="costs")


@app.callback()
def _compose() -> None:
    compose()


costs_forecast.add_to(app)
costs_reports.add_to(app)
