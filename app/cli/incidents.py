"""`smm-admin incidents`: what was down, since when, how fast it was seen, how long it lasted; the story of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from app import catalog, clock
from app.cli.alert_words import identifier
from app.cli.output import JsonOption, print_json, print_table
from app.health.incidents import list_incidents
from app.infra.db import read_only
from app.infra.words import duration
from app.recovery import timeline
from app.recovery.checks import CHECKS

app = typer.Typer(help="What was down, since when, how fast it was seen, how long it lasted.")

Service = typer.Option(None, help="Only this service's.")
Open = typer.Option(False, "--open", help="Only those that have not ended.")
Limit = typer.Option(50, min=1, max=1000)


def register(cli: typer.Typer) -> None:
    """Add the commands to smm-admin."""
    cli.add_typer(app, name="incidents")


@app.callback(invoke_without_command=True)
def _default(
    context: typer.Context,
    service: str | None = Service,
    *,
    only_open: bool = Open,
    limit: int = Limit,
    as_json: bool = JsonOption,
) -> None:
    """Without another word the same as `list`."""
    if context.invoked_subcommand is None:
        list_all(service, only_open=only_open, limit=limit, as_json=as_json)


@app.command("list")
def list_all(
    service: str | None = Service, *, only_open: bool = Open, limit: int = Limit, as_json: bool = JsonOption
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
        ("id", "service", "severity", "started", "detected after", "recovered after", "failures", "error"),
        [
            (
                incident["id"],
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


@app.command("show")
def show(
    incident: str = typer.Argument(metavar="ID", help="An incident's id, or the beginning of one that no other has."),
    *,
    as_json: bool = JsonOption,
) -> None:
    """One incident with everything that happened in it, in order."""
    for check in CHECKS:
        catalog.use_check(check)
    with read_only() as session:
        found = timeline.incident(session, identifier(session, "incident", incident), clock.now())
    print_json(found) if as_json else _print(found)


def _print(found: Mapping[str, Any]) -> None:
    lasted = found["outcome"] or "open"
    if found["recovery_seconds"] is not None:
        lasted = f"recovered after {duration(found['recovery_seconds'])}"
    typer.echo(
        f"{found['service']} ({found['severity']}): {lasted}, detected after {duration(found['detection_seconds'])}"
    )
    if found["error"]:
        typer.echo(f"  {found['error']['text']}")
    for word, others in (("caused by", found["causes"]), ("brought down", found["affected"])):
        if others:
            typer.echo(f"  {word}: {', '.join(other['service'] for other in others)}")
    typer.echo("")
    day = ""
    for entry in found["timeline"]:
        if entry["at"][:10] != day:
            day = entry["at"][:10]
            typer.echo(day)
        typer.echo(f"  {entry['at'][11:19]}  {entry['text']}")
    if not found["complete"]:
        typer.echo("\nthe probes of then are no longer kept")
    for run in found["runs"]:
        typer.echo(f"\nwhat was done: smm-admin recovery show {run['id']}")
    for alert in found["alerts"]:
        if alert["state"] != "resolved":
            typer.echo(f"\nanswer it: smm-admin alerts ack {alert['id']}")
