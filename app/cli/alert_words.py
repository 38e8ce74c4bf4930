"""What is typed after commands about alerts, incidents and runs: beginnings of ids, times, lengths of time, labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import Invalid, NotFound, Problem

Kind = Literal["alert", "silence", "override", "incident", "run"]
_TABLES: dict[Kind, str] = {
    "alert": "alert_episodes",
    "silence": "alert_silences",
    "override": "on_call_overrides",
    "incident": "incidents",
    "run": "recovery_runs",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_HEX = re.compile(r"[0-9a-f]{4,32}")
_LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=(.*)", re.S)


def identifier(session: Session, kind: Kind, typed: str) -> UUID:
    """The id that begins so. Raises Invalid for what begins no id or more than one, NotFound."""
    digits = typed.strip().lower().replace("-", "")
    if not _HEX.fullmatch(digits):
        message = "is no id, and no beginning of one with at least four digits: 019f0e6c-7d55"
        raise Invalid([Problem("ID", message)], subject=kind)
    bounds = {"low": UUID(digits.ljust(32, "0")), "high": UUID(digits.ljust(32, "f"))}
    query = text(f"SELECT id FROM {_TABLES[kind]} WHERE id BETWEEN :low AND :high ORDER BY id LIMIT 2")
    found = session.execute(query, bounds).scalars().all()
    if not found:
        raise NotFound(f"no {kind} has an id that begins with {typed}")
    if len(found) > 1:
        raise Invalid([Problem("ID", "begins more than one: give more of it")], subject=kind)
    identified: UUID = found[0]
    return identified


def moment(typed: str, option: str) -> datetime:
    """ISO 8601; without an offset it is UTC. Raises Invalid."""
    try:
        found = datetime.fromisoformat(typed)
    except ValueError:
        problem = Problem(option, "is no ISO 8601 time, such as 2026-11-21T09:00:00Z")
        raise Invalid([problem], subject="arguments") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def length(typed: str, option: str) -> timedelta:
    """`90m`, `2h`, `1d12h`. Raises Invalid."""
    if not _LENGTH.fullmatch(typed):
        raise Invalid([Problem(option, "is no length of time, such as 90m, 2h, 1d12h")], subject="arguments")
    seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(typed))
    if not 0 < seconds <= 366 * 86_400:
        raise Invalid([Problem(option, "must be more than nothing and at most 366d")], subject="arguments")
    return timedelta(seconds=seconds)


def labels(typed: Iterable[str], option: str) -> dict[str, str]:
    """`severity=critical` each. Raises Invalid with every wrong one."""
    found: dict[str, str] = {}
    problems = []
    for word in typed:
        parts = _LABEL.fullmatch(word)
        if parts is None:
            problems.append(Problem(option, f"must be NAME=VALUE: {word[:60]!r}"))
        else:
            found[parts[1]] = parts[2]
    if problems:
        raise Invalid(problems, subject="arguments")
    return found
