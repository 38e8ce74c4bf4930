"""`smm-admin recovery ...`: what is repaired by itself, within which guards; start a run, abort one, stop them all."""

from __future__ import annotations

from uuid import UUID

import typer

from app import catalog, clock
from app.cli import recovery_shown
from app.cli.alert_words import identifier
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json
from app.errors import Invalid, Problem, Transient
from app.infra import dbwait
from app.infra.db import read_only, unit_of_work
from app.recovery import control, reading, triggering
from app.recovery.control import Stop
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="What is repaired by itself, and what guards that.")

ANSWER_SECONDS = 3.0

Id = typer.Argument(metavar="ID", help="A run's id, or the beginning of one that no other has.")
By = typer.Option(None, "--by", help="Who does this; default: your login.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="recovery")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_runs(
    *,
    service: str | None = typer.Option(None, help="Only this service's."),
    playbook: str | None = typer.Option(None, help="Only this playbook's."),
    only_open: bool = typer.Option(False, "--open", help="Only those that have not ended."),
    incident: str | None = typer.Option(None, help="Only this incident's: an id, or its beginning."),
    limit: int = typer.Option(50, min=1, max=1000),
    cursor: str | None = typer.Option(None, help="`next` of the page before."),
    as_json: bool = JsonOption,
) -> None:
    """Runs of playbooks, newest first."""
    with read_only() as session:
        found = reading.list_runs(
            session,
            service=service,
            playbook=playbook,
            open_only=only_open,
            incident_id=None if incident is None else identifier(session, "incident", incident),
            limit=limit + 1,
            before=_cursor(cursor),
        )
    page = found[:limit]
    following = page[-1]["id"] if len(found) > limit else None
    if as_json:
        print_json({"runs": page, "next": following})
        return
    recovery_shown.runs(page, clock.now())
    if following is not None:
        typer.echo(f"\nmore: --cursor {following}")


@app.command("show")
def show(run: str = Id, as_json: bool = JsonOption) -> None:
    """One run: what it was for, each step and what came of it."""
    with read_only() as session:
        found = reading.get_run(session, identifier(session, "run", run))
    print_json(found) if as_json else recovery_shown.run(found)


@app.command("run")
def start(
    playbook: str = typer.Argument(help="A playbook; `smm-admin recovery playbooks` lists them."),
    service: str = typer.Argument(help="A service of the catalogue."),
    *,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be done."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Start a playbook for a service, whatever its state; the guards count all the same."""
    with unit_of_work() as uow:
        run_id = triggering.start(uow, playbook, service, by=by or who(), now=clock.now(), dry_run=dry_run)
        found = reading.get_run(uow.session, run_id)
    if as_json:
        print_json(found)
        return
    typer.echo(f"{run_id} {playbook} begins for {service}{' (dry run)' if found['dry_run'] else ''}")
    typer.echo(f"follow it: smm-admin recovery show {run_id}")


@app.command("abort")
def abort(run: str = Id, *, by: str | None = By, as_json: bool = JsonOption) -> None:
    """Have a run end before its next step; the step under way is not broken off."""
    with unit_of_work() as uow:
        run_id = identifier(uow.session, "run", run)
        control.abort(uow, run_id, by=by or who())
        found = reading.get_run(uow.session, run_id)
    if as_json:
        print_json(found)
        return
    typer.echo(f"{run_id} {found['playbook']} for {found['service']} ends before its next step")


@app.command("playbooks")
def list_playbooks(as_json: bool = JsonOption) -> None:
    """What may be done about which trouble, as the catalogue says."""
    found = reading.playbooks(catalog.current())
    if as_json:
        print_json({"playbooks": found})
        return
    recovery_shown.playbooks(found)


@app.command("guards")
def show_guards(as_json: bool = JsonOption) -> None:
    """What guards repairs, what of the budgets is used up, and whether everything is stopped."""
    with read_only() as session:
        found = reading.guards(session, catalog.current(), clock.now())
    print_json(found) if as_json else recovery_shown.guards(found)


@app.command("stop")
def stop(
    reason: str = typer.Option("", help="Why; shown on every status page."),
    *,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Repair nothing any more until it is resumed. Without Postgres it still stops the watchdog of this home."""
    now, person = clock.now(), by or who()
    dbwait.bound_waits(ANSWER_SECONDS)
    try:
        with unit_of_work() as uow:
            control.stop(uow, by=person, reason=reason, now=now)
            found = reading.guards(uow.session, catalog.current(), now)
    except Transient as error:
        control.keep(Stop(clock.iso(now), person, reason))
        raise Transient(_half_done(error, "stopped", control.kept(control.stop_file()) is not None)) from error
    finally:
        dbwait.unbound_waits()
    if as_json:
        print_json(found)
        return
    typer.echo("recovery is stopped: nothing is repaired until `smm-admin recovery resume`")


@app.command("resume")
def resume(*, by: str | None = By, as_json: bool = JsonOption) -> None:
    """Let recovery go on: what is still in trouble is taken up at the next look."""
    now = clock.now()
    dbwait.bound_waits(ANSWER_SECONDS)
    try:
        with unit_of_work() as uow:
            control.resume(uow, by=by or who(), now=now)
            found = reading.guards(uow.session, catalog.current(), now)
    except Transient as error:
        control.keep(None)
        raise Transient(_half_done(error, "resumed", control.kept(control.stop_file()) is None)) from error
    finally:
        dbwait.unbound_waits()
    if as_json:
        print_json(found)
        return
    typer.echo("recovery goes on")


def _half_done(error: Transient, word: str, is_kept: bool) -> str:
    """What is said when the database did not take it; loudly, because half of it is not what was asked for."""
    file = control.stop_file()
    if not is_kept:
        return f"NOT {word.upper()}: the database did not take it ({error}), and {file} cannot be changed"
    return (
        f"ONLY HALF {word.upper()}: the database did not take it ({error}). The watchdog of this home has {word}, by "
        f"{file}; the engine has not: say it again when Postgres is back"
    )


def _cursor(typed: str | None) -> UUID | None:
    if typed is None:
        return None
    try:
        return UUID(typed)
    except ValueError:
        raise Invalid([Problem("--cursor", "is no `next` of a page")], subject="arguments") from None
