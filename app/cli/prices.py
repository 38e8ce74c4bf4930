"""`smm-admin prices ...`: what models cost, since when, and what the package's newer prices would change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer

from app import clock
from app.catalog import MICRO
from app.cli.alert_words import length
from app.cli.jobs import who
from app.cli.output import JsonOption, money, print_json, print_table
from app.costs import price_import, price_reading, price_setting, repricing
from app.costs.price_import import Change, Kind
from app.costs.price_setting import Wanted
from app.costs.pricing import Rates
from app.errors import Invalid, Problem
from app.infra.db import read_only, unit_of_work
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="What models cost, in dollars for a million tokens.")

Model = typer.Argument(help="PROVIDER/MODEL, as calls name it.")
Tenant = typer.Option("", "--tenant", help="Whose price; without it everybody's.")
At = typer.Option(None, "--at", help="As of this time, such as 2026-05-01T12:00Z; default: now.")
By = typer.Option(None, "--by", help="Who does this; default: your login.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="prices")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_prices(
    search: list[str] = typer.Argument(None, help="Words of PROVIDER/MODEL."),
    *,
    provider: str | None = typer.Option(None, "--provider", help="Of this provider only."),
    tenant: str | None = typer.Option(None, "--tenant", help="A tenant's own prices only."),
    at: str | None = At,
    limit: int = typer.Option(50, min=1, max=10_000, help="How many."),
    as_json: bool = JsonOption,
) -> None:
    """Prices in force."""
    with read_only() as session:
        found = price_reading.listed(
            session, _moment(at, "--at"), provider=provider, search=" ".join(search or ()), tenant=tenant
        )
    if as_json:
        print_json({"prices": [price.document() for price in found[:limit]], "total": len(found)})
        return
    _print_prices([price.document() for price in found[:limit]], empty="no price is known")
    if len(found) > limit:
        typer.echo(f"\n{len(found) - limit} more; name a part of the model, or --limit")


@app.command("show")
def show(model: str = Model, *, tenant: str = Tenant, at: str | None = At, as_json: bool = JsonOption) -> None:
    """By which price a call of a model is charged, and why it is that one."""
    found = _one(model, tenant, _moment(at, "--at"))
    if as_json:
        print_json(found)
        return
    price = found["price"]
    if price is None:
        typer.echo(f"{model} had no price then")
        return
    _print_prices([price], empty="")
    for tier in price["tiers"]:
        typer.echo(f"from {tier['from_tokens']:,} input tokens on: {_rates(tier)}")
    typer.echo(f"{price['source']}, by {price['set_by']}{': ' if price['note'] else ''}{price['note']}")


@app.command("history")
def history(model: str = Model, *, tenant: str = Tenant, as_json: bool = JsonOption) -> None:
    """Every version of a model's price, the one that goes first before the others."""
    found = _one(model, tenant, clock.now())
    if as_json:
        print_json(found)
        return
    _print_prices(found["versions"], empty="")


@app.command("diff")
def diff(*, as_json: bool = JsonOption) -> None:
    """What an import of the package's prices would change."""
    with read_only() as session:
        changes = price_import.difference(session, clock.now())
    if as_json:
        print_json({"changes": [change.document() for change in changes]})
        return
    _print_changes(changes)


