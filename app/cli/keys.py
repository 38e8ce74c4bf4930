"""`smm-admin keys ...`: API keys for other services: what each may do, until when."""

from __future__ import annotations

import typer

from app import clock
from app.access import keys
from app.access.callers import Role
from app.access.scopes import KINDS
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.infra.db import read_only, unit_of_work
from app.jobs import spec
from app.tokens.providers import platforms
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="API keys for other services: what each may do, until when.")

By = typer.Option(None, "--by", help="Who does this; default: your login.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="keys")


@app.callback()
def _compose() -> None:
    compose()


@app.command("create")
def create(
    name: str = typer.Argument(help="Its name; kept with whatever is done with it."),
    *,
    role: Role = typer.Option(Role.SERVICE, help="service, or admin, who may do everything."),
    scope: list[str] = typer.Option([], "--scope", help=f"What a service may do; several times. {', '.join(KINDS)}."),
    days: float = typer.Option(keys.DAYS, help="How long it is good."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Make a key. It is printed once, and alone on stdout."""
    now = clock.now()
    with unit_of_work() as uow:
        secret, key = keys.create(
            uow,
            name,
            role=role.value,
            scopes=scope,
            days=days,
            by=by or who(),
            now=now,
            platforms=platforms(),
            tasks=[task.name for task in spec.published()],
        )
    if as_json:
        print_json({"key": secret.reveal(), **key.document(now)})
        return
    typer.echo(secret.reveal())
    typer.echo(f"{name} is good until {clock.iso(key.expires_at)}; this key is not shown again", err=True)


@app.command("list")
def list_keys(
    every: bool = typer.Option(False, "--all", help="Also those that were revoked."), as_json: bool = JsonOption
) -> None:
    """The keys, what each may do, and when it was last used."""
    now = clock.now()
    with read_only() as session:
        found = [key for key in keys.list_keys(session) if every or key.revoked_at is None]
    if as_json:
        print_json({"keys": [key.document(now) for key in found]})
        return
    print_table(
        ("name", "role", "state", "expires", "last used", "scopes"),
        [
            (key.name, key.role.value, key.state(now), key.expires_at, key.used_at, " ".join(map(str, key.scopes)))
            for key in found
        ],
        empty="nobody has made a key",
    )


@app.command("revoke")
def revoke(
    name: str = typer.Argument(help="Name of a key."), *, by: str | None = By, as_json: bool = JsonOption
) -> None:
    """Revoke a key: it is refused within five seconds."""
    now = clock.now()
    with unit_of_work() as uow:
        key = keys.revoke(uow, name, by=by or who(), now=now)
    if as_json:
        print_json(key.document(now))
        return
    typer.echo(f"{name} is revoked")
