"""Calls, sums and FOCUS rows as CSV or one JSON object a line, made page by page: memory does not grow with them.

A cell of CSV whose text begins like a formula gets an apostrophe before it, so that no spreadsheet runs what a caller
named a skill or a user: `=`, `+`, `-`, `@`, a tab or a line break. Numbers are numbers. JSON is as it was recorded.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.costs import focus, reading
from app.costs.reading import COLUMNS, Question, Wanted
from app.costs.sums import FIGURES
from app.errors import Invalid, Problem
from app.infra import ids
from app.infra.db import read_only

Format = Literal["csv", "ndjson"]
What = Literal["calls", "sums", "focus"]
Row = Mapping[str, Any]
Sessions = Callable[[], AbstractContextManager[Session]]

FORMATS: tuple[Format, ...] = get_args(Format)
WHATS: tuple[What, ...] = get_args(What)
TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8; header=present", "ndjson": "application/x-ndjson"}
PAGE = 2_000
MOST_SUMS = 100_000
"""Rows of sums, which are sorted and so have to be held at once."""

CALL_NAMES = tuple(
    {"user_id": "user", "cost_micro_usd": "cost"}.get(name, name) for name in COLUMNS.replace(",", "").split()
)
SUM_NAMES = ("name", "start_at", *(name for name in FIGURES if name != "cost_micro_usd"), "cost", "percentage")
_FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # also as wide as East Asian letters, which some read alike


def pages(
    what: What, asked: Question, wanted: Wanted, *, sessions: Sessions = read_only
) -> tuple[Iterator[list[Row]], Sequence[str]]:
    """The rows of what was asked for, and the names of their columns."""
    match what:
        case "calls":
            return calls(asked.since, asked.until, wanted, sessions=sessions), CALL_NAMES
        case "sums":
            return sums(asked, sessions=sessions), SUM_NAMES
        case "focus":
            return focus_rows(asked, sessions=sessions), focus.NAMES


def calls(
    since: datetime, until: datetime, wanted: Wanted, *, page: int = PAGE, sessions: Sessions = read_only
) -> Iterator[list[Row]]:
    """Pages of calls, oldest first, each read by itself: a call that comes late, below where it is read, is missing."""
    given = wanted.given()
    conditions = " AND ".join(["id > :after", "id < :high", *(reading.CONDITIONS[name] for name in given)])
    query = text(f"SELECT {COLUMNS} FROM cost_tracking WHERE {conditions} ORDER BY id LIMIT :page")
    # No id is all its bound and nothing else: a version and a variant are in it.
    after, high = ids.floor(since), ids.floor(until)
    while True:
        with sessions() as session:
            rows = session.execute(query, {**given, "after": after, "high": high, "page": page}).all()
        if rows:
            yield [reading.call_shown(row) for row in rows]
        if len(rows) < page:
            return
        after = UUID(str(rows[-1].id))


def sums(asked: Question, *, page: int = PAGE, sessions: Sessions = read_only) -> Iterator[list[Row]]:
    """Pages of rows of sums, as `reading.summed`. Raises Invalid for too many."""
    with sessions() as session:
        found = reading.summed(session, asked, limit=MOST_SUMS)
    if found["more"]:
        problem = Problem("since", f"leads to more than {MOST_SUMS:,} rows: ask for a shorter period, or longer steps")
        raise Invalid([problem], subject="question")
    rows = found["rows"]
    for start in range(0, len(rows), page):
        yield rows[start : start + page]


def focus_rows(asked: Question, *, page: int = PAGE, sessions: Sessions = read_only) -> Iterator[list[Row]]:
    """Pages of FOCUS rows: what each tenant spent on each model by each skill, in each hour or day (UTC).

    Raises Invalid where the period does not begin and end with one.
    """
    step = asked.step or "day"
    whole_steps(asked, step)
    after: tuple[Any, ...] = (asked.since - timedelta(seconds=1), "", "", "")
    while True:
        with sessions() as session:
            rows = focus.page(session, replace(asked, step=step), after, page)
        if rows:
            yield [focus.shown(row, step) for row in rows]
        if len(rows) < page:
            return
        last = rows[-1]
        after = (last.start_at, last.tenant, last.name, last.skill)


def whole_steps(asked: Question, step: str) -> None:
    """Charge periods are not cut. Raises Invalid."""
    zero = {"minute": 0, "second": 0, "microsecond": 0} | ({"hour": 0} if step == "day" else {})
    problems = [
        Problem(name, f"must be where a {step} begins in UTC, as with the zone UTC: a charge period is not cut")
        for name, value in (("since", asked.since), ("until", asked.until))
        if value.replace(**zero) != value  # type: ignore[arg-type]
    ]
    if problems:
        raise Invalid(problems, subject="question")


def written(pages: Iterable[Sequence[Row]], names: Sequence[str], form: Format) -> Iterator[str]:
    """The text of each page; of CSV the names of the columns come first, also where there are no rows."""
    if form == "csv":
        yield csv_text([names])
    for rows in pages:
        if form == "csv":
            yield csv_text([row.get(name) for name in names] for row in rows)
        else:
            yield "".join(f"{json.dumps(row, ensure_ascii=False, separators=(',', ':'))}\n" for row in rows)


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """Lines as RFC 4180 has them."""
    made = io.StringIO()
    csv.writer(made, lineterminator="\r\n").writerows([_cell(value) for value in line] for line in lines)
    return made.getvalue()


def _cell(value: Any) -> Any:
    kind = type(value)  # of a million cells most are texts: matching them one by one took longer than reading them
    if kind is str:
        return f"'{value}" if value[:1] in _FORMULA else value
    if kind is float:
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if kind is dict:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else ""
    return value


def file_name(what: What, since: datetime, form: Format) -> str:
    """What a browser calls the file."""
    return f"costs-{what}-{clock.iso(since)[:10]}.{form}"
