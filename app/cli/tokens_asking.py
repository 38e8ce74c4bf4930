"""`smm-admin tokens refresh`, `check` and `link`: what a platform says of a token, and its owner's way back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import typer

from app import catalog, clock, jobs
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json
from app.config import settings
from app.errors import Conflict
from app.infra.db import read_only, unit_of_work
from app.infra.plain import plain
from app.infra.text import storable
from app.tokens import attending, connect_links, consents, settling, shown, store, sweeping
from app.tokens.attending import Attended, Outcome
from app.tokens.consents import Failure
from app.tokens.given import split
from app.tokens.provider import Known
from app.tokens.reasons import words
from app.tokens.store import Held

Key = typer.Argument(metavar="PLATFORM/ACCOUNT", help="The platform and its id of the account.")
By = typer.Option(None, "--by", help="Who does this; default: your login.")


def add_to(tokens: typer.Typer) -> None:
    """Add the commands to `smm-admin tokens`."""
    tokens.command("refresh")(refresh)
    tokens.command("check")(check)
    tokens.command("link")(link)


def refresh(
    key: str = Key,
    *,
    wait: bool = typer.Option(
        False, "--wait", help="Do it here, and say what came of it; exit code 1 without a new token."
    ),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Refresh a token now, whether or not it is due."""
    account, person = _held(key).account, f"person:{storable(by or who())}"
    if not wait:
        with unit_of_work() as uow:
            job = jobs.submit(
                uow,
                sweeping.ATTEND,
                key=f"token:{account.id}:now",
                caller=who(),
                account_id=str(account.id),
                by=person,
                force=True,
            )
        print_json({"job": job}) if as_json else typer.echo(str(job))
        return
    found = attending.attend(account.id, by=person, force=True)
    if as_json:
        with read_only() as session:
            token = shown.one(session, account.platform, account.external_id, clock.now())
        print_json(plain(found) | {"token": token})
    else:
        why = f": {words(found.reason)}" if found.reason else ""
        typer.echo(f"{account.key}: {found.outcome}{why}{f' ({found.detail})' if found.detail else ''}")
    if not _is_new(found):
        raise typer.Exit(1)


def check(key: str = Key, *, by: str | None = By, as_json: bool = JsonOption) -> None:
    """Ask the platform whether it accepts a token; one that it refuses is refreshed, or its owner told."""
    account = _held(key).account
    found = attending.check(account.id, by=f"person:{storable(by or who())}")
    is_accepted = isinstance(found, Known)
    if as_json:
        print_json({"accepted": is_accepted, **plain(found)})
    elif isinstance(found, Known):
        end = "" if found.expires_at is None else f", until {clock.iso(found.expires_at)}"
        typer.echo(f"{account.key}: accepted{f' as {found.name}' if found.name else ''}{end}")
    else:
        detail = f" ({found.detail})" if found.detail else ""
        typer.echo(f"{account.key}: {found.trouble}: {words(found.reason)}{detail}")
    if not is_accepted:
        raise typer.Exit(1)


def link(key: str = Key, *, as_json: bool = JsonOption) -> None:
    """A link with which the account's owner logs in again."""
    held, now = _held(key), clock.now()
    if held.account.disabled_at is not None:
        raise Conflict(
            f"{held.account.key} is disabled, and its link opens nothing: `smm-admin tokens enable` it first"
        )
    url = connect_links.make(settings(), held.account.id, generation=held.status.generation, now=now)
    life = timedelta(hours=catalog.current().connecting.tokens.link_hours)
    print_json({"url": url, "expires_at": now + life}) if as_json else typer.echo(url)
    for line in _about_link(held, now + life):
        typer.echo(line, err=True)


def _about_link(held: Held, until: datetime) -> Iterator[str]:
    """What who sends the link should know; on stderr, so that stdout is the link."""
    yield f"good until {clock.iso(until)}, or until {held.account.key} is connected"
    way = consents.way_of(held.account)
    if isinstance(way, Failure):
        yield f"nobody can log in with it yet: {way.detail}"
    problem = connect_links.reach_problem(settings())
    if problem:
        yield f"{problem}: {connect_links.REACH}"


def _is_new(found: Attended) -> bool:
    """Is there a new token, whoever got it? One that somebody is still at is none yet."""
    return found.outcome is Outcome.REFRESHED or found.reason == settling.REPLACED


def _held(key: str) -> Held:
    with read_only() as session:
        return store.load(session, *split(key))
