"""`smm-admin costs reconcile`, `bills` and `bill import`: what was captured beside what providers bill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from app import catalog, clock
from app.cli.output import JsonOption, print_json, print_table
from app.costs import bill_import, bill_store, bills
from app.costs.bill_judging import State
from app.costs.bill_store import Bill
from app.errors import Invalid, Problem, SmmError
from app.infra.db import read_only, unit_of_work

Name = typer.Option(None, "--provider", help="Of this provider alone.")
Since = typer.Option(None, "--since", help="From this day (UTC) on, such as 2026-11-20.")

bill = typer.Typer(no_args_is_help=True, help="Bills that come as files.")


def add_to(costs: typer.Typer) -> None:
    """Add the commands to `smm-admin costs`."""
    costs.command("reconcile")(reconcile)
    costs.command("bills")(list_bills)
    costs.add_typer(bill, name="bill")


def reconcile(*, provider: str | None = Name, since: str | None = Since, as_json: bool = JsonOption) -> None:
    """Read the bills of the last days now, and compare them with what was captured."""
    now = clock.now()
    first = None if since is None else bills.day_written(since, now)
    names = [bills.configured(provider).name] if provider else list(catalog.current().billing.enabled)
    found: list[Bill] = []
    failed: dict[str, str] = {}
    for name in names:
        try:
            found += bills.reconcile(name, now, since=first)
        except SmmError as error:
            failed[name] = str(error)
    _print(
        found, as_json, "there is nothing to compare" if names else "the catalogue names no [providers.NAME]", failed
    )
    if failed:
        raise typer.Exit(1)


def list_bills(
    *,
    provider: str | None = Name,
    state: State | None = typer.Option(None, "--state", help="settling, agrees, differs or unknown."),
    since: str | None = Since,
    most: int = typer.Option(60, "--most", min=1, max=10_000, help="How many days."),
    as_json: bool = JsonOption,
) -> None:
    """Days as they were compared last, newest first."""
    first = None if since is None else bills.day_written(since, clock.now())
    name = bills.configured(provider).name if provider else None
    with read_only() as session:
        found = bill_store.listed(
            session, provider=name, state=None if state is None else state.value, since=first, limit=most
        )
    _print(found, as_json, "no such day was compared" if provider or state or since else "no day was compared yet", {})


@bill.command("import")
def bring_in(
    file: Path = typer.Argument(help="CSV with the columns date, amount and perhaps currency."),
    *,
    provider: str = typer.Option(..., "--provider", help="Whose bill it is."),
    as_json: bool = JsonOption,
) -> None:
    """Take days' bills from a file: all of it, or nothing. They count instead of what is read."""
    now = clock.now()
    account = bills.configured(provider)
    try:
        with file.open("rb") as stream:
            raw = stream.read(bill_import.MOST_BYTES + 1)
    except OSError as error:
        raise Invalid([Problem("FILE", f"cannot be read: {error.strerror}")], subject="bill") from None
    with unit_of_work() as uow:
        found = bills.bring_in(uow, account, bill_import.read(raw, account, now), now)
    _print(found, as_json, "", {})


def _print(found: Sequence[Bill], as_json: bool, empty: str, failed: Mapping[str, str]) -> None:
    if as_json:
        print_json({"bills": [one.document() for one in found], **({"failed": failed} if failed else {})})
        return
    if found or not failed:
        headings = ("day", "provider", "captured", "billed", "%", "tokens", "of", "state", "why")
        print_table(headings, [_row(one.document()) for one in found], empty=empty)
    for name, why in failed.items():
        typer.echo(f"{name}: {why}", err=True)


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    ours, theirs = (_total(one[tokens]) for tokens in ("captured_tokens", "billed_tokens"))
    share = one["percent"]
    return (
        one["day"],
        one["provider"],
        f"${one['captured']:,.2f}",
        None if one["billed"] is None else f"${one['billed']:,.2f}",
        None if share is None else f"{share:+.1f}",
        ours,
        theirs,
        one["state"],
        one["why"] or None,
    )


def _total(tokens: Mapping[str, int] | None) -> str | None:
    return None if tokens is None else f"{tokens['input'] + tokens['output']:,}"
