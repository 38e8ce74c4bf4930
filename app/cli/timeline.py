"""`smm-admin timeline`: what happened, newest first."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import typer

from app import clock, signals
from app.cli.output import JsonOption, print_json, print_table
from app.errors import Invalid, Problem
from app.infra.db import read_only

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("timeline")(show)


def show(
    subject: str | None = typer.Option(None, help="Only this subject."),
    kind: str | None = typer.Option(None, help="Only this kind; may end in `*`, such as `health.*`."),
    since: str | None = typer.Option(None, help="ISO 8601; without an offset it is UTC."),
    limit: int = typer.Option(50, min=1, max=1000),
    as_json: bool = JsonOption,
) -> None:
    """What happened, newest first: services that fell and rose, jobs that died."""
    with read_only() as session:
        found = signals.timeline(session, subject=subject, kind=kind, since=_moment(since), limit=limit)
    if as_json:
        print_json({"signals": [signal.as_dict() for signal in found]})
        return
    rows = [(clock.iso(item.at), item.kind, item.subject, _facts(item.facts)) for item in found]
    print_table(("at", "kind", "subject", "facts"), rows, empty="nothing happened")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            [Problem("--since", "is no ISO 8601 time, such as 2026-11-21T09:00:00Z")], subject="filter"
        ) from None
    return max(moment if moment.tzinfo else moment.replace(tzinfo=UTC), _EARLIEST)


def _facts(facts: dict[str, object]) -> str:
    text = " ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in facts.items() if value is not None
    )
    return text if len(text) <= 120 else f"{text[:119]}…"
