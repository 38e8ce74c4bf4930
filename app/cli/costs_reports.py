"""`smm-admin costs report`: the end-of-day summary of a tenant, or of all."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from app import clock
from app.costs import report_html, report_text, reports
from app.errors import Invalid, Problem
from app.infra.db import unit_of_work


class Format(StrEnum):
    """How a report is printed."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def add_to(costs: typer.Typer) -> None:
    """Add the command to `smm-admin costs`."""
    costs.command("report")(report)


def report(
    day: str | None = typer.Argument(None, help="Such as 2026-11-20; also today and yesterday (default)."),
    *,
    tenant: str | None = typer.Option(None, "--tenant", help="Whose; without it all tenants together."),
    form: Format = typer.Option(Format.TEXT, "--format", help="text, json or html."),
    output: Path | None = typer.Option(None, "--output", help="A file to write to."),
    fresh: bool = typer.Option(False, "--fresh", help="Make it anew, with calls that came late."),
) -> None:
    """What a day cost, on what, of which budget, and what could cost less."""
    now, tenant = clock.now(), tenant or None
    with unit_of_work() as uow:
        document = reports.show(uow, reports.day_of(day, tenant, now), tenant, fresh=fresh, now=now)
    printed = _printed(document, form)
    if output is None:
        typer.echo(printed, nl=False)
        return
    try:
        output.write_text(printed, encoding="utf-8")
    except OSError as error:
        raise Invalid([Problem("--output", f"cannot be written: {error.strerror}")], subject="report") from None
    typer.echo(f"{report_text.title(document)}: written to {output}")


def _printed(document: dict[str, Any], form: Format) -> str:
    match form:
        case Format.TEXT:
            return report_text.text(document)
        case Format.HTML:
            return report_html.html(document)
        case Format.JSON:
            return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
