"""What the page about costs shows, made of sums and of the API's documents. Pure: takes `now`, returns plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from app import clock
from app.costs.sums import Dimension, Row, Sums, dollars
from app.infra.words import duration
from app.web.console.charts import SpendingChart, share, spending
from app.web.console.limits_view import HoldRow, LimitRow, pause_row
from app.web.console.moments import Moment, moment
from app.web.overview import Waiting

Span = Literal["today", "7d", "30d"]

SHOWN = 8
"""Names of each table; the rest is one line."""

TABLES: tuple[Dimension, ...] = ("model", "skill", "tenant", "user")
_SPANS: tuple[tuple[Span, str], ...] = (("today", "Today"), ("7d", "7 days"), ("30d", "30 days"))
_TITLES = {"model": "By model", "skill": "By skill", "tenant": "By tenant", "user": "By user"}
_CAUSES = {"volume": "more calls", "tokens": "more tokens a call", "price": "dearer tokens", "mix": "other models"}
LATE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read. `steps` are the sums of each hour or day, `tables` the dearest names of each dimension.

    `holds`: pauses that budgets set. `is_ever`: a call was recorded at some time.
    """

    span: Span
    tenant: str | None
    zone: str
    since: datetime
    until: datetime
    total: Sums
    steps: Sequence[Row]
    tables: Mapping[Dimension, Sequence[Row]]
    budgets: Sequence[Mapping[str, Any]]
    holds: Sequence[Mapping[str, Any]]
    anomalies: Sequence[Mapping[str, Any]]
    unknown: Sequence[tuple[str, datetime]]
    reports: Sequence[Mapping[str, Any]]
    yesterday: date
    is_ever: bool


@dataclass(frozen=True, slots=True)
class Link:
    """`is_here`: it leads to this page."""

    text: str
    href: str
    is_here: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure, and what is said below it."""

    name: str
    value: str
    said: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One name of a dimension; `width` is of a bar of 100."""

    name: str
    href: str | None
    cost: str
    percent: str
    width: float
    said: str
    note: str


@dataclass(frozen=True, slots=True)
class ShareTable:
    """The dearest names of a dimension."""

    id: str
    title: str
    rows: tuple[ShareRow, ...]
    rest: str


@dataclass(frozen=True, slots=True)
class BudgetCard:
    """One budget with the subjects that have used most of it."""

    name: str
    said: str
    rows: tuple[LimitRow, ...]


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    """An hour that cost far more than usual."""

    what: str
    hour: Moment
    cost: str
    usual: str
    cause: str
    why: str


@dataclass(frozen=True, slots=True)
class CostsPage:
    """All of the page. `is_ever` false: nothing was ever recorded."""

    tenant: str | None
    all_href: str
    span: str
    spans: tuple[Link, ...]
    zone: str
    notices: tuple[str, ...]
    tiles: tuple[Tile, ...]
    chart: SpendingChart | None
    budgets: tuple[BudgetCard, ...]
    holds: tuple[HoldRow, ...]
    tables: tuple[ShareTable, ...]
    anomalies: tuple[AnomalyRow, ...]
    unknown: tuple[tuple[str, Moment], ...]
    reports: tuple[Link, ...]
    is_ever: bool
    command: str


def costs_page(facts: Facts, foreseen: Mapping[str, Any] | None, waiting: Waiting | None, now: datetime) -> CostsPage:
    """Everything the template needs. `foreseen` None: no forecast is to be had; `waiting` None: Redis is away."""
    span = dict(_SPANS)[facts.span]
    return CostsPage(
        tenant=facts.tenant,
        all_href=_href(facts.span, None),
        span=span.lower() if facts.span == "today" else f"the last {span}",
        spans=tuple(Link(text, _href(name, facts.tenant), name == facts.span) for name, text in _SPANS),
        zone=facts.zone,
        notices=tuple(_notices(waiting)),
        tiles=tuple(_tiles(facts, foreseen)),
        chart=_chart(facts, now),
        budgets=tuple(_budget(given, facts, now) for given in facts.budgets if given["subjects"]),
        holds=tuple(pause_row(given, now) for given in facts.holds),
        tables=tuple(_table(dimension, rows, facts) for dimension, rows in facts.tables.items() if rows),
        anomalies=tuple(_anomaly(given, now) for given in facts.anomalies),
        unknown=tuple((name, moment(clock.iso(at), now)) for name, at in facts.unknown),
        reports=tuple(_reports(facts)),
        is_ever=facts.is_ever,
        command="smm-admin costs sums --by model" + (f" --tenant {facts.tenant}" if facts.tenant else ""),
    )


def money(amount: float) -> str:
    """`$1,234.50`, `$0.0042`: as many digits as say something."""
    if amount >= 1 or not amount:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= 0.0001 else f"${amount:.6f}"


def _href(span: str, tenant: str | None, path: str = "/costs") -> str:
    given = {"span": span} if span != "today" else {}
    query = urlencode(given | ({"tenant": tenant} if tenant else {}))
    return f"{path}?{query}" if query else path


def _notices(waiting: Waiting | None) -> Iterable[str]:
    if waiting is None:
        yield "Redis does not answer: budgets are shown by what is written down, and calls are not recorded now."
    elif waiting.seconds > LATE_SECONDS:
        yield (
            f"Calls wait {duration(waiting.seconds)} to be written down ({waiting.entries:,} batches): sums are behind,"
            " budgets are not."
        )


