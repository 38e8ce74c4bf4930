"""How `smm-admin alerts` shows alerts, notifications, explanations and figures to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from app.alerts.reading import Page
from app.alerts.recipients import shown
from app.cli.output import print_table
from app.infra.words import ago, duration

_TEXTS = ("summary", "description", "impact", "causes", "recommendation", "actions_taken", "runbook", "dashboard")


def alerts(page: Page, now: datetime) -> None:
    """A table of alerts."""
    print_table(
        ("id", "name", "severity", "state", "since", "service", "team", "what"),
        [
            (
                row["id"],
                row["name"],
                row["severity"],
                _state(row),
                ago(at(row["starts_at"]), now),
                row["service"],
                row["team"],
                _cut(row["summary"], 80),
            )
            for row in page.items
        ],
        empty="no alerts",
    )
    _more(page)


def alert(found: Mapping[str, Any]) -> None:
    """One alert, all of it."""
    typer.echo(f"{found['name']} ({found['severity']}) is {_state(found)}\n")
    _rows(
        ("id", found["id"]),
        ("fingerprint", found["fingerprint"]),
        ("labels", ", ".join(f"{name}={value}" for name, value in sorted(found["labels"].items()))),
        ("since", found["starts_at"]),
        ("fired", found["fired_at"]),
        ("resolved", f"{found['resolved_at']} ({found['resolved_by']})" if found["resolved_at"] else None),
        ("duration", duration(found["duration_seconds"])),
        ("told", found["told_at"]),
        ("acknowledged", _acknowledged(found["acknowledged"])),
        ("verdict", f"{found['verdict']['verdict']} ({found['verdict']['by']})" if found["verdict"] else None),
        *((name.replace("_", " "), _text(found[name])) for name in _TEXTS),
    )
    _held(found["muted"])
    _section("history", _history(found["history"]))
    if found["notifications"]:
        typer.echo("\nnotifications")
        _table(found["notifications"])


def notifications(page: Page, now: datetime) -> None:
    """A table of notifications."""
    _table(page.items, now)
    _more(page)


def _table(rows: Sequence[Mapping[str, Any]], now: datetime | None = None) -> None:
    print_table(
        ("written", "title", "reason", "to", "channel", "state", "tries", "after", "error"),
        [
            (
                row["created_at"] if now is None else ago(at(row["created_at"]), now),
                _cut(row["title"], 50),
                row["reason"],
                row["recipient"],
                row["channel"],
                row["state"],
                row["attempts"],
                duration(row["seconds_from_fact"]),
                _cut(row["error"], 60),
            )
            for row in rows
        ],
        empty="no notifications",
    )


def explained(found: Mapping[str, Any]) -> None:
    """Who is told, when, by what, or why not."""
    typer.echo(f"{found['name']} ({found['severity']}), team {found['team'] or '-'}, at {found['at']}")
    if "why" in found:
        typer.echo(found["why"])
    _held(found["muted"])
    for route in found.get("routes", ()):
        joins = f", joins group {route['group']['joins']}" if route["group"]["joins"] else ""
        typer.echo(f"\nroute {route['route']} to {route['receiver'] or 'nobody'}{joins}")
        typer.echo(f"  first message: {route['first_message_at'] or 'none while it is held back'}")
        _people(route)
        _ladder(route["ladder"])
    for group in found.get("groups", ()):
        typer.echo(f"\ngroup {group['id']} on route {group['route']}: {group['alerts']} alerts")
        typer.echo(f"  next: {group['next']}")
        _people(group)
        _ladder(group["ladder"])
        for row in group["notifications"]:
            error = f": {row['error']}" if row["error"] else ""
            typer.echo(
                f"  {row['at']} {row['reason']} to {shown(row['recipient'], row['channel'])}: {row['state']}{error}"
            )
    _section("history", _history(found.get("history", ())))


def figures(found: Mapping[str, Any]) -> None:
    """The figures, in a table and three sentences."""
    sent = found["notifications"]
    rows = [
        ("start to alert", found["detect_seconds"]),
        ("told to answered", found["answer_seconds"]),
        ("start to end", found["resolve_seconds"]),
        ("fact to delivery", sent["delivery_seconds"]),
    ]
    print_table(
        ("time", "median", "p95", "mean", "count"),
        [
            (name, *(duration(spread[part]) for part in ("median", "p95", "mean")), spread["count"])
            for name, spread in rows
        ],
        empty="",
    )
    typer.echo(
        f"\n{found['episodes']} alerts, {found['pages']} of them told; from {found['since']} to {found['until']}"
    )
    typer.echo(f"delivered: {_percent(sent['delivered_percent'])} ({sent['delivered']}, {sent['failed']} failed)")
    typer.echo(f"false alerts: {_percent(found['false_alert_percent'])} ({found['false_alerts']} of {found['pages']})")
    if found["noisiest"]:
        typer.echo("")
        loud = [(row["name"], row["episodes"], row["notifications"]) for row in found["noisiest"]]
        print_table(("noisiest", "alerts", "notifications"), loud, empty="")
    if found["channels"]:
        typer.echo("")
        ways = [
            (row["channel"], row["delivered"], row["failed"], _percent(row["delivered_percent"]))
            for row in found["channels"]
        ]
        print_table(("channel", "delivered", "failed", "percent"), ways, empty="")


def at(text: str | None) -> datetime | None:
    """A document's time."""
    return None if text is None else datetime.fromisoformat(text)


