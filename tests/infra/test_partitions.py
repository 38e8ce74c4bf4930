"""Day partitions on a real database: made and dropped one by one, beside writers that do not wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from sqlalchemy.exc import IntegrityError

from app.errors import Transient
from app.infra import ids, partitions
from app.infra.db import execute_once
from tests.fixtures.stack import eventually

TODAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
INSERT = (
    "INSERT INTO job_history (id, task, queue, state, priority, kwargs, attempt, max_attempts, created_at, not_before,"
    " finished_at) VALUES (:id, 't', 'default', 'succeeded', 3, '{}', 1, 1, now(), now(), :finished)"
)


def finished(submitted: datetime, ended: datetime | None = None) -> UUID:
    """A finished job's row in the history."""
    identifier = ids.uuid7(submitted)
    execute_once(INSERT, id=identifier, finished=ended or submitted)
    return identifier


def kept() -> dict[UUID, str]:
    """Every row of the history with the partition that it lies in."""
    return {row.id: row.place for row in execute_once("SELECT id, tableoid::regclass::text AS place FROM job_history")}


def days() -> set[str]:
    rows = execute_once(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'job_history'::regclass"
    )
    return {row.name for row in rows}


def drop_old(keep_days: int = 30) -> list[str]:
    return partitions.drop_old("job_history", TODAY, keep_days, counts="finished_at")


@contextmanager
def holding(url: str, *statements: str) -> Iterator[Any]:
    """A transaction of somebody else that has run `statements` and is not over."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield connection
    finally:
        connection.close()


def in_background(act: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    problems: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, problems


def somebody_waits_for_a_lock() -> bool:
    return bool(execute_once("SELECT 1 FROM pg_locks WHERE NOT granted"))


def test_an_old_day_is_dropped_and_a_younger_one_stays(database: str) -> None:
    partitions.ensure("job_history", TODAY - 40 * DAY, days_ahead=0)
    partitions.ensure("job_history", TODAY, days_ahead=0)
    old, young = finished(NOON - 40 * DAY), finished(NOON)
    assert drop_old() == ["job_history_p20261011", "job_history_p20261012"]
    assert old not in kept()
    assert young in kept()


def test_a_job_that_ended_long_after_its_submission_is_kept_by_its_end_when_its_day_goes(database: str) -> None:
    partitions.ensure("job_history", TODAY - 40 * DAY, days_ahead=0)
    late = finished(NOON - 40 * DAY, ended=NOON - DAY)
    assert drop_old() == ["job_history_p20261011", "job_history_p20261012"]
    assert kept() == {late: "job_history_default"}


def test_a_row_of_the_default_partition_is_dropped_by_its_end(database: str) -> None:
    late = finished(NOON - 60 * DAY, ended=NOON - DAY)
    finished(NOON - 60 * DAY, ended=NOON - 59 * DAY)
    assert drop_old() == []
    assert list(kept()) == [late]


def test_one_day_that_cannot_be_dropped_is_named_and_does_not_keep_the_others(database: str) -> None:
    partitions.ensure("job_history", TODAY - 40 * DAY, days_ahead=0)
    gone = finished(NOON - 60 * DAY)
    reading = "LOCK TABLE job_history_p20261011 IN ACCESS SHARE MODE"
    with holding(database, reading), pytest.raises(Transient, match="job_history_p20261011") as failed:
        drop_old()
    assert "p20261012" not in str(failed.value)
    assert days() & {"job_history_p20261011", "job_history_p20261012"} == {"job_history_p20261011"}
    assert gone not in kept()


def test_a_job_may_end_while_an_old_day_waits_to_be_dropped(database: str) -> None:
    """Dropping a day locks out nobody but its own writers, and gives up after two seconds."""
    partitions.ensure("job_history", TODAY - 40 * DAY, days_ahead=0)
    partitions.ensure("job_history", TODAY, days_ahead=0)
    with holding(database, "LOCK TABLE job_history_p20261011 IN ROW EXCLUSIVE MODE"):
        thread, problems = in_background(drop_old)
        eventually(somebody_waits_for_a_lock, within=10, what="the drop waits")
        ended = finished(NOON)
        still_waiting = somebody_waits_for_a_lock()
        thread.join(30)
    assert still_waiting
    assert ended in kept()
    assert [type(problem) for problem in problems] == [Transient]


def test_rows_of_a_day_move_from_the_default_partition_when_the_day_is_made(database: str) -> None:
    row = finished(NOON)
    assert kept() == {row: "job_history_default"}
    partitions.ensure("job_history", TODAY)
    assert kept() == {row: "job_history_p20261121"}


def test_a_row_committed_while_its_day_is_made_moves_too(database: str) -> None:
    row = ids.uuid7(NOON)
    uncommitted = INSERT.replace(":id", f"'{row}'").replace(":finished", "now()")
    with holding(database, uncommitted) as writer:
        thread, problems = in_background(lambda: partitions.ensure("job_history", TODAY, days_ahead=0))
        eventually(somebody_waits_for_a_lock, within=10, what="the new day waits for the writer")
        writer.commit()
        thread.join(30)
    assert problems == []
    assert kept() == {row: "job_history_p20261121"}


def test_the_days_that_can_be_made_are_made_and_the_other_is_named(database: str) -> None:
    execute_once("CREATE TABLE job_history_p20261124 (nothing int)")
    with pytest.raises(Transient, match="job_history_p20261124") as failed:
        partitions.ensure("job_history", TODAY)
    assert "p20261125" not in str(failed.value)
    assert len(days()) == 1 + 9 - 1


def test_the_days_to_come_are_made_first(database: str) -> None:
    assert partitions.ensure("job_history", TODAY, days_ahead=2) == [
        "job_history_p20261122",
        "job_history_p20261123",
        "job_history_p20261121",
        "job_history_p20261120",
    ]
    assert partitions.ensure("job_history", TODAY, days_ahead=2) == []


def test_a_row_that_its_new_day_overtook_may_be_tried_again(database: str) -> None:
    """The writer chose the DEFAULT partition, waited for it, and found its day's own attached."""
    row = finished(NOON - 5 * DAY)
    low, high = (ids.floor(NOON.replace(hour=0) + offset * DAY) for offset in (0, 1))
    attach = (
        "LOCK TABLE job_history_default IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE job_history_p20261121 PARTITION OF job_history FOR VALUES FROM ('{low}') TO ('{high}')",
    )
    overtaken = INSERT.replace("job_history", "job_history_default", 1)
    with holding(database, *attach) as maker:
        maker.commit()
    with pytest.raises(Transient, match="partition constraint"):
        execute_once(overtaken, id=ids.uuid7(NOON), finished=NOON)
    assert list(kept()) == [row]


def test_a_violated_check_is_the_statements_fault(database: str) -> None:
    execute_once("CREATE TABLE checked (n int CHECK (n > 0))")
    with pytest.raises(IntegrityError):
        execute_once("INSERT INTO checked VALUES (0)")


def test_many_rows_are_deleted_batch_by_batch(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    for hours in range(5):
        finished(NOON - timedelta(hours=hours))
    assert partitions.delete_in_batches("job_history_default", "finished_at", NOON) == 4
    assert len(kept()) == 1
