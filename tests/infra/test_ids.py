"""Ids sort by the moment they were made, and within a process in the order in which they were."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from app.infra import ids

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_ids_of_a_process_sort_in_the_order_in_which_they_were_made() -> None:
    made = [ids.uuid7() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}


def test_ids_of_one_moment_sort_in_the_order_in_which_they_were_made() -> None:
    made = [(ids.uuid7(AT), ids.uuid7())[0] for _ in range(100)]
    assert made == sorted(made)


def test_ids_of_many_threads_are_all_different() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ids.uuid7(), range(8000)))
    assert len(set(made)) == 8000


def test_an_id_tells_its_time_and_a_name_makes_the_same_one_again() -> None:
    assert ids.time_of(ids.uuid7(AT)) == AT
    assert ids.uuid7(AT) != ids.uuid7(AT)
    assert ids.uuid7_named(AT, "a") == ids.uuid7_named(AT, "a") != ids.uuid7_named(AT, "b")
    assert ids.time_of(ids.uuid7_named(AT, "a")) == AT
    assert ids.floor(AT) <= ids.uuid7_named(AT, "a") < ids.floor(AT + timedelta(milliseconds=1))
