"""`smm-admin costs set-aside ...` and `costs recompute`: calls that could not be kept, and roll-ups made anew."""

from __future__ import annotations

from uuid import UUID

import typer

from app import clock
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.costs import recomputing, set_aside
from app.infra.db import read_only

app = typer.Typer(no_args_is_help=True, help="Calls that could not be kept where they belong.")

Identifier = typer.Argument(help="Of `costs set-aside list`.")
By = typer.Option(None, "--by", help="Who does this; default: your login.")


def add_to(group: typer.Typer) -> None:
    """Add these commands to `smm-admin costs`."""
    group.add_typer(app, name="set-aside")
    group.command("recompute")(recompute)


@app.command("list")
def list_all(
    *,
    everything: bool = typer.Option(False, "--all", help="Also those that were replayed or dropped."),
    reason: str | None = typer.Option(None, "--reason", help="too_old, from_the_future, refused …"),
    limit: int = typer.Option(50, min=1, max=10_000, help="How many."),
    before: UUID | None = typer.Option(None, "--before", help="Only those below this one in the list."),
    as_json: bool = JsonOption,
) -> None:
    """Those that wait, newest first."""
    with read_only() as session:
        found = set_aside.list_all(session, waiting=not everything, reason=reason, limit=limit, before=before)
    if as_json:
        print_json({"set_aside": [one.document() for one in found]})
        return
    print_table(
        ("id", "since", "reason", "call", "sent by", "outcome"),
        [(one.id, one.at, one.reason, one.event_id, one.source, one.outcome or "waits") for one in found],
        empty="no call is set aside",
    )


@app.command("show")
def show(identifier: UUID = Identifier) -> None:
    """One of them, whole, as JSON."""
    with read_only() as session:
        print_json(set_aside.get(session, identifier).document())


@app.command("replay")
def replay(
    identifiers: list[UUID] = Identifier,
    *,
    force: bool = typer.Option(False, "--force", help="Also calls whose ids are too old, or from the future."),
    by: str | None = By,
) -> None:
    """Record calls as if they came now; the first that still cannot be recorded ends it."""
    for identifier in identifiers:
        found = set_aside.replay(identifier, by=by or who(), now=clock.now(), force=force)
        typer.echo(f"{found.id} is replayed: {found.event_id}")


@app.command("drop")
def drop(
    identifier: UUID = Identifier,
    *,
    reason: str = typer.Option(..., "--reason", help="Why it is not counted; kept with the call."),
    by: str | None = By,
) -> None:
    """Do not count a call."""
    found = set_aside.drop(identifier, by=by or who(), now=clock.now(), why=reason)
    typer.echo(f"{found.id} is dropped")


def recompute(
    day: str = typer.Argument(help="A day (UTC), as 2026-11-21."),
    *,
    as_json: bool = JsonOption,
) -> None:
    """Compare a day's roll-ups with its calls, and repair what differs; `cost_repairs` keeps what it was."""
    repaired = recomputing.recompute(recomputing.day_of(day), clock.now())
    if as_json:
        print_json({"day": day, "repaired": repaired})
        return
    typer.echo(f"{day}: {f'{repaired} roll-ups differed, and are repaired' if repaired else 'nothing differs'}")
