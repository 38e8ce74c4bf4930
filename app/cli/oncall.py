"""`smm-admin oncall ...`: whose turn it is, whose it will be, and who takes over for a while."""

from __future__ import annotations

from typing import Any

import typer

from app import catalog, clock
from app.alerts import overrides
from app.cli.alert_words import identifier, length, moment
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.errors import Invalid, Problem
from app.infra.db import read_only, unit_of_work
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="Whose turn it is, whose it will be, and who takes over for a while.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="oncall")


@app.callback()
def _compose() -> None:
    compose()


@app.command("show")
def show(
    days: float = typer.Option(14.0, min=0.1, max=366, help="How far ahead the turns are listed."),
    as_json: bool = JsonOption,
) -> None:
    """Who is on call and who is next, of every rotation and team."""
    now = clock.now()
    with read_only() as session:
        swaps = overrides.current(session, now)
    plan = overrides.plan(catalog.current().telling, swaps, now, days=days)
    if as_json:
        print_json(plan)
        return
    print_table(
        ("rotation", "on call", "since", "until", "next"),
        [
            (name, _person(turns["now"]), turns["now"]["since"], turns["now"]["until"], _person(turns["next"]))
            for name, turns in plan["rotations"].items()
        ],
        empty="no rotations in the catalogue",
    )
    if plan["teams"]:
        typer.echo("")
        teams = plan["teams"].items()
        rows = [(name, team["rotation"], team["on_call"], team["next"], team["lead"]) for name, team in teams]
        print_table(("team", "rotation", "on call", "next", "lead"), rows, empty="")


def _person(turn: dict[str, Any]) -> str:
    return f"{turn['person']} (override)" if turn["override"] else str(turn["person"])


@app.command("override")
def override(
    rotation: str = typer.Argument(help="Name of a rotation."),
    person: str = typer.Argument(help="Who takes over."),
    *,
    begin: str | None = typer.Option(None, "--from", help="ISO 8601; without an offset it is UTC. Default: now."),
    until: str | None = typer.Option(None, "--until", help="First moment after it."),
    lasting: str | None = typer.Option(None, "--for", help="How long instead: 90m, 12h, 2d."),
    reason: str = typer.Option("", help="Shown in the plan."),
    by: str | None = typer.Option(None, help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """Let somebody take over a rotation for a while."""
    now = clock.now()
    starts_at = now if begin is None else moment(begin, "--from")
    if (until is None) == (lasting is None):
        raise Invalid([Problem("--until", "give either --until or --for")], subject="override")
    ends_at = starts_at + length(lasting, "--for") if lasting is not None else moment(until or "", "--until")
    with unit_of_work() as uow:
        made = overrides.create(
            uow,
            catalog.current().telling,
            rotation=rotation,
            person=person,
            starts_at=starts_at,
            ends_at=ends_at,
            by=by or who(),
            now=now,
            reason=reason,
        )
    if as_json:
        print_json(made.as_dict())
        return
    typer.echo(f"{made.id}: {person} takes over {rotation} until {clock.iso(made.ends_at)}")


@app.command("overrides")
def list_overrides(
    rotation: str | None = typer.Option(None, help="Only this rotation's."), as_json: bool = JsonOption
) -> None:
    """Overrides that are not over yet; of overlapping ones the last counts."""
    with read_only() as session:
        found = overrides.list_overrides(session, clock.now(), rotation=rotation)
    if as_json:
        print_json({"overrides": [item.as_dict() for item in found]})
        return
    rows = [
        (item.id, item.rotation, item.person, item.starts_at, item.ends_at, item.created_by, item.reason or None)
        for item in found
    ]
    print_table(("id", "rotation", "person", "from", "until", "by", "reason"), rows, empty="no overrides")


@app.command("remove")
def remove(
    override_id: str = typer.Argument(metavar="ID", help="Or the beginning of one that no other has."),
    by: str | None = typer.Option(None, help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """Withdraw an override; the rotation's own turns hold again."""
    with unit_of_work() as uow:
        gone = overrides.remove(uow, identifier(uow.session, "override", override_id), by=by or who())
    print_json(gone.as_dict()) if as_json else typer.echo(f"{gone.rotation} is as before")
