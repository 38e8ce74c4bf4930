"""`smm-admin costs ...`: what LLM calls cost, by whom and on what; single calls, files, reports, forecasts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

import typer

from app import clock
from app.catalog import MICRO, did_you_mean
from app.cli import costs_bills, costs_forecast, costs_reports, costs_set_aside
from app.cli.output import JsonOption, money, print_json, print_table
from app.costs import export, periods, reading, sums
from app.costs.periods import Asked
from app.costs.reading import Question, Wanted
from app.errors import Invalid, Problem
from app.infra.db import read_only
from app.infra.text import storable
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="What LLM calls cost, by whom and on what.")

By = typer.Option("total", "--by", help=f"What a row is of: {', '.join(sums.DIMENSIONS)}.")
Step = typer.Option(None, "--step", help="A row for each `hour` (UTC) or `day`, too.")
Day = typer.Option(None, "--day", help="today, which is the default, yesterday, 2026-11-20.")
Since = typer.Option(None, "--since", help="A date, a time with its offset, or 24h, 7d.")
Until = typer.Option(None, "--until", help="Up to, and without: a date or time. Default: now.")
Zone = typer.Option(None, "--zone", help="Where dates begin, such as Europe/Berlin; default: the tenant's own.")
Tenant = typer.Option(None, "--tenant", help="Of this tenant alone.")
Skill = typer.Option(None, "--skill", help="Of this skill alone.")
Model = typer.Option(None, "--model", help="Of this PROVIDER/MODEL alone.")
Agent = typer.Option(None, "--agent", help="Of this agent alone.")
User = typer.Option(None, "--user", help="Of this user alone.")
Department = typer.Option(None, "--department", help="Of this department alone.")
Outcome = typer.Option(None, "--outcome", help="`ok`, or what went wrong.")
MinCost = typer.Option(None, "--min-cost", min=0, help="Those that cost as many dollars, or more.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="costs")


@app.callback()
def _compose() -> None:
    compose()


costs_reports.add_to(app)
costs_forecast.add_to(app)
costs_bills.add_to(app)
costs_set_aside.add_to(app)


@app.command("sums")
def show_sums(
    *,
    by: str = By,
    day: str | None = Day,
    since: str | None = Since,
    until: str | None = Until,
    zone: str | None = Zone,
    tenant: str | None = Tenant,
    skill: str | None = Skill,
    model: str | None = Model,
    step: str | None = Step,
    most: int = typer.Option(100, "--most", min=1, max=100_000, help="How many rows."),
    as_json: bool = JsonOption,
) -> None:
    """What the calls of a period add up to, the dearest first. Without a period: today."""
    asked = _question(_asked(tenant, zone, day, since, until), by, step, Wanted(tenant, skill, model=model))
    with read_only() as session:
        found = reading.summed(session, asked, limit=most)
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found['since']} to {found['until']}{'' if asked.zone == 'UTC' else f' ({asked.zone})'}\n")
    _print_sums(found)


@app.command("calls")
def list_calls(
    *,
    day: str | None = Day,
    since: str | None = Since,
    until: str | None = Until,
    zone: str | None = Zone,
    tenant: str | None = Tenant,
    skill: str | None = Skill,
    agent: str | None = Agent,
    user: str | None = User,
    department: str | None = Department,
    model: str | None = Model,
    outcome: str | None = Outcome,
    min_cost: float | None = MinCost,
    most: int = typer.Option(50, "--most", min=1, max=10_000, help="How many calls."),
    before: UUID | None = typer.Option(None, "--before", help="Go on below this id."),
    as_json: bool = JsonOption,
) -> None:
    """Single calls, newest first. Without a period: today's."""
    start, end = periods.period(_asked(tenant, zone, day, since, until), clock.now())
    wanted = _wanted(Wanted(tenant, skill, agent, user, department, model, outcome), min_cost)
    with read_only() as session:
        found, following = reading.list_calls(session, start, end, wanted, limit=most, before=before)
    if as_json:
        print_json({"calls": found, "next": None if following is None else str(following)})
        return
    _print_calls(found)
    if following is not None:
        typer.echo(f"\nthere may be more: --before {following}")


