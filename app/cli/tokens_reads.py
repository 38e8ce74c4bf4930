"""`smm-admin tokens reads`: who asked for an account's token, for what, and what was answered."""

from __future__ import annotations

import typer

from app.cli.output import JsonOption, print_json, print_table
from app.errors import Invalid, Problem
from app.infra.db import read_only
from app.tokens import reads as reading


def add_to(tokens: typer.Typer) -> None:
    """Add the command to `smm-admin tokens`."""
    tokens.command("reads")(reads)


def reads(
    account: str = typer.Argument(help="PLATFORM/ACCOUNT."),
    *,
    by: str | None = typer.Option(None, "--by", help="Of this key only."),
    most: int = typer.Option(50, "--most", min=1, max=reading.MOST, help="How many."),
    as_json: bool = JsonOption,
) -> None:
    """Who asked for an account's token, newest first."""
    platform, slash, external_id = account.partition("/")
    if not slash or not external_id:
        raise Invalid([Problem("account", "must be PLATFORM/ACCOUNT")], subject="account")
    with read_only() as session:
        found = reading.list_reads(session, platform, external_id, by=by, limit=most)
    if as_json:
        print_json({"reads": found})
        return
    print_table(
        ("at", "by", "outcome", "purpose", "address", "generation"),
        [
            (one["at"], one["by"], one["outcome"], one["purpose"], one["address"] or "-", one["generation"])
            for one in found
        ],
        empty=f"nobody has asked for the token of {account}",
    )