def _state(row: Mapping[str, Any]) -> str:
    held = ", ".join(mute["by"] for mute in row["muted"]) if row["state"] != "resolved" else ""
    return f"{row['state']}{' (flapping)' if row['flapping'] else ''}{f' ({held})' if held else ''}"


def _acknowledged(taken: Mapping[str, Any] | None) -> str | None:
    return None if taken is None else f"by {taken['by']} at {taken['at']}, until {taken['until'] or 'it is over'}"


def _text(value: str | Sequence[str] | None) -> str | None:
    return value if value is None or isinstance(value, str) else "\n".join(value) or None


def _rows(*pairs: tuple[str, str | None]) -> None:
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        typer.echo(f"{name:<{width}}  {value.replace(chr(10), chr(10) + ' ' * (width + 2))}")


def _held(mutes: Sequence[Mapping[str, Any]]) -> None:
    for mute in mutes:
        until = f" until {mute['until']}" if mute["until"] else ""
        typer.echo(f"held back by {mute['by'].replace('_', ' ')}{until}: {mute['reason']}")


def _people(place: Mapping[str, Any]) -> None:
    for item in place["recipients"]:
        person = f" ({item['person']})" if item["person"] else ""
        typer.echo(f"  tells {item['shown']}{person}{'' if item['enabled'] else ', switched off'}")
    for reason in place["not_told"]:
        typer.echo(f"  not: {reason}")


def _ladder(steps: Sequence[Mapping[str, Any]]) -> None:
    for step in steps:
        names = ", ".join(step["notify"])
        typer.echo(f"  step {step['step']} at {step['at'] or 'a time not known yet'}, unless answered: {names}")


def _history(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        facts = " ".join(f"{name}={value}" for name, value in entry["facts"].items() if value not in (None, ""))
        by = f" by {entry['by']}" if entry["by"] else ""
        yield f"{entry['at']} {entry['event']}{by}{f' ({_cut(facts, 160)})' if facts else ''}"


def _section(title: str, lines: Iterator[str]) -> None:
    listed = list(lines)
    if listed:
        typer.echo(f"\n{title}")
        for line in listed:
            typer.echo(f"  {line}")


def _more(page: Page) -> None:
    if page.next is not None:
        typer.echo(f"\nmore: --cursor {page.next}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g} %"


def _cut(text: str | None, longest: int) -> str | None:
    return text if text is None or len(text) <= longest else f"{text[: longest - 1]}…"
