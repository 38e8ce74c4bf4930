"""Exports: every row once, page by page in bounded memory; and cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from app.costs import export
from app.costs.reading import Question, Wanted
from tests.costs.spent import call, spent

DAY = datetime(2026, 11, 20, tzinfo=UTC)
WHOLE = Question("total", DAY, DAY + timedelta(days=2))


def test_every_call_and_every_roll_up_is_in_one_page(database: str) -> None:
    calls = spent(
        call(DAY + timedelta(minutes=7 * number), tenant=f"tenant-{number % 3}", skill=f"skill-{number % 4}")
        for number in range(300)
    )
    pages = list(export.calls(WHOLE.since, WHOLE.until, Wanted(), page=70))
    assert [len(page) for page in pages] == [70, 70, 70, 70, 20]
    assert [row["id"] for page in pages for row in page] == sorted(str(one["id"]) for one in calls)
    mine = export.calls(WHOLE.since, WHOLE.until, Wanted(tenant="tenant-1", skill="skill-2"), page=7)
    assert sum(len(page) for page in mine) == 25
    for page in (1, 5, 24, 1000):
        rows = [row for some in export.focus_rows(WHOLE, page=page) for row in some]
        assert len(rows) == len({(row["ChargePeriodStart"], row["SubAccountId"], row["x_Skill"]) for row in rows}) == 24
        assert sum(row["x_Calls"] for row in rows) == 300


def test_memory_does_not_grow_with_what_is_written() -> None:
    row = {"id": "x" * 500, "cost": 0.000001}

    def peak(number: int) -> int:
        tracemalloc.start()
        length = sum(len(text) for text in export.written(([row] * 100 for _ in range(number)), tuple(row), "csv"))
        assert length > number * 50_000
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(40) < peak(4) * 2


@pytest.mark.parametrize("said", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1+1", '=cmd|" /C calc"!A0'])
def test_a_cell_never_begins_like_a_formula(said: str) -> None:
    line = io.StringIO(export.csv_text([[said]]), newline="")
    assert next(csv.reader(line)) == [f"'{said}"]


def test_cells_are_written_as_people_and_programs_read_them() -> None:
    values = [None, 0.000001, 12.5, 3.0, -7, {}, {"a": "=1"}, 'say "hi", you', "plain"]
    assert next(csv.reader(io.StringIO(export.csv_text([values])))) == [
        "", "0.000001", "12.5", "3", "-7", "", '{"a":"=1"}', 'say "hi", you', "plain",
    ]  # fmt: skip
    assert export.csv_text([["a", "b"]]) == "a,b\r\n"
