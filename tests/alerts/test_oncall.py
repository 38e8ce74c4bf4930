"""Whose turn it is: by rotation, through changes of the clocks, with overrides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from app.alerts.oncall import Swap, Turn, schedule, who
from app.catalog import Rotation

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def rotation(**values: Any) -> Rotation:
    given = {
        "name": "platform",
        "members": ["ann", "bob", "eve"],
        "start": "2026-03-02",
        "timezone": "Europe/Berlin",
        **values,
    }
    return Rotation.model_validate(given)


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


def swap(person: str, begin: str, until: str) -> Swap:
    return Swap(person, berlin(begin), berlin(until))


def test_members_take_turns_in_their_order_and_begin_again() -> None:
    mondays = [f"2026-{day}T12:00" for day in ("03-02", "03-09", "03-16", "03-23", "03-30")]
    assert [who(rotation(), berlin(monday)).person for monday in mondays] == ["ann", "bob", "eve", "ann", "bob"]


def test_the_turn_changes_at_the_handover() -> None:
    handover = berlin("2026-03-09T09:00")
    assert who(rotation(), handover - timedelta(microseconds=1)) == Turn("ann", berlin("2026-03-02T09:00"), handover)
    assert who(rotation(), handover) == Turn("bob", handover, berlin("2026-03-16T09:00"))


def test_before_the_start_it_is_the_first_members_turn() -> None:
    begin = berlin("2026-03-02T09:00")
    assert who(rotation(), begin - timedelta(days=1000)) == Turn("ann", None, begin)
    assert who(rotation(), begin - timedelta(seconds=1)) == Turn("ann", None, begin)


def test_turns_follow_the_clock_on_the_wall() -> None:
    turns = schedule(rotation(days=1), berlin("2026-03-28T12:00"), berlin("2026-03-31T08:00"))
    assert [turn.until - turn.since for turn in turns if turn.since] == [23 * HOUR, 24 * HOUR, 24 * HOUR]
    assert {turn.until.astimezone(BERLIN).hour for turn in turns} == {9}


def test_a_handover_that_the_clocks_skip_happens_at_the_end_of_the_gap() -> None:
    skipped = rotation(handover="02:30", days=1, start="2026-03-28")
    assert who(skipped, berlin("2026-03-29T01:59:59")).person == "ann"
    assert who(skipped, berlin("2026-03-29T03:00")) == Turn(
        "bob", berlin("2026-03-29T03:00"), berlin("2026-03-30T02:30")
    )


def test_a_handover_that_is_repeated_happens_the_first_time() -> None:
    repeated = rotation(handover="02:30", days=1, start="2026-10-24")
    assert who(repeated, berlin("2026-10-25T02:30", fold=0)).person == "bob"
    assert who(repeated, berlin("2026-10-25T02:30", fold=1)).person == "bob"
    assert who(repeated, berlin("2026-10-25T02:29")).person == "ann"


def test_an_override_takes_over_and_gives_back() -> None:
    stored = [swap("zoe", "2026-03-04T08:00", "2026-03-05T08:00")]
    turns = schedule(rotation(), berlin("2026-03-02T09:00"), berlin("2026-03-10T00:00"), stored)
    assert [(turn.person, turn.is_override) for turn in turns] == [
        ("ann", False),
        ("zoe", True),
        ("ann", False),
        ("bob", False),
    ]
    assert turns[1].since == turns[0].until == stored[0].begin
    assert turns[2].since == turns[1].until == stored[0].until


def test_of_overrides_the_last_one_counts_and_stored_ones_after_the_catalogues() -> None:
    given = {"person": "bob", "from": "2026-03-04T00:00:00Z", "until": "2026-03-06T00:00:00Z"}
    stored = [
        swap("zoe", "2026-03-05T00:00", "2026-03-05T12:00"),
        swap("tim", "2026-03-05T06:00", "2026-03-07T00:00"),
    ]
    turns = schedule(rotation(overrides=[given]), berlin("2026-03-03T12:00"), berlin("2026-03-08T12:00"), stored)
    assert [turn.person for turn in turns] == ["ann", "bob", "zoe", "tim", "ann"]


def test_an_override_inside_another_that_counts_more_changes_nothing() -> None:
    stored = [
        swap("zoe", "2026-03-04T06:00", "2026-03-04T07:00"),
        swap("tim", "2026-03-04T00:00", "2026-03-05T00:00"),
    ]
    assert who(rotation(), berlin("2026-03-04T06:30"), stored) == Turn(
        "tim", stored[1].begin, stored[1].until, is_override=True
    )


def test_a_single_member_is_always_on_call() -> None:
    turns = schedule(rotation(members=["ann"], days=30), berlin("2026-01-01T00:00"), berlin("2027-01-01T00:00"))
    assert {turn.person for turn in turns} == {"ann"}


WEEKS = (datetime.fromisoformat("2026-02-25"), datetime.fromisoformat("2026-04-05"))
MOMENTS = st.datetimes(*WEEKS, timezones=st.just(UTC))


@st.composite
def swaps(draw: st.DrawFn) -> list[Swap]:
    found = []
    for person in draw(st.lists(st.sampled_from(["ann", "zoe", "tim"]), max_size=4)):
        begin = draw(MOMENTS)
        found.append(Swap(person, begin, begin + draw(st.timedeltas(timedelta(seconds=1), timedelta(days=9)))))
    return found


@given(swaps(), MOMENTS, st.timedeltas(HOUR, timedelta(days=20)), st.integers(1, 9), st.times())
def test_a_schedule_has_no_gaps_and_agrees_with_every_moment(
    stored: list[Swap], start: datetime, length: timedelta, days: int, handover: object
) -> None:
    turning = rotation(days=days, handover=handover)
    turns = schedule(turning, start, start + length, stored)
    assert [turn.until for turn in turns[:-1]] == [turn.since for turn in turns[1:]]
    assert turns[-1].until >= start + length
    for turn in turns:
        inside = [turn.until - timedelta(microseconds=1)]
        inside += [turn.since, turn.since + (turn.until - turn.since) / 2] if turn.since is not None else []
        assert {who(turning, at, stored) for at in inside} == {turn}
    active = [swap for swap in stored if swap.begin <= start < swap.until]
    assert (turns[0].person if active else None) == (active[-1].person if active else None)
    assert turns[0].is_override is bool(active)
