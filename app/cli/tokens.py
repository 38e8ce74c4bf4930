"""`smm-admin tokens ...`: accounts and their tokens: added, imported, refreshed, and where each of them stands."""

from __future__ import annotations

from typing import Any

import typer

from app import clock
from app.admission import account_limits
from app.cli import token_input, token_words, tokens_asking, tokens_keys, tokens_reads, tokens_reports
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json
from app.infra.db import read_only, unit_of_work
from app.infra.text import storable
from app.tokens import accounts, apps_state, importing, listing, shown
from app.tokens.given import split
from app.tokens.providers import platforms
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="Accounts and their tokens. No command takes or shows a token itself.")

Key = typer.Argument(metavar="PLATFORM/ACCOUNT", help="The platform and its id of the account.")
Name = typer.Option(None, "--name", help="What people call it.")
App = typer.Option(None, "--app", help="A name of [apps.NAME]; default: the one of its platform's name.")
Contacts = typer.Option(
    None, "--contact", help="CHANNEL:ADDRESS, how its owner is told; several times. Default: the tenant's."
)
From = typer.Option(
    None, "--from", help="A file, or - for stdin: the access token, and the refresh token on a second line."
)
ExpiresAt = typer.Option(None, "--expires-at", help="When it ends, such as 2027-01-20T09:00:00Z.")
ExpiresIn = typer.Option(None, "--expires-in", help="Or so many seconds from --issued-at, else from now.")
IssuedAt = typer.Option(None, "--issued-at", help="When the platform gave it.")
RefreshExpiresAt = typer.Option(None, "--refresh-expires-at", help="When the refresh token ends.")
Scopes = typer.Option(None, "--scopes", help="What its owner allowed, separated by blanks.")
By = typer.Option(None, "--by", help="Who does this; default: your login.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="tokens")


@app.callback()
def _compose() -> None:
    compose()


@app.command("list")
def list_accounts(
    *,
    tenant: str | None = typer.Option(None, "--tenant", help="Of this tenant only."),
    platform: str | None = typer.Option(None, "--platform", help="On this platform only."),
    level: str | None = typer.Option(None, "--level", help="critical, expiring_soon, healthy, unconnected, disabled."),
    search: str | None = typer.Option(None, "--search", help="A part of the id or the name."),
    limit: int = typer.Option(100, min=1, max=listing.MOST, help="How many."),
    as_json: bool = JsonOption,
) -> None:
    """Accounts, those that need attention first."""
    now, platform = clock.now(), None if platform is None else storable(platform)
    with read_only() as session:
        page = listing.page(session, now=now, tenant=tenant, platform=platform, level=level, search=search, limit=limit)
        apps = apps_state.read_all(session)
    found = [shown.document(one.account, one.status, apps, now) for one in page.items]
    if as_json:
        print_json({"tokens": found, "as_of": page.now, "next": page.following})
        return
    is_filtered = any(one is not None for one in (tenant, platform, level, search))
    token_words.table(found, now=now, empty=token_words.none_found(platform, is_filtered=is_filtered))
    if page.following is not None:
        typer.echo("\nthere are more: name a level, or --limit")


@app.command("show")
def show(key: str = Key, *, as_json: bool = JsonOption) -> None:
    """Everything about one account, never its token; also how much of its platform's limits is used."""
    platform, external_id = split(key)
    with read_only() as session:
        found = shown.one(session, platform, external_id, clock.now())
        found["limits"] = account_limits.of(session, platform, external_id, found["tenant"], clock.now())
    print_json(found) if as_json else token_words.account(found)


@app.command("add")
def add(
    key: str = Key,
    *,
    tenant: str = typer.Option(..., "--tenant", help="Whose it is."),
    name: str | None = Name,
    app_name: str | None = App,
    contacts: list[str] | None = Contacts,
    ask: bool = typer.Option(False, "--ask", help="Ask for its token; without it or --from, its owner logs in."),
    source: str | None = From,
    expires_at: str | None = ExpiresAt,
    expires_in: str | None = ExpiresIn,
    issued_at: str | None = IssuedAt,
    refresh_expires_at: str | None = RefreshExpiresAt,
    scopes: str | None = Scopes,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Add an account, with its token or without."""
    platform, external_id = split(key)
    given: dict[str, Any] = {
        "tenant": tenant,
        "platform": platform,
        "account": external_id,
        "name": name,
        "app": app_name,
        "contacts": contacts or None,
        **_times(expires_at, expires_in, issued_at, refresh_expires_at, scopes),
    }
    if ask or source is not None:
        given |= token_input.tokens(source, has_refresh=_has_refresh(platform))
    with unit_of_work() as uow:
        accounts.add(uow, given, by=_person(by), now=clock.now())
    _say(platform, external_id, as_json)


@app.command("set")
def set_token(
    key: str = Key,
    *,
    source: str | None = From,
    expires_at: str | None = ExpiresAt,
    expires_in: str | None = ExpiresIn,
    issued_at: str | None = IssuedAt,
    refresh_expires_at: str | None = RefreshExpiresAt,
    scopes: str | None = Scopes,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Give an account another token: asked for, or read from stdin or a file."""
    platform, external_id = split(key)
    with read_only() as session:
        shown.one(session, platform, external_id, clock.now())  # nobody types a token for nothing
    given = token_input.tokens(source, has_refresh=_has_refresh(platform))
    given |= _times(expires_at, expires_in, issued_at, refresh_expires_at, scopes)
    with unit_of_work() as uow:
        accounts.set_token(uow, platform, external_id, given, by=_person(by), now=clock.now())
    _say(platform, external_id, as_json)


@app.command("import")
def bring_in(
    file: str = typer.Argument(help="CSV, JSON or NDJSON; - for stdin."),
    *,
    file_format: str | None = typer.Option(None, "--format", help="csv, json or ndjson; default: by the file's name."),
    replace: bool = typer.Option(False, "--replace", help="Put other tokens in the place of stored ones."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be done, and do nothing."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Import accounts from a file: good rows are kept, bad ones told by row. Again, it changes nothing."""
    kind = token_input.content_type(file, file_format)
    raw = token_input.read(file)
    done = importing.bring_in(raw, content_type=kind, by=_person(by), replace=replace, dry_run=dry_run)
    if as_json:
        print_json(done.document())
    else:
        _print_import(done)
    if done.rejected_count:
        raise typer.Exit(1)


@app.command("change")
def change(
    key: str = Key,
    *,
    name: str | None = Name,
    app_name: str | None = App,
    contacts: list[str] | None = Contacts,
    no_contacts: bool = typer.Option(False, "--no-contacts", help="Tell the tenant's contacts instead."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Change an account's name, app or contacts. Contacts that are given take the place of all others."""
    platform, external_id = split(key)
    wanted: dict[str, Any] = {"name": name, "app": app_name, "contacts": [] if no_contacts else contacts or None}
    given = {field: value for field, value in wanted.items() if value is not None}
    with unit_of_work() as uow:
        accounts.change(uow, platform, external_id, given, by=_person(by), now=clock.now())
    _say(platform, external_id, as_json)


@app.command("disable")
def disable(
    key: str = Key,
    *,
    reason: str = typer.Option(..., "--reason", help="Why; kept on record."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Leave an account alone: not refreshed, its owner not told, its operations not paused."""
    platform, external_id = split(key)
    with unit_of_work() as uow:
        accounts.disable(uow, platform, external_id, reason=reason, by=_person(by), now=clock.now())
    _say(platform, external_id, as_json)


@app.command("enable")
def enable(key: str = Key, *, by: str | None = By, as_json: bool = JsonOption) -> None:
    """Look after an account again."""
    platform, external_id = split(key)
    with unit_of_work() as uow:
        accounts.enable(uow, platform, external_id, by=_person(by), now=clock.now())
    _say(platform, external_id, as_json)


@app.command("remove")
def remove(
    key: str = Key,
    *,
    reason: str = typer.Option("", "--reason", help="Why; kept on record."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Forget an account and its tokens; what happened to it stays on record."""
    platform, external_id = split(key)
    if not yes and not typer.confirm(f"Forget {key} and its tokens?", err=True):
        return
    with unit_of_work() as uow:
        gone = accounts.remove(uow, platform, external_id, reason=reason, by=_person(by), now=clock.now())
    print_json({"removed": gone.key}) if as_json else typer.echo(f"{gone.key} is removed")


tokens_asking.add_to(app)
tokens_keys.add_to(app)
tokens_reads.add_to(app)
tokens_reports.add_to(app)


def _times(*given: str | None) -> dict[str, str]:
    names = ("expires_at", "expires_in", "issued_at", "refresh_expires_at", "scopes")
    return {name: value for name, value in zip(names, given, strict=True) if value is not None}


def _has_refresh(platform: str) -> bool:
    provider = platforms().get(platform)
    return provider is not None and not provider.TRAITS.one_token


def _say(platform: str, external_id: str, as_json: bool) -> None:
    with read_only() as session:
        found = shown.one(session, platform, external_id, clock.now())
    print_json(found) if as_json else typer.echo(token_words.brief(found))


def _print_import(done: importing.Imported) -> None:
    for one in sorted(done.rejected, key=lambda row: int(row["row"])):
        said = "; ".join(f"{error['field']} {error['message']}" for error in one["errors"])
        typer.echo(f"row {one['row']}: {said}", err=True)
    counts = [f"{count} {name}" for name, count in done.counts.items() if count]
    counts += [f"{done.rejected_count} rejected"] if done.rejected_count else []
    typer.echo(f"{'would be: ' if done.dry_run else ''}{', '.join(counts) or 'nothing to do'}")


def _person(by: str | None) -> str:
    return f"person:{storable(by or who())}"
