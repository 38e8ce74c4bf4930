"""`smm-admin migrate` leaves a database that is ready to be written to."""

from __future__ import annotations

import threading

from app.cli.main import run
from app.infra.db import unit_of_work
from app.jobs import upkeep

PARTITIONS = (
    "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = to_regclass(:parent) AND c.relname NOT LIKE '%default'"
)


def partitions_of(table: str) -> int:
    with unit_of_work() as uow:
        return int(uow.execute(PARTITIONS, parent=table).scalar_one())


def test_the_first_rows_find_their_days_partition(database: str) -> None:
    assert run(["migrate"]) == 0
    for table in upkeep.keeping_days():
        assert partitions_of(table) >= 8


def test_two_that_make_the_same_partitions_at_once_take_turns(database: str) -> None:
    problems: list[BaseException] = []

    def make() -> None:
        try:
            upkeep.make_partitions()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert partitions_of("job_history") >= 8