@app.command("import")
def bring_in(
    *,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Bring in the package's prices: shows what changes, asks, and does it. What people have set stays."""
    if not yes:
        with read_only() as session:
            changes = price_import.difference(session, clock.now())
        _print_changes(changes)
        if all(change.kind is Kind.KEPT for change in changes) or not typer.confirm("Bring them in?", err=True):
            return
    with unit_of_work() as uow:
        changes = price_import.bring_in(uow, clock.now(), by=by or who())
    if as_json:
        print_json({"changes": [change.document() for change in changes]})
        return
    typer.echo(_counted(changes))


@app.command("set")
def set_price(
    model: str = Model,
    *,
    input_: str = typer.Option(..., "--input", help="Dollars for a million tokens that are sent."),
    output: str = typer.Option(..., "--output", help="Dollars for a million tokens of the answer."),
    cached: str | None = typer.Option(None, "--cached", help="For those read from a cache; default: as input."),
    cache_write: str | None = typer.Option(None, "--cache-write", help="For those written to one; default: as input."),
    tenant: str = Tenant,
    begins: str | None = typer.Option(None, "--from", help="From when on; default: now, or always if it is the first."),
    ends: str | None = typer.Option(None, "--to", help="Until when."),
    note: str = typer.Option("", "--note", help="Why; kept with the price."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Set a price by hand, for everybody or for a tenant. No import overwrites it."""
    provider, name = price_setting.named(model)
    wanted = Wanted(
        provider=provider,
        model=name,
        rates=Rates(
            price_setting.rate(input_, "input"),
            price_setting.rate(cached, "cached"),
            price_setting.rate(cache_write, "cache_write"),
            price_setting.rate(output, "output"),
        ),
        by=by or who(),
        tenant=tenant,
        begins=None if begins is None else _moment(begins, "from"),
        ends=None if ends is None else _moment(ends, "to"),
        note=note,
    )
    with unit_of_work() as uow:
        price = price_setting.put(uow, wanted, clock.now())
    if as_json:
        print_json(price.document())
        return
    _print_prices([price.document()], empty="")


@app.command("end")
def end(model: str = Model, *, tenant: str = Tenant, by: str | None = By, as_json: bool = JsonOption) -> None:
    """Let a price that was set by hand count no longer; an import brings the package's back."""
    provider, name = price_setting.named(model)
    with unit_of_work() as uow:
        price = price_setting.end(uow, provider, name, clock.now(), by=by or who(), tenant=tenant)
    if as_json:
        print_json(price.document())
        return
    typer.echo(f"the price of {price.name} ended")


@app.command("reprice")
def reprice(
    *,
    model: str = typer.Option(..., "--model", help="PROVIDER/MODEL, as calls name it."),
    since: str = typer.Option("31d", "--since", help="How far back: 90m, 2h, 7d."),
    as_json: bool = JsonOption,
) -> None:
    """Price a model's calls whose cost is unknown, by today's table. Known costs are never touched."""
    provider, name = price_setting.named(model)
    done = repricing.reprice(provider, name, clock.now() - length(since, "--since"))
    if as_json:
        print_json({"calls": done.calls, "cost": done.micro / MICRO})
        return
    what = "1 call was" if done.calls == 1 else f"{done.calls:,} calls were"
    typer.echo(f"{what} priced: {money(done.micro / MICRO)}")


def _one(model: str, tenant: str, at: datetime) -> dict[str, Any]:
    provider, name = price_setting.named(model)
    with read_only() as session:
        return price_reading.one(session, provider, name, at, tenant=tenant)


def _moment(typed: str | None, field: str) -> datetime:
    if typed is None:
        return clock.now()
    try:
        found = datetime.fromisoformat(typed)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid([Problem(field, "is no time, such as 2026-05-01T12:00Z")], subject="arguments") from None


def _print_prices(prices: Sequence[dict[str, Any]], *, empty: str) -> None:
    print_table(
        ("model", "input", "cached", "cache write", "output", "from", "to", "tenant", "source"),
        [
            (
                f"{price['provider']}/{price['model']}",
                *(_figure(price[kind]) for kind in ("input", "cached", "cache_write", "output")),
                price["effective_from"],
                price["effective_to"],
                price["tenant"] or "-",
                price["source"],
            )
            for price in prices
        ],
        empty=empty,
    )


def _print_changes(changes: Sequence[Change]) -> None:
    rows = [change.document() for change in changes]
    print_table(
        ("change", "model", "before", "after"),
        [
            (row["change"], f"{row['provider']}/{row['model']}", _rates(row["before"]), _rates(row["after"]))
            for row in rows
        ],
        empty="the table has the package's prices",
    )
    if rows:
        typer.echo(f"\n{_counted(changes)}")


def _counted(changes: Sequence[Change]) -> str:
    counts = {kind: sum(change.kind is kind for change in changes) for kind in Kind}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing to bring in"


def _rates(rates: dict[str, Any] | None) -> str:
    if rates is None:
        return "-"
    return " / ".join(_figure(rates[kind]) for kind in ("input", "cached", "cache_write", "output"))


def _figure(dollars: float | None) -> str:
    return "-" if dollars is None else f"{dollars:.6f}".rstrip("0").rstrip(".")
