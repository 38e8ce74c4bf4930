"""`smm-admin availability`: uptime, error budgets, and how fast trouble is seen and over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from app import catalog, clock
from app.catalog import STACK
from app.cli.output import JsonOption, print_json, print_table
from app.health.availability import document
from app.infra.db import read_only
from app.infra.words import duration
from app.recovery.checks import CHECKS


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("availability")(show)


def show(
    service: str | None = typer.Argument(None, help="Only this one, in full; `stack` is the whole."),
    *,
    as_json: bool = JsonOption,
) -> None:
    """Uptime over 24 hours, 7, 30 and 90 days (UTC), maintenance excluded, and what is left of the error budgets."""
    for check in CHECKS:
        catalog.use_check(check)
    now, current = clock.now(), catalog.current()
    with read_only() as session:
        if service is None:
            found = document.overview(session, current, now)
        else:
            found = document.of_service(session, current, service, now)
    if as_json:
        print_json(found)
    elif service is None:
        _print_all(found)
    else:
        _print_one(found)


def _print_all(found: Mapping[str, Any]) -> None:
    entries = {STACK: found[STACK], **found["services"]}
    print_table(
        ("service", *found["windows"], "objective", "budget left", "detected after", "recovered after"),
        [
            (
                name,
                *(_percent(uptime["percent"]) for uptime in entry["uptime"].values()),
                _percent(entry["objective"]),
                _left(entry),
                _took(entry["detection_seconds"], "median"),
                _took(entry["recovery_seconds"], "median"),
            )
            for name, entry in entries.items()
        ],
        empty="nothing is watched",
    )
    _print_age(found)


def _print_one(found: Mapping[str, Any]) -> None:
    typer.echo(f"{found['service']}: objective {_percent(found['objective'])}, budget left {_left(found)}\n")
    print_table(
        ("window", "uptime", "known", "down", "degraded", "maintenance", "incidents"),
        [
            (
                window,
                _percent(uptime["percent"]),
                _percent(uptime["coverage_percent"]),
                *(duration(uptime[f"{name}_seconds"]) for name in ("down", "degraded", "maintenance")),
                uptime["incidents"],
            )
            for window, uptime in found["uptime"].items()
        ],
        empty="no windows",
    )
    typer.echo("")
    print_table(
        ("in 30 days", "median", "p95", "mean", "incidents"),
        [
            (what, *(_took(spread, part) for part in ("median", "p95", "mean")), spread["count"] if spread else 0)
            for what, spread in (
                ("time to detect", found["detection_seconds"]),
                ("time to recover", found["recovery_seconds"]),
            )
        ],
        empty="no incidents",
    )
    for burn in found["burning"]:
        typer.echo(f"\nits error budget burns {burn['speed']} since {burn['since']} ({burn['severity']})")
    _print_age(found)


def _left(entry: Mapping[str, Any]) -> str | None:
    budget = entry["budget"]
    if budget is None:
        return None
    sign = "-" if budget["left_seconds"] < 0 else ""
    burning = f", burns {entry['burning'][0]['speed']}" if entry["burning"] else ""
    return f"{budget['left_percent']:g} % ({sign}{duration(abs(budget['left_seconds']))}){burning}"


def _took(spread: Mapping[str, Any] | None, part: str) -> str | None:
    return None if spread is None else duration(spread[part])


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g} %"


def _print_age(found: Mapping[str, Any]) -> None:
    typer.echo(f"\nas of {found['rolled_at']}" if found["rolled_at"] else "\nnothing has been rolled up yet")
