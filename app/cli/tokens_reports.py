"""`smm-admin tokens report|success|history`: a day's report, how many refreshes succeed, what happened to a token."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import typer

from app import clock
from app.cli.output import JsonOption, print_json, print_table
from app.infra.db import read_only
from app.infra.text import storable
from app.tokens import history as histories
from app.tokens import report as reports
from app.tokens import report_text
from app.tokens import success as successes
from app.tokens.given import split
from app.tokens.reasons import words

Tenant = typer.Option(None, "--tenant", help="Of this tenant alone.")


def add_to(tokens: typer.Typer) -> None:
    """Add the commands to `smm-admin tokens`."""
    for command in (report, success, history):
        tokens.command()(command)


def report(
    day: str | None = typer.Argument(None, help="Such as 2026-11-20; also yesterday and today (default)."),
    *,
    tenant: str | None = Tenant,
    as_json: bool = JsonOption,
) -> None:
    """How tokens stood when they were looked at that day, and what was done about them."""
    now, tenant = clock.now(), storable(tenant) if tenant else None
    with read_only() as session:
        found = reports.report(session, reports.day_of(day, tenant, now), tenant, now=now)
    if as_json:
        print_json(found)
        return
    typer.echo(report_text.text(found), nl=False)


def success(
    *,
    platform: str | None = typer.Option(None, "--platform", help="On this platform alone."),
    tenant: str | None = Tenant,
    days: int | None = typer.Option(
        None, "--days", min=1, max=successes.LONGEST_DAYS, help="Today is one; default: [tokens] success_days."
    ),
    as_json: bool = JsonOption,
) -> None:
    """How many refreshes succeeded, by platform, and why the others did not."""
    tenant, platform = storable(tenant) if tenant else None, storable(platform) if platform else None
    with read_only() as session:
        found = successes.document(session, now=clock.now(), days=days, tenant=tenant, platform=platform)
    if as_json:
        print_json(found)
        return
    span = f"{found['days']} day{'' if found['days'] == 1 else 's'}"
    if not found["tries"]:
        typer.echo(f"nothing was refreshed in {span}")
        return
    typer.echo(f"{_share(found)} in {span}; it should be {found['target'] * 100:g} %")
    headings = ("platform", "tries", "succeeded", "share")
    rows = [(one["platform"], one["tries"], one["succeeded"], _percent(one)) for one in found["by_platform"]]
    print_table(headings, rows, empty="")
    if found["by_reason"]:
        reasons = [(words(one["reason"]) or None, one["outcome"], one["tries"]) for one in found["by_reason"]]
        typer.echo()
        print_table(("why not", "outcome", "tries"), reasons, empty="")


def history(
    account: str = typer.Argument(metavar="PLATFORM/ACCOUNT", help="The platform and its id of the account."),
    *,
    most: int = typer.Option(50, "--most", min=1, max=histories.MOST, help="How many."),
    before: UUID | None = typer.Option(None, "--before", help="Below this id."),
    as_json: bool = JsonOption,
) -> None:
    """What happened to an account's token, the newest first; also of an account that was removed."""
    with read_only() as session:
        known = histories.find(session, *split(account))
        page = histories.history(session, known.account_id, limit=most, before=before)
    if as_json:
        print_json(histories.document(known, page))
        return
    if known.removed is not None:
        why = f": {known.removed['reason']}" if known.removed["reason"] else ""
        typer.echo(f"{known.key} was removed at {known.removed['at']} by {known.removed['by']}{why}\n")
    rows = [
        (one["at"], one["kind"], one["by"], words(one["reason"]) or None, histories.said(one)) for one in page.items
    ]
    print_table(("at", "what", "by", "why", "facts"), rows, empty=f"nothing has happened to {account}")
    if page.following is not None:
        typer.echo(f"\nthere is more: --before {page.following}")


def _share(found: dict[str, Any]) -> str:
    return f"{found['succeeded']:,} of {found['tries']:,} refreshes succeeded ({_percent(found)})"


def _percent(found: dict[str, Any]) -> str:
    return "-" if found["share"] is None else f"{found['share'] * 100:g} %"
