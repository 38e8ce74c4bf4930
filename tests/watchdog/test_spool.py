"""Waiting results: kept in order, bounded, over a restart, whatever happens to the file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.health.results import ProbeError, ProbeResult
from app.watchdog.spool import Spool

START = datetime(2026, 3, 1, tzinfo=UTC)


def result(second: int) -> ProbeResult:
    at = START + timedelta(seconds=second)
    return ProbeResult(ok=False, started_at=at, finished_at=at, error=ProbeError("refused", "connection refused"))


def fill(spool: Spool, seconds: range, *, eventful: bool = True) -> None:
    for second in seconds:
        spool.append("postgres", result(second), eventful=eventful)


def test_what_waits_comes_out_in_order_and_stays_until_it_is_done(tmp_path: Path):
    spool = Spool(tmp_path / "spool.jsonl")
    fill(spool, range(5))
    assert spool.first(2) == [("postgres", result(0)), ("postgres", result(1))]
    spool.done(2)
    assert [item.started_at.second for _, item in spool.first(10)] == [2, 3, 4]


def test_nothing_is_written_while_postgres_takes_everything(tmp_path: Path):
    spool = Spool(tmp_path / "spool.jsonl")
    fill(spool, range(3))
    spool.done(3)
    assert list(tmp_path.iterdir()) == []


def test_while_postgres_is_away_a_restart_loses_nothing(tmp_path: Path):
    spool = Spool(tmp_path / "spool.jsonl")
    fill(spool, range(2))
    spool.keep()
    fill(spool, range(2, 4))
    assert (tmp_path / "spool.jsonl").stat().st_mode & 0o777 == 0o600
    again = Spool(tmp_path / "spool.jsonl")
    assert again.first(10) == [("postgres", result(second)) for second in range(4)]
    again.done(4)
    assert not (tmp_path / "spool.jsonl").exists()


def test_a_line_that_was_cut_off_costs_that_line_only(tmp_path: Path):
    spool = Spool(tmp_path / "spool.jsonl")
    spool.keep()
    fill(spool, range(3))
    whole = (tmp_path / "spool.jsonl").read_bytes()
    (tmp_path / "spool.jsonl").write_bytes(whole[:-20])
    assert len(Spool(tmp_path / "spool.jsonl")) == 2


def test_when_half_full_only_what_changes_something_is_taken(tmp_path: Path):
    spool = Spool(tmp_path / "spool.jsonl", limit=10)
    fill(spool, range(20), eventful=False)
    assert (len(spool), spool.dropped) == (5, 15)
    fill(spool, range(20, 40))
    assert (len(spool), spool.dropped) == (10, 30)
    assert [item.started_at.second for _, item in spool.first(10)] == [0, 1, 2, 3, 4, 20, 21, 22, 23, 24]


def test_a_disk_that_cannot_be_written_costs_nothing_but_the_file():
    spool = Spool(Path("/dev/null/not-a-directory/spool.jsonl"))
    spool.keep()
    fill(spool, range(3))
    assert len(spool.first(10)) == 3


def test_levels_are_kept_and_a_result_of_an_older_version_has_none(tmp_path: Path):
    spool = Spool(tmp_path / "spool.jsonl")
    spool.keep()
    spool.append("postgres", replace(result(0), levels={"size_percent": "warning"}), eventful=True)
    written = (tmp_path / "spool.jsonl").read_text()
    (tmp_path / "spool.jsonl").write_text(written + written.replace(',"levels":{"size_percent":"warning"}', ""))
    kept = [item.levels for _, item in Spool(tmp_path / "spool.jsonl").first(10)]
    assert kept == [{"size_percent": "warning"}, {}]
