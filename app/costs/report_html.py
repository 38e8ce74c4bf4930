"""A report as a page that needs nothing else: its style and its drawings are in it, and it runs nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.costs import report_text
from app.costs.report_text import clock_time, money
from app.infra.words import duration

WIDTH, HEIGHT = 600, 120
NARROWEST = 3.0
ROWS = 8

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["money"] = money


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; style-src 'sha256-{_digest(_templates.get_template('report.css').render())}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of such a page: its own style and nothing else."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of the drawing, in a field of WIDTH by HEIGHT."""

    left: float
    top: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Share:
    """A row with a bar of 100."""

    name: str
    cost: float
    percentage: float
    width: float


def html(document: Mapping[str, Any]) -> str:
    """The whole page."""
    latency, month = document["average_latency_ms"], document["projection"]
    return _templates.get_template("report.html.j2").render(
        doc=document,
        title=report_text.title(document),
        bars=list(bars(document)),
        most=max((hour["cost"] for hour in document["by_hour"]), default=0.0),
        shares=list(_shares(document)),
        ideas=document["opportunities"],
        used=_used(document),
        mark=_mark(document),
        month=None if month is None else report_text.projected(month),
        latency=None if latency is None else duration(latency / 1000),
        time=partial(clock_time, zone=document["timezone"]),
        tone=tone,
    )


def tone(percentage: float) -> str:
    """How a used share is coloured."""
    return "bad" if percentage >= 100 else "warn" if percentage >= 80 else "ok"


def bars(document: Mapping[str, Any]) -> Iterator[Bar]:
    """The hours that cost anything, each where it was in the day: one of 23 or 25 hours is as wide as any."""
    since, until = (datetime.fromisoformat(document[key]) for key in ("since", "until"))
    most = max((hour["cost"] for hour in document["by_hour"]), default=0.0)
    for hour in document["by_hour"]:
        if hour["cost"] <= 0:
            continue
        at = datetime.fromisoformat(hour["at"])
        ends = at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        left = (at - since) / (until - since) * WIDTH
        right = (min(ends, until) - since) / (until - since) * WIDTH
        height = round(max(hour["cost"] / most * HEIGHT, 1.0), 1)
        yield Bar(
            left=round(left + 1, 1),
            top=round(HEIGHT - height, 1),
            width=round(max(right - left - 2, NARROWEST), 1),
            height=height,
            title=f"{clock_time(hour['at'], document['timezone'])}: {money(hour['cost'])}, {hour['calls']:,} calls",
        )


def _shares(document: Mapping[str, Any]) -> Iterator[tuple[str, list[Share]]]:
    whole = document["total_cost"]
    models = [(name, row["cost"]) for name, row in document["breakdown_by_model"].items()]
    lists = [("Models", models), ("Skills", list(document["breakdown_by_skill"].items()))]
    for key, heading in (("tenant", "Tenants"), ("department", "Departments"), ("agent", "Agents"), ("user", "Users")):
        lists.append((heading, [(row["name"], row["cost"]) for row in document[f"by_{key}"]]))
    for heading, rows in lists:
        if rows:
            yield heading, [_share(name, cost, whole) for name, cost in rows[:ROWS]]


def _share(name: str, cost: float, whole: float) -> Share:
    percentage = cost / whole * 100 if whole else 0.0
    return Share(name or "(no name)", cost, percentage, round(min(percentage, 100.0), 1))


def _used(document: Mapping[str, Any]) -> float:
    """The width of the used part; where more was spent than the budget has, all of it."""
    return round(min(document["percentage_used"] or 0.0, 100.0) / 100 * WIDTH, 1)


def _mark(document: Mapping[str, Any]) -> float | None:
    """Where the budget ends in what was spent, when that is more."""
    used = document["percentage_used"]
    return None if used is None or used <= 100 else round(WIDTH * 100 / used, 1)
