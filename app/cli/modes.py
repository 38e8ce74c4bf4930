"""`smm-admin modes ...`: which operations fall back or wait, since when and why; modes set and left by hand."""

from __future__ import annotations

import typer

from app import admission, clock
from app.cli.alert_words import length
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.infra.db import read_only, unit_of_work
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="Which operations fall back or wait, since when and why.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="modes")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_modes(as_json: bool = JsonOption) -> None:
    """Modes that are on, with who holds them, and what each operation shall do."""
    with read_only() as session:
        found = admission.read(session)
    if as_json:
        print_json(found.document())
        return
    print_table(
        ("mode", "set by", "since", "until", "reason"),
        [(hold.name, hold.set_by, hold.since, hold.until, hold.reason) for hold in found.holds],
        empty="no mode is on: every operation goes on as ever",
    )
    if found.operations:
        typer.echo("")
        rows = [
            (name, str(answer.effect), answer.since, ", ".join(answer.modes))
            for name, answer in found.operations.items()
        ]
        print_table(("operation", "effect", "since", "modes"), rows, empty="")


@app.command("enter")
def enter(
    name: str = typer.Argument(help="A mode of the catalogue, or any name with operations of its own."),
    *,
    reason: str = typer.Option(..., help="Why; shown to everybody who asks."),
    lasting: str | None = typer.Option(None, "--for", help="How long: 90m, 2h, 1d12h. Default: until it is left."),
    fall_back: list[str] = typer.Option([], "--fall-back", help="An operation that goes on without; repeatable."),
    wait: list[str] = typer.Option([], "--wait", help="An operation that is deferred; repeatable."),
    by: str | None = typer.Option(None, "--by", help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """Set a mode, or change one that is set. Without operations they are the catalogue's."""
    now = clock.now()
    with unit_of_work() as uow:
        hold = admission.enter(
            uow,
            name,
            by=f"person:{by or who()}",
            reason=reason,
            now=now,
            fall_back=fall_back,
            wait=wait,
            until=None if lasting is None else now + length(lasting, "--for"),
        )
    if as_json:
        print_json(admission.hold_shown(hold))
        return
    lasts = "it is left" if hold.until is None else clock.iso(hold.until)
    typer.echo(f"{name} is on until {lasts}")


@app.command("leave")
def leave(
    name: str = typer.Argument(help="A mode that is on."),
    by: str | None = typer.Option(None, "--by", help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """Let go of a mode: what people and playbooks hold ends now; what health holds ends when the service is back."""
    with unit_of_work() as uow:
        ended = admission.leave(uow, name, by=f"person:{by or who()}", now=clock.now())
        held = admission.read(uow.session).held_by(name)
    if as_json:
        print_json({"name": name, "ended": [admission.hold_shown(hold) for hold in ended], "held_by": held})
        return
    typer.echo(f"{name} is still held by {', '.join(held)}" if held else f"{name} is off")
