"""Windows that are over are closed once, whenever and however often that is tried; people hear what it means."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from app.infra import ids
from app.infra.db import engine, read_only, unit_of_work
from app.limits import closing, crossings, reading, snapshots, states, store
from app.limits.states import Window
from tests.fixtures.waiting import until
from tests.limits.conftest import HOUR, Keeper, hours

LATER = HOUR + timedelta(hours=30)
HOURLY = """
[limits.calls]
platform = "demo"
capacity = 100
window = "calendar"
period = "hour"

[limits.daily]
capacity = 100
window = "calendar"
period = "day"
timezone = "Europe/Berlin"

[operations.call]
consumes = {calls = 1}

[operations.post]
consumes = {calls = 2}
"""


def in_a_row(keeper: Keeper) -> list[int]:
    return [row.full_in_a_row for row in keeper.closed()]


def test_a_window_that_is_over_moves_to_the_log(keeper: Keeper) -> None:
    keeper.consume("acme", "short", "calls", times=3)
    [closed] = until(closing.close_due, what="the closing")
    assert (closed.subject, closed.limit, closed.used, closed.full) == ("account:demo/acme", "short", 3, False)
    [row] = keeper.closed()
    assert (row.limit_name, row.used, row.peak, row.capacity, row.full_in_a_row) == ("short", 3, 3, 10, 0)
    assert ids.time_of(row.id) == row.start_at
    assert row.end_at - row.start_at == timedelta(seconds=1)
    assert [open_.limit_name for open_ in keeper.windows("acme")] == ["calls"]
    assert keeper.signals() == []


def test_what_was_counted_up_to_the_last_moment_is_in_it(keeper: Keeper) -> None:
    keeper.consume("acme", "short")
    snapshots.take()
    keeper.consume("acme", "short", cost=5)
    until(closing.close_due, what="the closing")
    assert sum(row.used for row in keeper.closed()) == 6


def test_a_window_is_not_closed_before_its_end_and_a_little_more(keeper: Keeper) -> None:
    keeper.was_open("acme", "calls", HOUR)
    assert closing.close_due(now=HOUR + timedelta(hours=1, seconds=1)) == []
    assert len(closing.close_due(now=HOUR + timedelta(hours=1, seconds=2))) == 1


def test_closing_again_changes_nothing(keeper: Keeper) -> None:
    keeper.catalogue(HOURLY)
    for start in hours(3):
        keeper.was_open("acme", "calls", start, used=100, peak=100)
    closing.close_due(now=LATER)
    once, told = keeper.closed(), keeper.signals()
    for start in hours(3):  # as a process would leave them that died, or one that wrote late
        keeper.was_open("acme", "calls", start, used=7, peak=7)
    assert closing.close_due(now=LATER) == []
    assert (keeper.closed(), keeper.signals(), keeper.windows()) == (once, told, [])


def test_many_at_once_close_each_window_once_and_count_alike(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.catalogue(HOURLY)
    monkeypatch.setattr(closing, "BATCH", 3)
    for account in "abc":
        for start in hours(5):
            keeper.was_open(account, "calls", start, used=100, peak=100)
    closers = [threading.Thread(target=lambda: closing.close_due(now=LATER)) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
    assert in_a_row(keeper) == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    assert [row.facts["in_a_row"] for row in keeper.signals("limits.exhausted")] == [3, 3, 3]
    assert len(keeper.signals("limits.reset")) == 15


def full_for_days(keeper: Keeper, accounts: int) -> None:
    """Rolling windows of which a crossing was told, and of which nothing has been forgotten since."""
    state = json.dumps({"v": 1, "t": 1, "l": {"rolling": {"w": 10**12, "f": 1, "b": [200], "n": 3}}})
    keeper.sql(
        "INSERT INTO limit_states (subject, state, version, taken_at, expires_at)"
        " SELECT 'account:demo/' || n, :state, 1, now(), now() + interval '1 day' FROM generate_series(1, :n) n",
        state=state,
        n=accounts,
    )
    keeper.sql(
        "INSERT INTO limit_windows (subject, limit_name, start_at, capacity, used, told_level, taken_at)"
        " SELECT 'account:demo/' || n, 'rolling', 'epoch', 200, 200, 3, now() FROM generate_series(1, :n) n",
        n=accounts,
    )


def test_many_rolling_windows_do_not_keep_others_from_being_closed(keeper: Keeper) -> None:
    full_for_days(keeper, 6000)
    keeper.was_open("acme", "calls", HOUR)
    assert len(closing.close_due(now=LATER, seconds=0.05)) == 1


def test_of_many_rolling_windows_each_has_its_turn(keeper: Keeper) -> None:
    full_for_days(keeper, 6000)
    keeper.sql("DELETE FROM limit_states WHERE subject = 'account:demo/999'")  # the last one in their order

    def told() -> bool:
        closing.close_due(seconds=0.02)
        return bool(keeper.signals("limits.reset"))

    until(told, what="the last one's turn")


def test_a_pass_ends_in_time_and_the_next_one_goes_on(keeper: Keeper) -> None:
    for number in range(2000):
        keeper.was_open(f"a{number}", "calls", HOUR)
    first = len(closing.close_due(now=LATER, seconds=0.05))
    assert 0 < first < 2000
    until(lambda: closing.close_due(now=LATER) == [], what="the end")
    assert len(keeper.closed()) == 2000


def test_while_nothing_happens_hardly_anything_is_asked(keeper: Keeper) -> None:
    asked: list[str] = []
    event.listen(engine(), "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement))
    assert snapshots.take()
    assert crossings.tell()
    assert asked == []
    assert closing.close_due() == []
    assert len(asked) == 4, asked


def test_hours_late_comes_to_the_same_as_in_time(keeper: Keeper) -> None:
    keeper.catalogue(HOURLY)
    for account in ("late", "timely"):
        for start, used in zip(hours(8), (100, 100, 50, 100, 100, 100, 0, 100), strict=True):
            keeper.was_open(account, "calls", start, used=used, peak=used)
            if account == "timely":
                closing.close_due(now=start + timedelta(hours=1, seconds=5))
    closing.close_due(now=LATER)
    found = {
        account: [row.full_in_a_row for row in keeper.closed() if row.subject.endswith(account)]
        for account in ("late", "timely")
    }
    assert found["late"] == found["timely"] == [1, 2, 0, 1, 2, 3, 0, 1]


def test_an_hour_in_which_nothing_was_used_breaks_the_row(keeper: Keeper) -> None:
    keeper.catalogue(HOURLY)
    for place in (0, 1, 3):
        keeper.was_open("acme", "calls", hours(4)[place], used=100, peak=100)
    closing.close_due(now=LATER)
    assert in_a_row(keeper) == [1, 2, 1]


def test_the_limits_third_full_hour_is_told_and_each_third_after_it(keeper: Keeper) -> None:
    keeper.catalogue(HOURLY)
    for start in hours(7):
        keeper.was_open("acme", "calls", start, used=100, peak=100, deferred=4)
    closing.close_due(now=LATER)
    told = keeper.signals("limits.exhausted")
    assert [row.facts["in_a_row"] for row in told] == [3, 6]
    assert told[0].labels == {"limit": "calls", "platform": "demo"}
    assert told[0].subject == "account:demo/acme"


def test_days_of_23_and_25_hours_are_in_a_row_too(keeper: Keeper) -> None:
    keeper.catalogue(HOURLY)
    spring = [datetime(2026, 3, day, 23, tzinfo=UTC) - timedelta(hours=day > 28) for day in (27, 28, 29, 30)]
    autumn = [datetime(2026, 10, day, 22, tzinfo=UTC) + timedelta(hours=day > 24) for day in (23, 24, 25, 26)]
    for days in (spring, autumn):
        for start, end in itertools.pairwise(days):
            keeper.was_open("acme", "daily", start, end - start, used=100, peak=100)
    closing.close_due(now=autumn[-1] + timedelta(days=1))
    assert sorted({(row.end_at - row.start_at) / timedelta(hours=1) for row in keeper.closed()}) == [23, 24, 25]
    assert in_a_row(keeper) == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"peak": 79}, False),
        ({"peak": 80, "told_level": 1}, False),
        ({"peak": 95, "told_level": 2}, True),
        ({"peak": 96}, True),
        ({"peak": 100, "told_level": 3}, True),
        ({"peak": 10, "refused": 1}, True),
        ({"peak": 10, "deferred": 1}, True),
    ],
)
def test_the_end_of_a_window_is_told_where_somebody_had_to_stay_or_background_work_was_stopped(
    keeper: Keeper, figures: dict[str, int], expected: bool
) -> None:
    keeper.was_open("acme", "calls", HOUR, used=5, **figures)
    closing.close_due(now=LATER)
    told = keeper.signals("limits.reset")
    assert len(told) == expected
    if told:
        assert told[0].facts["peak"] == figures["peak"]


@pytest.mark.parametrize(
    ("peak", "refused", "largest_cost", "full"),
    [
        (100, 0, 1, True),
        (99, 0, 2, False),
        (99, 3, 2, True),
        (98, 3, 2, False),
        (95, 50, 1, False),  # background work met its own ceiling: that is how it should be
        (40, 1, None, True),
    ],
)
def test_full_is_what_left_no_room_for_the_costliest(
    peak: int, refused: int, largest_cost: int | None, full: bool
) -> None:
    window = Window("calls", HOUR, None, peak, peak, refused, 0)
    assert states.is_full(window, 100, largest_cost) is full


def test_the_costliest_operation_is_that_of_the_catalogue(keeper: Keeper) -> None:
    keeper.catalogue(HOURLY)
    keeper.was_open("acme", "calls", HOUR, used=99, peak=99, refused=1)
    [closed] = closing.close_due(now=LATER)
    assert closed.full


def test_a_limit_that_is_gone_is_closed_with_what_is_known(keeper: Keeper) -> None:
    keeper.was_open("acme", "gone", HOUR, used=100, peak=100, told_level=1)
    closing.close_due(now=LATER)
    [row] = keeper.closed()
    assert (row.limit_name, row.full, row.full_in_a_row) == ("gone", True, 1)
    assert [signal.labels for signal in keeper.signals()] == [{"limit": "gone"}]


def test_nothing_is_closed_while_a_snapshot_cannot_be_finished(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.was_open("acme", "calls", HOUR)
    monkeypatch.setattr(snapshots, "SECONDS", -1.0)
    monkeypatch.setattr(snapshots, "BATCH", 1)
    for number in range(300):
        keeper.consume(f"a{number}", "calls")
    assert closing.close_due(now=LATER) == []
    monkeypatch.setattr(snapshots, "SECONDS", 20.0)
    assert len(closing.close_due(now=LATER)) == 1


def test_the_window_of_a_crossing_that_no_snapshot_saw_is_closed_as_well(keeper: Keeper) -> None:
    keeper.consume("acme", "short", cost=10)
    crossings.tell()
    [closed] = until(closing.close_due, what="the closing")
    assert (closed.used, closed.told_level) == (10, 3)


def test_lists_and_history_are_read_back(keeper: Keeper) -> None:
    keeper.catalogue(HOURLY)
    for start in hours(3):
        keeper.was_open("acme", "calls", start, used=10, peak=10)
    closing.close_due(now=LATER)
    for number, used in enumerate((5, 50, 20)):
        keeper.consume(f"a{number}", "calls", cost=used)
    snapshots.take()
    with read_only() as session:
        assert [row.used for row in reading.windows(session)] == [50, 20, 5]
        first, second = reading.windows(session, limit=2)
        assert [row.used for row in reading.windows(session, after=reading.cursor(second))] == [5]
        assert [row.used for row in reading.windows(session, subject="account:demo/a0", limit_name="calls")] == [5]
        assert {name: row.subject for name, row in reading.worst(session).items()} == {"calls": first.subject}
        past = reading.history(session, subject="account:demo/acme", since=HOUR + timedelta(hours=1))
        assert [row.start_at for row in past] == [hours(3)[2], hours(3)[1]]
        assert reading.history(session, until=HOUR) == []
        assert [row.start_at for row in reading.history(session, until=HOUR + timedelta(minutes=1))] == [HOUR]


def test_no_lock_is_held_against_those_who_write_windows(keeper: Keeper) -> None:
    """Those who close, tell and write take windows in one order; beside one another nobody fails."""
    keeper.catalogue(HOURLY)
    failed: list[BaseException] = []

    def work(place: int) -> None:
        try:
            for turn in range(15):
                now = snapshots.server_time()
                rows = [
                    store.WindowRow(f"account:demo/{name}", "calls", start, start + timedelta(hours=1), 100, turn, turn,
                                    0, 0, turn, now)
                    for name in ("a", "b", "c")[:: 1 if place % 2 else -1]
                    for start in hours(4)
                ]  # fmt: skip
                with unit_of_work() as uow:
                    store.write_windows(uow, rows)
                closing.close_due(now=LATER)
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert len(keeper.closed()) == 12