@app.command("export")
def export_file(
    *,
    what: str = typer.Option("calls", "--what", help=f"What is written: {', '.join(export.WHATS)}."),
    form: str = typer.Option("csv", "--format", help="csv or ndjson."),
    to: Path | None = typer.Option(None, "--to", help="Into this file; else, or by `-`, to standard output."),
    by: str = By,
    day: str | None = Day,
    since: str | None = Since,
    until: str | None = Until,
    zone: str | None = Zone,
    tenant: str | None = Tenant,
    skill: str | None = Skill,
    agent: str | None = Agent,
    user: str | None = User,
    department: str | None = Department,
    model: str | None = Model,
    outcome: str | None = Outcome,
    min_cost: float | None = MinCost,
    step: str | None = Step,
) -> None:
    """Write calls, sums or FOCUS rows as CSV, or as one JSON object a line."""
    _one_of("--what", what, export.WHATS)
    _one_of("--format", form, export.FORMATS)
    wanted = _wanted(Wanted(tenant, skill, agent, user, department, model, outcome), min_cost)
    asked = _question(_asked(tenant, zone, day, since, until), by, step, wanted)
    pages, names = export.pages(what, asked, wanted)  # type: ignore[arg-type]  # it is one of them
    text = export.written(pages, names, form)  # type: ignore[arg-type]
    if to is None or str(to) == "-":
        _write(text, sys.stdout)
        return
    try:
        with to.open("w", encoding="utf-8", newline="") as file:
            _write(text, file)
    except OSError as error:
        raise Invalid([Problem("--to", f"cannot be written: {error.strerror}")], subject="export") from None


def _write(text: Any, file: TextIO) -> None:
    for part in text:
        file.write(part)


def _asked(tenant: str | None, zone: str | None, day: str | None, since: str | None, until: str | None) -> Asked:
    where = periods.zone_named(zone) if zone else periods.zone_of(tenant)
    return Asked(where, day, since, until)


def _question(asked: Asked, by: str, step: str | None, wanted: Wanted) -> Question:
    _one_of("--by", by, sums.DIMENSIONS)
    if step is not None:
        _one_of("--step", step, sums.STEPS)
    since, until = periods.period(asked, clock.now())
    given = _wanted(wanted, None)
    return Question(by, since, until, asked.zone, given.tenant, given.skill, given.model, step)  # type: ignore[arg-type]


def _wanted(given: Wanted, min_cost: float | None) -> Wanted:
    """What was typed may hold bytes that are no text."""
    clean = {name: storable(value) for name, value in given.given().items() if isinstance(value, str)}
    return replace(given, **clean, min_cost=None if min_cost is None else round(min_cost * MICRO))


def _one_of(option: str, typed: str, known: Sequence[str]) -> None:
    if typed not in known:
        problem = Problem(option, f"must be one of {', '.join(known)}{did_you_mean(typed, known)}")
        raise Invalid([problem], subject="arguments")


def _print_sums(found: Mapping[str, Any]) -> None:
    by, with_step = found["by"], found["step"] is not None
    rows = [
        (
            *([row["start_at"]] if with_step else []),
            "all" if by == "total" else row["name"] or "-",
            money(row["cost"]),
            f"{row['percentage']:g}",
            *(f"{row[name]:,}" for name in ("calls", "failed", "unpriced", "input_tokens", "output_tokens")),
        )
        for row in found["rows"]
    ]
    headings = (by, "cost", "%", "calls", "failed", "unpriced", "input tokens", "output tokens")
    print_table(("since", *headings) if with_step else headings, rows, empty="no call was recorded in this time")
    if len(rows) > 1:
        total = found["total"]
        typer.echo(f"\nin total {money(total['cost'])} for {total['calls']:,} calls")
    if found["more"]:
        typer.echo("there are more rows: --most")


def _print_calls(calls: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        ("at", "tenant", "skill", "agent", "user", "model", "tokens in/out", "cost", "outcome", "id"),
        [
            (
                call["at"],
                *(call[name] or "-" for name in ("tenant", "skill", "agent", "user")),
                f"{call['provider']}/{call['model']}",
                f"{call['input_tokens']:,}/{call['output_tokens']:,}",
                "not known" if call["cost"] is None else money(call["cost"]),
                call["outcome"],
                call["id"],
            )
            for call in calls
        ],
        empty="no such call was recorded in this time",
    )
