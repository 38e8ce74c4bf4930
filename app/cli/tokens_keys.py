"""`smm-admin tokens rewrap`, `keys` and `keygen`: the keys that tokens are sealed with."""

from __future__ import annotations

import typer

from app import clock, jobs
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.config import settings
from app.infra.db import read_only, unit_of_work
from app.infra.text import storable
from app.tokens import keyring, keys_in_use, rewrapping

By = typer.Option(None, "--by", help="Who does this; default: your login.")


def add_to(tokens: typer.Typer) -> None:
    """Add the commands to `smm-admin tokens`."""
    tokens.command("rewrap")(rewrap)
    tokens.command("keys")(show_keys)
    tokens.command("keygen")(keygen)


def rewrap(
    *,
    wait: bool = typer.Option(False, "--wait", help="Do it here, and name what does not open."),
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Seal all tokens anew under the newest key; one that does not open is left as it is."""
    person = f"person:{storable(by or who())}"
    if not wait:
        with unit_of_work() as uow:
            job = jobs.submit(uow, rewrapping.REWRAP, key=rewrapping.REWRAP, caller=who(), by=person)
        print_json({"job": job}) if as_json else typer.echo(str(job))
        return
    done = rewrapping.run(by=person)
    if as_json:
        print_json(done.document())
    else:
        for line in rewrapping.words(done.stuck):
            typer.echo(line, err=True)
        left = f", {done.stuck_count} left as they are" if done.stuck_count else ""
        typer.echo(f"{done.accounts} sealed anew{left}")
    if done.stuck_count:
        raise typer.Exit(1)


def show_keys(
    *,
    verify: bool = typer.Option(False, "--verify", help="Open every token, and name each that does not."),
    as_json: bool = JsonOption,
) -> None:
    """Keys at hand and in use: how much is sealed with each, and which may go."""
    keys = keyring.at_hand()
    with read_only() as session:
        uses = keys_in_use.read(session, keys, clock.now())
    stuck = rewrapping.find_unreadable() if verify and keys is not None else []
    if as_json:
        document = {"keys": [use.document() for use in uses]}
        print_json(document | ({"unreadable": [one.document() for one in stuck]} if verify else {}))
    else:
        print_table(
            ("key", "at hand", "seals", "tokens", "tokens before", "logins", "may go"),
            [
                (use.key_id, use.at_hand, use.is_primary, use.present, use.previous, use.logins, use.may_go)
                for use in uses
            ],
            empty="there are no keys, and nothing is sealed",
        )
        for line in rewrapping.words(stuck):
            typer.echo(line, err=True)
    if keys is None and uses:
        typer.echo(keyring.missing(settings(), [use.key_id for use in uses]), err=True)
    if stuck or not all(use.at_hand for use in uses):
        raise typer.Exit(1)


def keygen(
    *,
    key_id: str | None = typer.Option(None, "--id", help="What the key is called; default: by the day."),
    write: bool = typer.Option(False, "--write", help="Put it first into the file of keys: it seals from now on."),
) -> None:
    """Make a key: an entry for SMM_TOKEN_KEYS, or with --write for the file of keys."""
    if not write:
        typer.echo(keys_in_use.fresh(clock.now(), key_id=key_id))
        return
    file, made = keys_in_use.write_first(settings(), clock.now(), key_id)
    typer.echo(f"{file}: new tokens are sealed with {made} from now on; then: smm-admin tokens rewrap")
