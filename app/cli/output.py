"""How commands speak: a table for people, JSON for machines, errors on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import typer

from app import clock
from app.infra.plain import plain

JsonOption = typer.Option(False, "--json", help="Print JSON for machines.")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Columns as wide as their widest cell, no colour, so that it can be piped; `empty` when there are no rows."""
    lines = [[_cell(value) for value in row] for row in rows]
    if not lines:
        typer.echo(empty)
        return
    widths = [max(len(line[place]) for line in [list(headings), *lines]) for place in range(len(headings))]
    for line in [[heading.upper() for heading in headings], *lines]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def money(dollars: float) -> str:
    """`$1,234.50`; of less than a dollar all digits that are kept."""
    if dollars >= 1:
        return f"${dollars:,.2f}"
    whole, _, rest = f"{dollars:.6f}".partition(".")
    return f"${whole}.{rest[:2]}{rest[2:].rstrip('0')}"


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return clock.iso(value)
        case _:
            return str(value)
