"""`smm-admin incidents`: what was down, since when, how fast it was seen, how long it lasted."""

from __future__ import annotations

import typer

from app.cli.output import JsonOption, print_json, print_table
from app.health.incidents import list_incidents
from app.infra.db import read_only
from app.infra.words import duration


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("incidents")(show)


def show(
    service: str | None = typer.Option(None, help="Only this service's."),
    *,
    only_open: bool = typer.Option(False, "--open", help="Only those that have not ended."),
    limit: int = typer.Option(50, min=1, max=1000),
    as_json: bool = JsonOption,
) -> None:
    """Incidents, newest first; times are measured from the first failing moment."""
    with read_only() as session:
        found = [
            incident.as_dict()
            for incident in list_incidents(session, service=service, open=True if only_open else None, limit=limit)
        ]
    if as_json:
        print_json({"incidents": found})
        return
    print_table(
        ("service", "severity", "started", "detected after", "recovered after", "failures", "error"),
        [
            (
                incident["service"],
                incident["severity"] + (" (maintenance)" if incident["in_maintenance"] else ""),
                incident["started_at"],
                duration(incident["detection_seconds"]),
                duration(incident["recovery_seconds"])
                if incident["recovery_seconds"]
                else incident["outcome"] or "open",
                incident["failures"],
                incident["error"]["text"] if incident["error"] else None,
            )
            for incident in found
        ],
        empty="no incidents",
    )
