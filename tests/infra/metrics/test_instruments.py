"""Counting in one process: no server needed."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infra.metrics import Counter, Histogram, know, stored
from app.infra.metrics.catalogue import INSTRUMENTS
from app.infra.metrics.instruments import MAX_VALUES, OTHER, Deltas, deltas, forget_known

SENT = Counter("smm_test_sent_total", "Sent.", ("task", "outcome"))
SECONDS = Histogram("smm_test_seconds", "Seconds.", ("task",), buckets=(0.1, 1, 10))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    deltas().restart()
    forget_known()
    yield
    deltas().restart()
    forget_known()


def counted() -> dict[tuple[str, tuple[str, ...], str], float]:
    batch = deltas().take()
    return dict(batch.amounts) if batch else {}


def test_counts_of_the_same_labels_add_up() -> None:
    SENT.inc(task="a", outcome="ok")
    SENT.inc(2, outcome="ok", task="a")
    SENT.inc(task="a", outcome="failed")
    assert counted() == {
        ("smm_test_sent_total", ("a", "ok"), "count"): 3,
        ("smm_test_sent_total", ("a", "failed"), "count"): 1,
    }


def test_a_task_outside_the_registry_is_counted_as_other() -> None:
    know("task", ["tasks.known"])
    SENT.inc(task="tasks.known", outcome="ok")
    SENT.inc(task="made-up-by-a-caller", outcome="ok")
    assert {labels for _, labels, _ in counted()} == {("tasks.known", "ok"), (OTHER, "ok")}


def test_endless_label_values_cannot_grow_memory_without_end() -> None:
    flood = Counter("smm_test_flood_total", "Flood.", ("key",))
    for number in range(MAX_VALUES * 3):
        flood.inc(key=f"{number:05}" * 100)
    amounts = counted()
    assert len(amounts) == MAX_VALUES + 1
    assert amounts["smm_test_flood_total", (OTHER,), "count"] == MAX_VALUES * 2


@pytest.mark.parametrize("amount", [-1, math.nan, math.inf])
def test_an_amount_that_would_spoil_the_sum_is_left_out(amount: float) -> None:
    SENT.inc(amount, task="a", outcome="ok")
    assert counted() == {}


def test_a_clock_set_back_observes_zero() -> None:
    SECONDS.observe(-5, task="a")
    SECONDS.observe(math.nan, task="a")
    assert counted() == {("smm_test_seconds", ("a",), "0.1"): 1, ("smm_test_seconds", ("a",), "sum"): 0}


def test_wrong_labels_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="smm_test_sent_total has the labels"):
        SENT.inc(task="a")


def test_a_batch_without_an_answer_is_sent_again_as_it_was() -> None:
    SENT.inc(task="a", outcome="ok")
    first = deltas().take()
    SENT.inc(task="a", outcome="ok")
    assert first is not None
    assert deltas().take() is first
    deltas().answered(first)
    second = deltas().take()
    assert second is not None
    assert (second.sequence, sum(second.amounts.values())) == (first.sequence + 1, 1)


def test_a_forked_child_starts_at_zero_under_a_name_of_its_own() -> None:
    SENT.inc(task="a", outcome="ok")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps([deltas().process, deltas().take() is None]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    name, empty = json.loads(os.read(reader, 1000))
    os.close(reader)
    os.close(writer)
    assert empty
    assert name != deltas().process
    assert len(counted()) == 1


def test_threads_counting_at_once_lose_nothing() -> None:
    taken: list[float] = []
    together = Deltas()
    key = ("smm_test_sent_total", ("a", "ok"), "count")

    def count() -> None:
        for _ in range(2000):
            together.add({key: 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or not taken or sum(taken) < 8000:
        batch = together.take()
        if batch is not None:
            taken.append(batch.amounts[key])
            together.answered(batch)
        elif not any(thread.is_alive() for thread in threads):
            break
    assert sum(taken) == 8000


@given(st.lists(st.floats(min_value=0, max_value=100), max_size=50))
def test_buckets_are_cumulative_whatever_is_observed(amounts: list[float]) -> None:
    deltas().restart()
    for amount in amounts:
        SECONDS.observe(amount, task="a")
    parts = {part: value for (_, _, part), value in counted().items()}
    cumulative = dict(stored.buckets(SECONDS, parts))
    for text, bound in (("0.1", 0.1), ("1.0", 1), ("10.0", 10), ("+Inf", math.inf)):
        assert cumulative[text] == sum(amount <= bound for amount in amounts)


def test_a_bound_of_an_older_version_counts_in_the_next_larger_one() -> None:
    cumulative = dict(stored.buckets(SECONDS, {"0.5": 2, "99": 1, "inf": 1, "sum": 100.5, "nonsense": 1}))
    assert cumulative == {"0.1": 0, "1.0": 2, "10.0": 2, "+Inf": 5}


def test_fields_that_are_not_ours_are_left_out() -> None:
    fields = {"{": "1", "[1]": "1", '["smm_x",["a"],"count"]': "2", '["smm_y",["a"],"count"]': "no number"}
    assert stored.parse(fields) == {"smm_x": {("a",): {"count": 2.0}}}


def test_a_series_with_the_labels_of_an_older_version_is_left_out() -> None:
    family = stored.family(SENT, {("a",): {"count": 1}, ("a", "ok"): {"count": 2}})
    assert [sample.value for sample in family.samples] == [2]


def test_names_follow_the_conventions() -> None:
    names = [instrument.name for instrument in INSTRUMENTS]
    assert len(names) == len(set(names))
    for instrument in INSTRUMENTS:
        suffix = "_total" if isinstance(instrument, Counter) else "_seconds"
        assert instrument.name.startswith("smm_")
        assert instrument.name.endswith(suffix)
        assert instrument.help_text.endswith(".")
