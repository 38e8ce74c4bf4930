"""`smm-admin status`: what every service is, as last stored; exit code 0 only when the stack is healthy."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import typer
from sqlalchemy.orm import Session

from app import catalog, clock
from app.cli.output import JsonOption, money, print_json, print_table
from app.config import settings
from app.costs import today
from app.errors import Transient
from app.health.document import ENTRY_KEYS
from app.infra import dbwait
from app.infra.db import read_only, transient_errors
from app.infra.words import ago, duration
from app.recovery import status
from app.recovery.checks import CHECKS

ANSWER_SECONDS = 3.0


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("status")(show)


def show(as_json: bool = JsonOption) -> None:
    """Every service as last stored; the watchdog's view while Postgres is away. Exit code 1 unless healthy."""
    for check in CHECKS:
        catalog.use_check(check)
    document = _document()
    if as_json:
        print_json(document)
    else:
        _print(document, clock.now())
    if document["status"] != "healthy":
        raise typer.Exit(1)


def _document() -> dict[str, Any]:
    dbwait.bound_waits(ANSWER_SECONDS)
    try:
        with read_only() as session:
            now = clock.now()
            return status.document(session, now) | _costs(session, now)
    except Transient:
        return status.fallback(settings(), clock.now())
    finally:
        dbwait.unbound_waits()


def _costs(session: Session, now: datetime) -> dict[str, Any]:
    """Not known where they take too long: they are the least of what is asked here."""
    try:
        with transient_errors():
            return today.figures(session, now)
    except Transient:
        return today.UNKNOWN


def _print(document: dict[str, Any], now: datetime) -> None:
    typer.echo(f"{document['status']}, as of {document['timestamp']}\n")
    rows = [
        (
            name,
            entry["status"] + (" (flapping)" if entry["flapping"] else ""),
            ago(_moment(entry["since"]), now),
            ago(_moment(entry["last_checked"]), now),
            duration(None if entry["latency_ms"] is None else entry["latency_ms"] / 1000),
            _what(entry),
        )
        for name, entry in document["services"].items()
    ]
    print_table(
        ("service", "status", "since", "checked", "latency", "what"), rows, empty="no services in the catalogue"
    )
    _print_limits(document["rate_limits"])
    if document["cost_today"] is not None:
        limit = document["cost_limit"]
        typer.echo(f"\nspent today: {money(document['cost_today'])}{'' if limit is None else f' of {money(limit)}'}")
    for alert in document.get("alerts", ()):
        typer.echo(f"\n{alert['severity']}: {alert['service']} is {alert['issue']}\n  {alert['recommendation']}")
    if document.get("action_taken", "none") != "none":
        for line in document["action_taken"].split(" | "):
            typer.echo(f"\ndone about {line}")
    for mode in document.get("modes", ()):
        typer.echo(f"\nmode {mode['name']} is on since {mode['since']}: {mode['reason']}")
    for notice in document["notices"]:
        typer.echo(f"\nnote: {notice}")


def _print_limits(limits: dict[str, dict[str, Any]]) -> None:
    """Of each limit of which anything is used, who has used most of it."""
    used = [(name, given) for name, given in limits.items() if given["used"]]
    if not used:
        return
    typer.echo("")
    rows = [
        (name, f"{given['used']:g}", f"{given['limit']:g}", given["percentage"], given["account"], given["full"] or "-")
        for name, given in used
    ]
    print_table(("limit", "used", "of", "%", "fullest account", "accounts at 100 %"), rows, empty="")


def _what(entry: dict[str, Any]) -> str:
    """What is wrong; else what is near it; else what was read."""
    said = [entry["issue"], *entry["warnings"]]
    if entry["maintenance"]:
        said.insert(0, f"in maintenance: {entry['maintenance']}")
    told = [text for text in said if text]
    if told:
        return "; ".join(told)
    readings = {name: value for name, value in entry.items() if name not in ENTRY_KEYS}
    plain = [f"{name} {value}" for name, value in readings.items() if isinstance(value, int | float | str)]
    return ", ".join(plain[:3])


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
