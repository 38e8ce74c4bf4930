"""`smm-admin budgets ...`: how much of which budget is spent, whether more may be, and what people change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from app import clock
from app.catalog import MICRO, Budget
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.costs import budget_reading, budget_store, budgets, verdict
from app.costs.budgets import What
from app.errors import Invalid, Problem
from app.infra.db import read_only, unit_of_work
from app.limits.budgets import Who
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="How much of which budget is spent, and whether more may be.")

Name = typer.Argument(help="A budget.")
Amount = typer.Argument(help="Dollars.")
Subject = typer.Option("", "--subject", help="Whose, such as tenant:acme; default: everybody's.")
Until = typer.Option(None, "--until", help="A time with its offset, or `period`: the end of the present one.")
Why = typer.Option(..., "--reason", help="Why; kept in the audit.")
By = typer.Option(None, "--by", help="Who does this; default: your login.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="budgets")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_budgets(
    most: int = typer.Option(3, "--most", min=1, max=200, help="Subjects of each."), as_json: bool = JsonOption
) -> None:
    """Every budget, and who has used most of it."""
    with read_only() as session:
        found = budget_reading.listed(session, clock.now(), most=most)
    if as_json:
        print_json(found)
        return
    _print(found["budgets"])


@app.command("show")
def show(
    name: str = Name,
    *,
    subject: str | None = typer.Option(None, "--subject", help="Whose, such as tenant:acme."),
    most: int = typer.Option(20, "--most", min=1, max=1000, help="Subjects, where none is named."),
    as_json: bool = JsonOption,
) -> None:
    """One budget: its ladder, what people changed, and who has used most of it."""
    with read_only() as session:
        found = budget_reading.show(session, name, clock.now(), subject=subject, most=most)
    if as_json:
        print_json(found)
        return
    _print([found])
    steps = ", ".join(f"{step['percent']:g} % {' and '.join(step['actions'])}" for step in found["thresholds"])
    typer.echo(f"\nladder: {steps}")
    for change in found["changes"]:
        typer.echo(_changed(change))


@app.command("set")
def set_budget(
    name: str = Name,
    amount: float = Amount,
    *,
    reason: str = Why,
    subject: str = Subject,
    until: str | None = Until,
    definition: str | None = typer.Option(
        None, "--define", help='A budget that the file has not, as JSON: {"scope": "tenant", "period": "day"}.'
    ),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Set another amount, for everybody or for one; or, with --define, make a budget."""
    if definition is None:
        _change("set", name, amount, reason=reason, subject=subject, until=until, by=by, as_json=as_json)
        return
    with unit_of_work() as uow:
        given = {**_object(definition), "amount": amount}
        made = budgets.define(uow, name, given, by=_person(by), reason=reason)
    if as_json:
        print_json({"name": name, **made.model_dump(mode="json", by_alias=True, exclude_unset=True)})
    else:
        typer.echo(f"{name}: ${made.amount:g} a {made.period} {_for_whom(made)}")


