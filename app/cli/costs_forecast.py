"""`smm-admin costs forecast` and `smm-admin costs anomalies`: where spending goes, and what was unusual."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import typer

from app import clock
from app.cli.alert_words import length
from app.cli.output import JsonOption, print_json, print_table
from app.costs import forecasting
from app.errors import Invalid, Problem
from app.infra.db import read_only


class PeriodName(StrEnum):
    """What is foretold."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def add_to(costs: typer.Typer) -> None:
    """Add the commands to `smm-admin costs`."""
    costs.command("forecast")(forecast)
    costs.command("anomalies")(anomalies)


def forecast(
    budget: str | None = typer.Argument(None, help="A budget; without one, all that is spent."),
    subject: str | None = typer.Argument(None, help="Whose, such as tenant:acme, or acme."),
    *,
    tenant: str | None = typer.Option(None, "--tenant", help="All that this tenant spends; without a budget."),
    period: PeriodName | None = typer.Option(None, "--period", help="day, week or month (default); without a budget."),
    as_json: bool = JsonOption,
) -> None:
    """What the day, week or month will have cost at its end, and when a budget will be used up."""
    if budget is not None and (tenant is not None or period is not None):
        raise Invalid([Problem("--tenant, --period", "are not given with a budget")], subject="forecast")
    now = clock.now()
    with read_only() as session:
        if budget is not None:
            found = forecasting.of_budget(session, budget, subject, now)
        else:
            found = forecasting.of_spending(session, tenant, (period or PeriodName.MONTH).value, now)
    if as_json:
        print_json(found)
        return
    _print_forecast(found)


def _print_forecast(found: Mapping[str, Any]) -> None:
    budget = found.get("budget")
    whose = f"{budget['name']} of {budget['subject']}" if budget else found["tenant"] or "everybody"
    time = f"{found['starts_at']} to {found['ends_at']}, {found['timezone']}"
    typer.echo(f"{whose}: the {found['period']} from {time}\n")
    share = f" of {_usd(budget['amount'])} ({found['percent']} %)" if budget else ""
    projected = f" ({found['projected_percent']} %)" if budget else ""
    lines = [
        ("spent", f"{_usd(found['spent'])}{share}"),
        ("projected", f"{_usd(found['projected'])}{projected}, probably {_usd(found['low'])} to {_usd(found['high'])}"),
        ("at present", f"{_usd(found['per_hour'])} an hour, {_usd(found['last_24_hours'])} in the last 24 hours"),
        ("today", f"{_usd(found['today'])} at its end"),
    ]
    if budget:
        lines.append(("used up", found["exhausted_at"] or "not in this period"))
    for name, value in lines:
        typer.echo(f"{name:<12}{value}")
    if found["rough"]:
        typer.echo("\nnote: less than a week is known; this is a rough guess")


def anomalies(
    *,
    tenant: str | None = typer.Option(None, "--tenant", help="Only this tenant's."),
    model: str | None = typer.Option(None, "--model", help="Only this PROVIDER/MODEL."),
    skill: str | None = typer.Option(None, "--skill", help="Only this skill's."),
    since: str = typer.Option("7d", "--since", help="How far back: 90m, 2h, 7d."),
    most: int = typer.Option(50, "--most", min=1, max=1000, help="How many lines."),
    as_json: bool = JsonOption,
) -> None:
    """Hours that cost far more than usual, newest first, each with its cause."""
    begun = clock.now() - length(since, "--since")
    wanted = {"tenant": tenant, "model": model, "skill": skill, "since": begun}
    with read_only() as session:
        found, _ = forecasting.anomalies(session, wanted, limit=most)
    if as_json:
        print_json({"anomalies": found})
        return
    print_table(
        ("hour", "tenant", "model", "skill", "cost", "usually", "why"),
        [
            (
                row["hour"],
                row["tenant"] or "-",
                row["model"],
                row["skill"] or "-",
                _usd(row["actual"]),
                _usd(row["expected"]),
                row["why"],
            )
            for row in found
        ],
        empty="no hour cost far more than usual in this time",
    )


def _usd(amount: float) -> str:
    return f"${amount:,.2f}"
