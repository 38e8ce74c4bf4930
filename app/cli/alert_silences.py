"""The commands of `smm-admin alerts` about silences."""

from __future__ import annotations

import typer

from app import clock
from app.alerts import reading, silences
from app.alerts.matchers import joined, parse_all
from app.alerts.muting import SilenceState
from app.cli.alert_words import identifier, length, moment
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.infra.db import read_only, unit_of_work


def silence(
    matcher: list[str] = typer.Argument(help="Such as severity=warning or name=~'a|b'; all must match."),
    *,
    lasting: str = typer.Option("2h", "--for", help="How long: 90m, 2h, 1d12h."),
    begin: str | None = typer.Option(None, "--from", help="ISO 8601; without an offset it is UTC. Default: now."),
    comment: str = typer.Option(..., help="Why."),
    by: str | None = typer.Option(None, "--by", help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """Let nobody be told of what matches, for a while."""
    now = clock.now()
    starts_at = now if begin is None else moment(begin, "--from")
    with unit_of_work() as uow:
        made = silences.create(
            uow,
            matchers=[found for word in matcher for found in parse_all(word)],
            starts_at=starts_at,
            ends_at=starts_at + length(lasting, "--for"),
            created_by=by or who(),
            comment=comment,
            now=now,
        )
    if as_json:
        print_json(reading.silence_shown(made, now))
        return
    typer.echo(f"{made.id}: {joined(made.matchers)} is silenced until {clock.iso(made.ends_at)}")


def list_silences(
    *, expired: bool = typer.Option(False, "--expired", help="Also those that are over."), as_json: bool = JsonOption
) -> None:
    """Silences: active ones by their end, then pending ones."""
    now = clock.now()
    with read_only() as session:
        found = silences.list_silences(session, now)
    shown = [item for item in found if expired or item.state(now) is not SilenceState.EXPIRED]
    if as_json:
        print_json({"silences": [reading.silence_shown(item, now) for item in shown]})
        return
    print_table(
        ("id", "matchers", "state", "from", "until", "by", "comment"),
        [
            (
                item.id,
                joined(item.matchers),
                str(item.state(now)),
                item.starts_at,
                item.ends_at,
                item.created_by,
                item.comment,
            )
            for item in shown
        ],
        empty="no silences",
    )


def expire(
    silence_id: str = typer.Argument(metavar="ID", help="Or the beginning of one that no other has."),
    by: str | None = typer.Option(None, "--by", help="Who does this; default: your login."),
    as_json: bool = JsonOption,
) -> None:
    """End a silence now."""
    now = clock.now()
    with unit_of_work() as uow:
        ended = silences.expire(uow, identifier(uow.session, "silence", silence_id), by=by or who(), now=now)
    print_json(reading.silence_shown(ended, now)) if as_json else typer.echo(f"{ended.id} has ended")