def _tiles(facts: Facts, foreseen: Mapping[str, Any] | None) -> Iterable[Tile]:
    total = facts.total
    yield Tile("Spent", money(dollars(total.cost_micro_usd)), _hours_of(facts))
    if foreseen is not None:
        rough = ", roughly" if foreseen["rough"] else ""
        band = f"{money(foreseen['low'])} to {money(foreseen['high'])}{rough}"
        yield Tile(f"At the end of the {foreseen['period']}", money(foreseen["projected"]), band)
    mean = f"{money(dollars(total.cost_micro_usd) / total.calls)} each" if total.calls else ""
    yield Tile("Calls", f"{total.calls:,}", mean)
    failed = f"{total.failed / total.calls:.1%} of them" if total.failed else "none of them"
    yield Tile("Failed", f"{total.failed:,}", failed if total.calls else "", "warn" if total.failed else "")
    yield Tile("Tokens", short(total.input_tokens + total.output_tokens), _tokens(total))
    if total.unpriced:
        yield Tile("Without a price", f"{total.unpriced:,}", "calls whose cost is not known", "warn")


def short(count: int) -> str:
    """`950`, `12.3 k`, `4.56 million`."""
    for size, unit in ((10**9, " billion"), (10**6, " million"), (10**3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:,.0f}{unit}"
    return str(count)


def _tokens(total: Sums) -> str:
    if not total.input_tokens:
        return ""
    return f"{short(total.output_tokens)} of them received; {total.cached_tokens / total.input_tokens:.0%} cached"


def _hours_of(facts: Facts) -> str:
    begun = facts.since.astimezone(ZoneInfo(facts.zone)).date()
    return "since midnight" if facts.span == "today" else f"since {begun.isoformat()}"


def _chart(facts: Facts, now: datetime) -> SpendingChart | None:
    steps = [(row.start_at, row.sums.cost_micro_usd) for row in facts.steps if row.start_at is not None]
    return spending(steps, facts.since, facts.until, now, zone=facts.zone)


def _budget(given: Mapping[str, Any], facts: Facts, now: datetime) -> BudgetCard:
    whose = "for all" if given["scope"] == "global" else f"of each {given['scope']}"
    if given["for"] is not None:
        whose = f"of {given['scope']} {given['for']}"
    rows = (_budget_row(given, subject, facts, now) for subject in given["subjects"])
    return BudgetCard(given["name"], f"{money(given['amount'])} a {given['period']} {whose}", tuple(rows))


def _budget_row(given: Mapping[str, Any], subject: Mapping[str, Any], facts: Facts, now: datetime) -> LimitRow:
    percent = subject["percent"]
    left = (datetime.fromisoformat(subject["ends_at"]) - now).total_seconds()
    name = "all" if subject["subject"] == "all" else subject["subject"].partition(":")[2]
    return LimitRow(
        name=name,
        account=name,
        is_account=given["scope"] == "tenant" and facts.tenant is None,
        said=f"{money(subject['spent'])} of {money(subject['amount'])}",
        percent=f"{percent:g} %",
        width=share(subject["spent"], subject["amount"]),
        marks=tuple(step["percent"] for step in given["thresholds"] if step["percent"] < 100),
        tone="bad" if percent >= 100 else "warn" if percent >= 80 else "ok",
        resets=f"anew in {duration(max(0.0, left))}",
        note="; ".join(_notes(given, subject["subject"], facts.holds, now)),
    )


def _notes(given: Mapping[str, Any], subject: str, holds: Iterable[Mapping[str, Any]], now: datetime) -> Iterable[str]:
    """What the budget does about it at present."""
    for hold in holds:
        if hold["scope"] == subject and hold["holder"].partition(":")[2] == given["name"]:
            yield pause_row(hold, now).what
    if subject in given["throttled"]:
        yield "background work is slowed down"


def _table(dimension: Dimension, rows: Sequence[Row], facts: Facts) -> ShareTable:
    whole = facts.total.cost_micro_usd
    shown = rows[:SHOWN]
    rest = whole - sum(row.sums.cost_micro_usd for row in shown)
    return ShareTable(
        id=dimension,
        title=_TITLES[dimension],
        rows=tuple(_share(dimension, row, whole, facts.span) for row in shown),
        rest=f"all others {money(dollars(rest))}" if len(rows) > SHOWN else "",
    )


def _share(dimension: Dimension, row: Row, whole: int, span: Span) -> ShareRow:
    cost, calls = row.sums.cost_micro_usd, row.sums.calls
    percent = f"{cost / whole * 100:.1f} %" if whole else "-"
    unpriced = row.sums.unpriced
    return ShareRow(
        name=row.name or f"no {dimension}",
        href=_href(span, row.name) if dimension == "tenant" and row.name else None,
        cost=money(dollars(cost)),
        percent=percent,
        width=share(cost, whole),
        said=f"{calls:,} call{'' if calls == 1 else 's'}",
        note=f"{unpriced:,} without a price" if unpriced else "",
    )


def _anomaly(given: Mapping[str, Any], now: datetime) -> AnomalyRow:
    names = (given["tenant"] or "no tenant", given["model"], given["skill"] or "no skill")
    return AnomalyRow(
        what=" · ".join(names),
        hour=moment(given["hour"], now),
        cost=money(given["actual"]),
        usual=money(given["expected"]),
        cause=_CAUSES.get(given["cause"], given["cause"]),
        why=given["why"] or "",
    )


def _reports(facts: Facts) -> Iterable[Link]:
    kept = [str(row["date"]) for row in facts.reports]
    days = dict.fromkeys([facts.yesterday.isoformat(), *kept])
    for day in days:
        yield Link(day, _href("today", facts.tenant, f"/costs/reports/{day}"))
