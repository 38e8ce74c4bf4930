"""How commands say where tokens stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from app.catalog import did_you_mean
from app.cli.limits import figure
from app.cli.output import print_table
from app.tokens.providers import platforms
from app.tokens.reasons import words


def table(found: Sequence[Mapping[str, Any]], *, now: datetime, empty: str) -> None:
    """Accounts, one a line."""
    print_table(
        ("account", "name", "tenant", "level", "state", "step", "days", "expires", "next", "why"),
        [
            (
                f"{one['platform']}/{one['account']}",
                one["name"] or None,
                one["tenant"],
                one["level"],
                one["state"],
                one["step"] or None,
                one["days_remaining"],
                one["expires_at"],
                _next(one["next_at"], now),
                words(one["reason"]) or None,
            )
            for one in found
        ],
        empty=empty,
    )


def none_found(platform: str | None, *, is_filtered: bool) -> str:
    """What a list without a line says."""
    if not is_filtered:
        return "no accounts yet: smm-admin tokens add"
    if platform is not None and platform not in platforms():
        return f"there are no such accounts: {platform} is no platform{did_you_mean(platform, platforms())}"
    return "there are no such accounts"


def account(found: Mapping[str, Any]) -> None:
    """Everything about one account, a line each."""
    width = max(map(len, found))
    for name, value in found.items():
        for line in _lines(name, value):
            typer.echo(f"{name.replace('_', ' '):<{width}}  {line}")


def brief(found: Mapping[str, Any]) -> str:
    """One account in one line."""
    end = f", until {found['expires_at']}" if found["expires_at"] else ""
    return f"{found['platform']}/{found['account']}: {found['state']}, generation {found['generation']}{end}"


def limit(one: Mapping[str, Any]) -> str:
    """How much of a limit is used."""
    used, most = (figure(one[name], one["currency"]) for name in ("used", "limit"))
    return f"{one['name']} {used}/{most}"


def _next(at: str | None, now: datetime) -> str | None:
    return at if at is None or datetime.fromisoformat(at) > now else "now"


def _lines(name: str, value: Any) -> list[str]:
    match value:
        case None | "" | [] | ():
            return []
        case str() if name == "reason":
            return [words(value)]
        case bool():
            return ["yes" if value else "no"]
        case list() if name == "contacts":
            return [f"{one['channel']}{':' if one.get('to') else ''}{one.get('to', '')}" for one in value]
        case list() if name == "limits":
            return [limit(one) for one in value]
        case list():
            return [" ".join(map(str, value))]
        case Mapping():
            return [", ".join(f"{key} {inner}" for key, inner in value.items() if inner)]
        case _:
            return [str(value)]