@app.command("raise")
def raise_budget(
    name: str = Name,
    amount: float = Amount,
    *,
    reason: str = Why,
    subject: str = Subject,
    until: str | None = Until,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Raise a budget to an amount: what waited for it goes on at once, where there is room now."""
    _change("raise", name, amount, reason=reason, subject=subject, until=until, by=by, as_json=as_json)


@app.command("lower")
def lower_budget(
    name: str = Name,
    amount: float = Amount,
    *,
    reason: str = Why,
    subject: str = Subject,
    until: str | None = Until,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Lower a budget to an amount."""
    _change("lower", name, amount, reason=reason, subject=subject, until=until, by=by, as_json=as_json)


@app.command("remove")
def remove(
    name: str = Name,
    *,
    reason: str = Why,
    subject: str = Subject,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Let the file's own amount count again; a budget that people made is gone."""
    with unit_of_work() as uow:
        ended = budgets.remove(uow, name, by=_person(by), reason=reason, subject=subject)
    if as_json:
        print_json({"name": name, "removed": [{"subject": one.subject, **one.document()} for one in ended]})
        return
    typer.echo(f"{name}: what people had set is set no longer")


@app.command("history")
def history(
    name: str | None = typer.Argument(None, help="A budget; default: all."),
    *,
    most: int = typer.Option(50, "--most", min=1, max=1000, help="How many."),
    as_json: bool = JsonOption,
) -> None:
    """Who changed what and why, newest first."""
    with read_only() as session:
        found = budget_store.history(session, name=name, limit=most)
    if as_json:
        print_json({"changes": found})
        return
    print_table(
        ("at", "budget", "subject", "what", "from", "to", "by", "why"),
        [
            (
                one["at"],
                one["name"],
                one["subject"] or "all",
                one["what"],
                _amount(one["before"]),
                _amount(one["after"]),
                one["by"],
                one["reason"],
            )
            for one in found
        ],
        empty=f"nobody has changed {name or 'a budget'}",
    )


@app.command("verdict")
def show_verdict(
    *,
    tenant: str = typer.Option("", "--tenant"),
    department: str = typer.Option("", "--department"),
    user: str = typer.Option("", "--user"),
    agent: str = typer.Option("", "--agent"),
    skill: str = typer.Option("", "--skill"),
    interaction: str = typer.Option("", "--interaction", help="Of the agent."),
    urgency: str = typer.Option("normal", "--class", help="critical, interactive, normal or background."),
    estimate: float = typer.Option(0.0, "--estimate", min=0, max=1_000_000, help="Dollars it may cost."),
    as_json: bool = JsonOption,
) -> None:
    """May money be spent now? Nothing is reserved."""
    asked = Who(tenant, department, user, agent, skill, interaction)
    found = verdict.of(asked, verdict.rank_of(urgency), round(estimate * MICRO)).document()
    if as_json:
        print_json(found)
        return
    until = f" until {found['until']}" if found["until"] else ""
    typer.echo(f"{found['decision']}{until}: {found['detail']}")
    for one in found["cheaper"]:
        typer.echo(f"{one['budget']}: {one['hint'] or 'take a cheaper model'}")
    print_table(
        ("budget", "subject", "period", "spent", "of", "%", "ends"),
        [
            (
                one["budget"],
                one["subject"],
                one["period"],
                _dollars(one["spent"]),
                _dollars(one["amount"]),
                one["percent"],
                one["ends_at"],
            )
            for one in found["budgets"]
        ],
        empty="no budget concerns this",
    )


def _change(
    what: What,
    name: str,
    amount: float,
    *,
    reason: str,
    subject: str,
    until: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    with unit_of_work() as uow:
        change = budgets.change_amount(
            uow,
            name,
            amount,
            by=_person(by),
            reason=reason,
            subject=subject,
            until=budgets.moment_of(until),
            what=what,
        )
    if as_json:
        print_json({"name": name, "subject": subject, **change.document()})
        return
    lasts = "" if change.until is None else f" until {clock.iso(change.until)}"
    typer.echo(f"{name}{f' of {subject}' if subject else ''}: {_dollars(amount)}{lasts}")


def _for_whom(budget: Budget) -> str:
    if budget.scope == "global":
        return "for all"
    if budget.only:
        return f"for {budget.scope} {budget.only}"
    return f"for each {'interaction' if budget.period == 'interaction' else budget.scope}"


def _object(written: str) -> dict[str, Any]:
    try:
        found = json.loads(written)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Invalid([Problem("--define", 'must be a JSON object such as {"scope": "tenant", "period": "day"}')])
    return found


def _person(by: str | None) -> str:
    return f"person:{by or who()}"


def _print(found: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        ("budget", "period", "subject", "spent", "of", "%", "ends", ""),
        [row for budget in found for row in _lines(budget)],
        empty="there are no budgets",
    )


def _lines(budget: Mapping[str, Any]) -> list[tuple[object, ...]]:
    head = (budget["name"], budget["period"])
    if not budget["subjects"]:
        return [(*head, "-", _dollars(0), _dollars(budget["amount"]), 0, "-", "")]
    return [
        (
            *head,
            one["subject"],
            _dollars(one["spent"]),
            _dollars(one["amount"]),
            one["percent"],
            one["ends_at"],
            "throttled" if one["subject"] in budget["throttled"] else "",
        )
        for one in budget["subjects"]
    ]


def _changed(change: Mapping[str, Any]) -> str:
    what = "made" if change["definition"] is not None and change["amount"] is None else _dollars(change["amount"])
    until = f" until {change['until']}" if change["until"] else ""
    return f"{change['subject'] or 'all'}: {what}{until}, by {change['set_by']}: {change['reason']}"


def _amount(side: Mapping[str, Any] | None) -> str:
    if side is None:
        return "-"
    amount = side["amount"] if side["amount"] is not None else (side["definition"] or {}).get("amount")
    return "-" if amount is None else _dollars(amount)


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}"
