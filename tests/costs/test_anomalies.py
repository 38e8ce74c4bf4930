"""An hour is a finding when it is far beyond its like and real money, and not otherwise."""

from __future__ import annotations

from app.costs.anomalies import Reading, Usual, is_found, read, usual
from app.costs.causes import Figures

DOLLAR = 1_000_000


def hour(dollars: float, calls: int = 100) -> Figures:
    return Figures(calls, calls * 1000, dollars * DOLLAR)


WEEKS = [hour(1.0), hour(1.1), hour(0.9), hour(1.0)]


def reading(dollars: float, elapsed: float = 1.0, known: Usual | None = None) -> Reading:
    return read(known or usual(WEEKS), hour(dollars), elapsed)


def found(here: Reading, before: Reading | None = None, *, is_on: bool = False) -> bool:
    return is_found(here, before, of_skill=None, is_on=is_on)


def test_an_hour_like_the_others_is_none() -> None:
    assert not found(reading(1.3), reading(1.3))


def test_an_hour_that_is_very_far_is_one_by_itself() -> None:
    assert found(reading(3.0))


def test_two_hours_in_a_row_need_not_be_as_far() -> None:
    far = reading(2.05)
    assert not found(far, reading(1.0))
    assert found(far, far)


def test_a_finding_lasts_until_an_hour_is_near_again() -> None:
    assert found(reading(2.01), is_on=True)
    assert not found(reading(1.5), is_on=True)


def test_a_loop_is_found_within_the_running_hour_but_not_by_its_first_calls() -> None:
    assert not found(reading(3.0, elapsed=0.1))
    assert found(reading(3.0, elapsed=0.2))


def test_a_burst_that_is_less_than_a_dollar_is_not_extrapolated() -> None:
    assert not found(reading(0.9, elapsed=0.2))


def test_cents_do_not_alarm_however_far_they_are() -> None:
    cents = usual([hour(0.001)] * 4)
    assert not found(reading(0.9, known=cents))


def test_weeks_that_happen_to_agree_are_no_scatter_of_nothing() -> None:
    assert not found(reading(120, known=usual([hour(100)] * 4)))


def test_few_calls_scatter_by_themselves() -> None:
    few = usual([hour(4, calls=2)] * 4)
    assert not found(reading(12, known=few))


def test_one_wild_week_does_not_hide_another() -> None:
    assert found(reading(30, known=usual([hour(1), hour(40), hour(1), hour(1)])))


def test_a_young_place_is_compared_with_its_days_and_with_its_hours() -> None:
    nothing = Figures()
    by_days = usual([nothing] * 4, [nothing, nothing, hour(2), hour(2), hour(2.2), hour(1.9), hour(2)])
    assert by_days.figures.cost == 2 * DOLLAR
    assert by_days.most == 2.2 * DOLLAR
    assert not found(reading(4, known=by_days))
    by_hours = usual([nothing] * 4, [nothing] * 7, [nothing] * 19 + [hour(2)] * 5)
    assert by_hours.figures.cost == 2 * DOLLAR


def test_a_place_that_was_never_used_is_a_finding_when_its_skill_pays_more() -> None:
    new = usual([], [], [])
    here = reading(5, known=new)
    assert is_found(here, None, of_skill=reading(8))
    assert not is_found(here, None, of_skill=reading(1.2))
