"""`smm-admin limits ...`: how much of which limit is used, by whom, and when it is free again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from app import clock
from app.admission import limit_reading
from app.admission.limit_reading import Account
from app.catalog import MICRO
from app.cli.alert_words import length
from app.cli.output import JsonOption, print_json, print_table
from app.errors import Transient
from app.infra import dbwait
from app.infra.db import read_only
from app.infra.words import duration
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="How much of which limit is used, by whom, and when it is free again.")

ANSWER_SECONDS = 3.0
BAR = 20

AccountName = typer.Option(None, "--account", help="PLATFORM/NAME.")
LimitName = typer.Option(None, "--limit", help="A limit of the catalogue.")
TenantName = typer.Option(None, "--tenant", help="Whose limits by tenant are shown, too.")

_ACTIONS = {"none": "", "warn": "warned", "pause_background": "background work waits", "wait": "what needs it waits"}


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="limits")


@app.callback()
def _compose() -> None:
    compose()


@app.command("show")
def show(
    *,
    account: str | None = AccountName,
    limit: str | None = LimitName,
    tenant: str | None = TenantName,
    most: int = typer.Option(50, "--most", min=1, max=1000, help="How many lines, without an account."),
    as_json: bool = JsonOption,
) -> None:
    """Every limit of an account as it stands now, who waits and what holds; without one, the fullest of all."""
    now = clock.now()
    if account is None:
        with read_only() as session:
            found = limit_reading.fullest(session, now, limit_name=limit, limit=most)
    else:
        found = _of_account(limit_reading.account_of(account, tenant), limit, now)
    if as_json:
        print_json(found)
    elif account is None:
        _print_limits(found["limits"], empty="nothing is used of any limit", with_account=True)
    else:
        _print_account(found)


def _of_account(account: Account, limit: str | None, now: datetime) -> dict[str, Any]:
    sight = limit_reading.look_at(account)
    dbwait.bound_waits(ANSWER_SECONDS)
    try:
        with read_only() as session:
            return limit_reading.read_account(session, account, sight, now, limit_name=limit).document(now)
    except Transient:
        return limit_reading.read_account(None, account, sight, now, limit_name=limit).document(now)
    finally:
        dbwait.unbound_waits()


@app.command("history")
def history(
    *,
    account: str | None = AccountName,
    limit: str | None = LimitName,
    tenant: str | None = typer.Option(None, "--tenant", help="Only this tenant's."),
    since: str = typer.Option("1d", "--since", help="How far back: 90m, 2h, 7d."),
    most: int = typer.Option(100, "--most", min=1, max=10_000, help="How many windows."),
    as_json: bool = JsonOption,
) -> None:
    """Calendar windows that are over, newest first: used, peak, what was refused and deferred."""
    begun: datetime = clock.now() - length(since, "--since")
    asked = None if account is None else limit_reading.account_of(account, tenant)
    with read_only() as session:
        windows = limit_reading.history(
            session, account=asked, tenant=tenant, limit_name=limit, since=begun, limit=most
        )
    if as_json:
        print_json({"windows": windows})
        return
    print_table(
        ("account", "limit", "since", "used", "peak", "of", "%", "refused", "deferred", "full in a row"),
        [
            (
                row["account"],
                row["name"],
                row["since"],
                row["used"],
                row["peak"],
                row["limit"],
                row["percentage"],
                row["refused"],
                row["deferred"],
                row["full_in_a_row"] or "-",
            )
            for row in windows
        ],
        empty="no window was closed in this time",
    )


def _print_account(found: Mapping[str, Any]) -> None:
    typer.echo(f"{found['account']}, as of {found['as_of']}\n")
    if not found["live"]:
        typer.echo(f"note: {limit_reading.NOT_LIVE}\n")
    _print_limits(found["limits"], empty="no limit concerns this account", with_account=False)
    for hold in found["holds"]:
        typer.echo(f"\n{hold_line(hold)}")
    print_waiting(found)


def print_waiting(found: Mapping[str, Any]) -> None:
    """Who waits, for what, and when it is tried again."""
    waiting = found["waiting"]
    if waiting is None:
        typer.echo("\nPostgres does not answer: who waits is not known")
        return
    if not waiting["total"]:
        typer.echo("\nnobody waits")
        return
    classes = ", ".join(f"{count} {name}" for name, count in waiting.items() if count and name != "total")
    blocked = f" for {found['blocked_by']}" if found["blocked_by"] else ""
    due = datetime.fromisoformat(found["next_try_at"]) <= clock.now()
    typer.echo(
        f"\n{waiting['total']} wait ({classes}){blocked}; next try {'now' if due else 'at ' + found['next_try_at']}"
    )
    for line in found["queued_operations"]:
        typer.echo(f"  {line}")


def hold_line(hold: Mapping[str, Any]) -> str:
    """What holds operations of a scope, in a sentence."""
    whom = "everything" if hold["from_class"] == "critical" else f"{hold['from_class']} operations and less urgent ones"
    if hold["effect"] == "token":
        whom = "what needs the account's token"
    verb = {"deny": "is denied", "hint": "falls back"}.get(hold["effect"], "waits")
    until = f" until {hold['until']}" if hold["until"] else ""
    return f"{hold['scope']}: {whom} {verb}{until}: {hold['reason']}"


def _print_limits(limits: Sequence[Mapping[str, Any]], *, empty: str, with_account: bool) -> None:
    headings = ["limit", "used", "of", "%", "", "free again in", ""]
    rows = []
    for row in limits:
        line = [
            row["name"],
            figure(row["used"], row["currency"]),
            figure(row["limit"], row["currency"]),
            row["percentage"],
            bar(row["percentage"]),
            duration(float(row["seconds_to_reset"])) if row["resets_at"] else "-",
            f"blocked until {row['blocked_until']}" if row["blocked_until"] else _ACTIONS[row["action"]],
        ]
        rows.append([row["account"], *line] if with_account else line)
    print_table(["account", *headings] if with_account else headings, rows, empty=empty)


def figure(amount: int, currency: str) -> str:
    """Calls, or dollars."""
    return f"{amount:,}" if currency == "calls" else f"${amount / MICRO:,.2f}"


def bar(percentage: float) -> str:
    """`[#####---------------]`."""
    full = min(BAR, int(percentage * BAR / 100))
    return f"[{'#' * full}{'-' * (BAR - full)}]"
