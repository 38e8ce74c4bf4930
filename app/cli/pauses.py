"""`smm-admin pauses ...`: what is held back, by whom and why; operations of a scope paused and let go on by hand."""

from __future__ import annotations

import typer

from app import clock
from app.admission import pauses
from app.admission.scopes import SHAPES
from app.catalog import CLASSES
from app.cli.alert_words import length
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.infra.db import read_only, unit_of_work
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="What is held back, by whom and why.")

SCOPE = f"What it is about: {SHAPES}."


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="pauses")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_pauses(
    scope: str | None = typer.Option(None, "--scope", help=SCOPE),
    limit: int = typer.Option(100, min=1, max=10_000, help="How many."),
    as_json: bool = JsonOption,
) -> None:
    """Pauses that hold now, oldest first."""
    with read_only() as session:
        found = pauses.read(session, scope, limit=limit)
    if as_json:
        print_json({"pauses": [pause.document() for pause in found]})
        return
    print_table(
        ("scope", "from class", "effect", "set by", "since", "until", "reason"),
        [
            (pause.scope, CLASSES[pause.least], pause.effect, pause.set_by, pause.since, pause.until, pause.reason)
            for pause in found
        ],
        empty="nothing is paused",
    )


@app.command("set")
def set_pause(
    scope: str = typer.Argument(help=SCOPE),
    *,
    reason: str = typer.Option(..., help="Why; shown to everybody who asks."),
    lasting: str | None = typer.Option(None, "--for", help="How long: 90m, 2h, 1d12h. Default: until it is lifted."),
    urgency: str = typer.Option(
        CLASSES[0], "--class", help="The most urgent class that is held: background holds background work only."
    ),
    effect: str = typer.Option("wait", help="wait, deny, or token: only what needs the account's token waits."),
    by: str | None = typer.Option(None, "--by", help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """Pause a scope, or change the pause that people have set."""
    now = clock.now()
    least = pauses.rank_of(urgency)
    with unit_of_work() as uow:
        pause = pauses.set_pause(
            uow,
            scope,
            by=f"{pauses.PERSON}{by or who()}",
            reason=reason,
            now=now,
            until=None if lasting is None else now + length(lasting, "--for"),
            least=least,
            effect=effect,
        )
    if as_json:
        print_json(pause.document())
        return
    lasts = "it is lifted" if pause.until is None else clock.iso(pause.until)
    typer.echo(f"{pause.scope} is paused until {lasts}")


@app.command("lift")
def lift(
    scope: str = typer.Argument(help="The scope of a pause."),
    *,
    why: str = typer.Option("", help="Why; kept on the timeline."),
    force: bool = typer.Option(False, "--force", help="End what budgets, tokens and others hold, too."),
    by: str | None = typer.Option(None, "--by", help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """Let a scope go on: what people hold ends now; with --force also what other parts of the system hold."""
    with unit_of_work() as uow:
        ended = pauses.lift(uow, scope, by=f"{pauses.PERSON}{by or who()}", now=clock.now(), why=why, force=force)
        left = [pause.holder for pause in pauses.read(uow.session, scope)]
    if as_json:
        print_json({"scope": scope, "ended": [pause.document() for pause in ended], "held_by": left})
        return
    typer.echo(f"{scope} is still paused by {', '.join(left)}" if left else f"{scope} goes on")
