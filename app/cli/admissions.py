"""`smm-admin admissions ...`: operations that wait, and why; what would be answered now, consuming nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import typer

from app import catalog, clock
from app.admission import deferring, requests, trying
from app.cli.jobs import who
from app.cli.limits import figure, print_waiting
from app.cli.output import JsonOption, print_json, print_table
from app.errors import Invalid, Problem, Transient
from app.infra import dbwait
from app.infra.db import read_only, unit_of_work
from app.infra.plain import plain
from app.infra.words import ago
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="Operations that wait, and why; what would be answered now.")

ANSWER_SECONDS = 3.0
STATES = ("waiting", "released", "expired", "cancelled", "dropped", "any")
_WORDS = {"allow": "it may go on", "wait": "it would wait", "deny": "it would be denied"}


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="admissions")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_deferred(
    *,
    state: str = typer.Option("waiting", help="waiting, released, expired, cancelled, dropped, or any."),
    account: str | None = typer.Option(None, help="PLATFORM/NAME."),
    operation: str | None = typer.Option(None),
    tenant: str | None = typer.Option(None),
    caller: str | None = typer.Option(None, help="Who asked."),
    limit: int = typer.Option(50, min=1, max=1000),
    cursor: str | None = typer.Option(None, help="Only those older than this id: the last one of the page before."),
    as_json: bool = JsonOption,
) -> None:
    """Operations that wait, newest first."""
    if state not in STATES:
        raise Invalid([Problem("--state", f"must be {', '.join(STATES[:-1])} or {STATES[-1]}")], subject="arguments")
    with read_only() as session:
        found = deferring.list_deferred(
            session,
            state=None if state == "any" else state,
            account=account,
            operation=operation,
            tenant=tenant,
            caller=caller,
            limit=limit,
            before=None if cursor is None else _id(cursor),
        )
    if as_json:
        print_json({"operations": found})
        return
    now = clock.now()
    print_table(
        ("id", "account", "operation", "state", "since", "expires", "why"),
        [
            (item.id, item.account, item.operation, item.state, ago(item.created_at, now), item.expires_at, item.reason)
            for item in found
        ],
        empty="nothing waits" if state == "waiting" else "no operation is like this",
    )


@app.command("show")
def show(identifier: str = typer.Argument(metavar="ID"), as_json: bool = JsonOption) -> None:
    """One operation that waits, or waited: why, where in its queue, and its job once it was let go."""
    with read_only() as session:
        found = plain(deferring.get(session, _id(identifier)))
    if as_json:
        print_json(found)
        return
    width = max(map(len, found))
    for name, value in found.items():
        if value is not None:
            typer.echo(f"{name.replace('_', ' '):<{width}}  {value}")


@app.command("cancel")
def cancel(identifier: str = typer.Argument(metavar="ID"), as_json: bool = JsonOption) -> None:
    """Let an operation wait no more: it does not go on."""
    wanted = _id(identifier)
    with unit_of_work() as uow:
        deferring.cancel(uow, wanted, who())
        found = plain(deferring.get(uow.session, wanted))
    print_json(found) if as_json else typer.echo(f"{wanted} is {found['state']}")


@app.command("try")
def try_out(
    operation: str = typer.Argument(help="An operation of the catalogue."),
    *,
    account: str | None = typer.Option(
        None, help="The account's name on its platform, or PLATFORM/NAME; without it where the operation spends money."
    ),
    tenant: str | None = typer.Option(None, help="Whose account it is, or whose money is spent."),
    estimate: float | None = typer.Option(None, help="Dollars it is expected to cost, where it spends money."),
    as_json: bool = JsonOption,
) -> None:
    """What would be answered now, and why, consuming nothing. Exit code 1 unless it may go on."""
    body = {"operation": operation, "account": _name(account, operation), "tenant": tenant, "estimate": estimate}
    given = {name: value for name, value in body.items() if value is not None}
    request = requests.parse(given, caller=who(), is_tried=True)
    found = _tried(request)
    if as_json:
        print_json(found)
    else:
        _print_tried(found)
    if found["answer"]["decision"] != "allow":
        raise typer.Exit(1)


def _name(account: str | None, operation: str) -> str | None:
    """Other commands write PLATFORM/NAME."""
    known = catalog.current().limiting.operations.get(operation)
    return account if account is None or known is None else account.removeprefix(f"{known.platform or '-'}/")


def _tried(request: requests.Request) -> dict[str, Any]:
    decision = trying.peek(request)
    dbwait.bound_waits(ANSWER_SECONDS)
    try:
        with read_only() as session:
            return trying.document(request, decision, session, clock.now())
    except Transient:
        return trying.document(request, decision, None, clock.now())
    finally:
        dbwait.unbound_waits()


def _print_tried(found: Mapping[str, Any]) -> None:
    answer = found["answer"]
    until = f" until {answer['until']}" if answer["until"] else ""
    typer.echo(f"{_WORDS[answer['decision']]}{until} ({answer['reason']}): {answer['detail']}\n")
    rows = [
        (
            row["name"],
            figure(row["used"], row["currency"]),
            figure(row["capacity"], row["currency"]),
            "no limit" if row["ceiling"] is None else figure(row["ceiling"], row["currency"]),
            figure(row["cost"], row["currency"]),
            row["room_at"] or "now",
            row["resets_at"] or "-",
        )
        for row in answer["limits"]
    ]
    print_table(("limit", "used", "of", f"{found['class']} up to", "needs", "room", "resets"), rows, empty="no limit")
    for hold in found["holds"]:
        lasts = f" until {hold['until']}" if hold["until"] else ""
        typer.echo(f"\nheld{lasts}: {hold['reason']}")
    for hint in found["hints"]:
        typer.echo(f"\nfalls back: {hint['reason']}")
    if found["behind"]:
        typer.echo(f"\nothers wait for {found['behind']} already: it would wait behind them")
    if found["one_at_a_time"]:
        typer.echo("\none at a time: it starts when those before it are done")
    if answer["fall_back"] and answer["decision"] != "allow":
        typer.echo(f"\nmeanwhile: {answer['fall_back']}")
    print_waiting(found)


def _id(typed: str) -> UUID:
    try:
        return UUID(typed)
    except ValueError:
        problem = Problem("ID", "is no id: those look like 019f0e6c-7d55-7c1e-9d1a-3a1f6f0c2b11")
        raise Invalid([problem], subject="arguments") from None
