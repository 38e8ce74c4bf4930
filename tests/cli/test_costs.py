"""`smm-admin costs sums`, `calls`, `export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.costs.spent import call, spent

DAY = datetime(2025, 11, 20, tzinfo=UTC)
PERIOD = ("--since", "2025-11-20", "--until", "2025-11-22")


@pytest.fixture
def costs(smm: Callable[..., Ran]) -> Callable[..., Ran]:
    """`smm-admin costs` with these words, with three calls stored."""
    spent(
        [
            call(DAY, cost_micro_usd=1_500_000),
            call(DAY + timedelta(hours=1), skill="copy", cost_micro_usd=500_000, department="support"),
            call(DAY + timedelta(days=1), skill="", cost_micro_usd=None, outcome="error", user_id="@joe"),
        ]
    )
    return lambda *words: smm("costs", *words)


def test_sums_are_a_table_or_json(costs: Callable[..., Ran]) -> None:
    ran = costs("sums", "--by", "skill", *PERIOD)
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[3:6] == [
        ["chat", "$1.50", "75", "1", "0", "0", "100", "10"],
        ["copy", "$0.50", "25", "1", "0", "0", "100", "10"],
        ["-", "$0.00", "0", "1", "1", "1", "100", "10"],
    ]
    assert ran.out.endswith("in total $2.00 for 3 calls\n")
    assert costs("sums").out.endswith("no call was recorded in this time\n")
    days = costs("sums", "--step", "day", "--json", *PERIOD).json
    assert [(row["start_at"], row["calls"]) for row in days["rows"]] == [
        ("2025-11-20T00:00:00.000Z", 2),
        ("2025-11-21T00:00:00.000Z", 1),
    ]


def test_calls_are_listed_newest_first(costs: Callable[..., Ran]) -> None:
    lines = costs("calls", *PERIOD).out.splitlines()
    assert [line.split()[0][:13] for line in lines[1:]] == ["2025-11-21T00", "2025-11-20T01", "2025-11-20T00"]
    assert "not known" in lines[1]
    first = costs("calls", "--most", "1", "--json", *PERIOD).json
    assert (first["calls"][0]["outcome"], first["next"]) == ("error", first["calls"][0]["id"])
    rest = costs("calls", "--before", first["next"], "--min-cost", "1", "--json", *PERIOD).json
    assert [one["cost"] for one in rest["calls"]] == [1.5]
    of_support = costs("calls", "--department", "support", "--json", *PERIOD).json
    assert [one["cost"] for one in of_support["calls"]] == [0.5]


def test_files_are_written(costs: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "costs.ndjson"
    assert costs("export", "--format", "ndjson", "--to", str(file), *PERIOD).code == 0
    assert [json.loads(line)["user"] for line in file.read_text().splitlines()] == ["ann", "ann", "@joe"]
    assert ",'@joe," in costs("export", *PERIOD).out
    assert len(costs("export", "--what", "focus", "--tenant", "acme", *PERIOD).out.splitlines()) == 4
    assert costs("export", "--to", "-", *PERIOD).out == costs("export", *PERIOD).out
    refused = costs("export", "--to", str(tmp_path / "nowhere" / "costs.csv"), *PERIOD)
    assert (refused.code, "--to: cannot be written: No such file" in refused.err) == (2, True)


def test_what_is_wrong_is_named(costs: Callable[..., Ran]) -> None:
    ran = costs("sums", "--by", "modle")
    assert ran.code == 2
    assert "--by: must be one of" in ran.err
    assert 'did you mean "model"' in ran.err
    assert costs("sums", "--zone", "nowhere").code == 2
    assert "since: must be a date" in costs("calls", "--since", "soon").err
