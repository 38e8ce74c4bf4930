"""A report as plain text: for a terminal, a mail, a messenger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.infra.words import duration

BAR = 30
FEW = 5
"""Rows of a list that says who or what was dearest."""

Document = Mapping[str, Any]


def text(document: Document) -> str:
    """All of it that people read, at most a hundred columns wide but for the names."""
    parts = [_head(document), *_lists(document), _opportunities(document)]
    return "\n\n".join(part for part in parts if part) + "\n"


def brief(document: Document) -> str:
    """A few sentences: what was spent, on what, and the best idea."""
    said = [f"{title(document)}: {spent(document)}."]
    models = document["breakdown_by_model"]
    if models:
        listed = ", ".join(f"{name} {money(row['cost'])}" for name, row in list(models.items())[:3])
        said.append(f"Most of it: {listed}.")
    if (month := document["projection"]) is not None:
        said.append(f"{projected(month)}.")
    if document["optimization_opportunities"]:
        said.append(f"{document['optimization_opportunities'][0]}.")
    return " ".join(said)


def title(document: Document) -> str:
    """`Costs of acme on 2026-11-20`."""
    whose = "all tenants" if document["tenant"] is None else document["tenant"]
    return f"Costs of {whose} on {document['date']}"


def money(dollars: float) -> str:
    """`$41.00`; below a cent `$0.0042`."""
    return f"${dollars:,.4f}" if 0 < abs(dollars) < 0.01 else f"${dollars:,.2f}"


def spent(document: Document) -> str:
    """The total, of its budget where there is one."""
    total = money(document["total_cost"])
    if document["budget"] is None:
        return total
    return f"{total} of {money(document['budget'])} ({document['percentage_used']:g} %)"


def projected(month: Document) -> str:
    """What the month will have cost, with the band, or that it is over."""
    if month["projected"] == month["spent"]:
        return f"The month has cost {money(month['spent'])}"
    rough = ", roughly" if month["is_rough"] else ""
    band = f"{money(month['low'])} to {money(month['high'])}{rough}"
    return f"The month has cost {money(month['spent'])} and will end at {money(month['projected'])} ({band})"


def clock_time(iso: str, zone: str) -> str:
    """The time of day in the report's zone."""
    return datetime.fromisoformat(iso).astimezone(ZoneInfo(zone)).strftime("%H:%M")


def _head(document: Document) -> str:
    lines = [f"{title(document)} ({document['timezone']})"]
    lines.append("=" * len(lines[0]))
    if not document["is_over"]:
        lines.append(f"so far, as of {clock_time(document['made_at'], document['timezone'])}")
    lines.append(f"Spent      {spent(document)}")
    if document["percentage_used"] is not None:
        lines.append(f"           {bar(document['percentage_used'])}")
    lines.append(f"Calls      {calls(document)}")
    tokens = document["tokens"]
    lines.append(f"Tokens     {tokens['input']:,} in ({tokens['cached']:,} of them cached), {tokens['output']:,} out")
    if (month := document["projection"]) is not None:
        lines.append(f"Month      {projected(month)}")
    return "\n".join(lines)


def calls(document: Document) -> str:
    """How many, how many of them failed or have no known cost, and how long one took."""
    said = [f"{document['calls']:,}", f"{document['failed_percentage']:g} % failed"]
    if document["unpriced_calls"]:
        said.append(f"{document['unpriced_calls']:,} of unknown cost")
    if document["average_latency_ms"] is not None:
        said.append(f"{duration(document['average_latency_ms'] / 1000)} each")
    return ", ".join(said)


def bar(percentage: float) -> str:
    """`[######------------]`."""
    full = max(0, min(BAR, int(percentage * BAR / 100)))
    return f"[{'#' * full}{'-' * (BAR - full)}]"


def _lists(document: Document) -> Iterator[str]:
    whole = document["total_cost"]
    models = document["breakdown_by_model"]
    yield _table(
        "Models",
        [
            (name, f"{row['calls']:,} calls", money(row["cost"]), _percent(row["cost"], whole))
            for name, row in models.items()
        ],
    )
    skills = document["breakdown_by_skill"].items()
    yield _table("Skills", [(name, money(cost), _percent(cost, whole)) for name, cost in skills])
    for key, heading in (("tenant", "Tenants"), ("department", "Departments"), ("agent", "Agents"), ("user", "Users")):
        rows = document[f"by_{key}"][:FEW]
        yield _table(
            heading,
            [
                (row["name"], f"{row['calls']:,} calls", money(row["cost"]), _percent(row["cost"], whole))
                for row in rows
            ],
        )
    yield _table(
        "Budgets",
        [
            (
                item["name"],
                item["period"],
                f"{money(item['spent'])} of {money(item['amount'])}",
                f"{item['percentage']:g} %",
            )
            for item in document["budgets"]
        ],
    )
    zone = document["timezone"]
    dear = document["high_cost_operations"]
    pairs = [
        (f"{_named(row['skill'])} with {row['model']}", money(row["cost"]), _percent(row["cost"], whole))
        for row in dear["skill_models"]
    ]
    yield _table("Dearest work", pairs[:FEW])
    single = [
        (f"{clock_time(row['at'], zone)} {_named(row['skill'])} with {row['model']}", money(row["cost"]), row["id"])
        for row in dear["calls"]
    ]
    yield _table("Dearest calls", single[:FEW])
    yield _table(
        "Unusual hours",
        [
            (
                f"{clock_time(row['hour'], zone)} {_named(row['skill'])} with {row['model']}",
                f"{money(row['actual'])} instead of {money(row['expected'])}",
                row["cause"],
            )
            for row in document["anomalies"]
        ],
    )


def _opportunities(document: Document) -> str:
    texts: Sequence[str] = document["optimization_opportunities"]
    if not texts:
        return ""
    return "\n".join(["What could cost less", *(f"  - {item}" for item in texts)])


def _table(heading: str, rows: Iterable[Sequence[str]]) -> str:
    """Its heading and columns, the first to the left and figures to the right; nothing where there are no rows."""
    lines = [[_named(row[0]), *row[1:]] for row in rows]
    if not lines:
        return ""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    shown = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join([heading, *(f"  {line}" for line in shown)])


def _named(name: str) -> str:
    return name or "(no name)"


def _percent(part: float, whole: float) -> str:
    return f"{part / whole * 100:.1f} %" if whole else "0.0 %"
