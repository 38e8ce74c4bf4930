"""Looking whether it helped: once, until it is settled, or for a while."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.health.core import State
from app.recovery.acting import Again, Done, Seen
from tests.recovery.actions.working import act, again, seen, work_of


def look(found: Seen, *, after: float = 0, **options: object) -> Done | Again:
    work = work_of(probe=lambda: found)
    return act(
        "probe", work_of(probe=lambda: found, now=work.now, began_at=work.now - timedelta(seconds=after)), **options
    )


@pytest.mark.parametrize(
    "found",
    [
        seen(True, State.UP, over=True),
        seen(True, State.DEGRADED, over=True),
        seen(True, State.UP, over=None),
        seen(True, State.DEGRADED, over=None),
    ],
)
def test_a_service_that_is_well_again_is_healthy(found: Seen):
    result = look(found)
    assert isinstance(result, Done)
    assert result.healthy is True
    assert "again" in result.text


def test_a_service_that_fails_is_still_down_at_once():
    result = look(seen(False, State.DOWN, over=False, text="connection refused"))
    assert isinstance(result, Done)
    assert (result.healthy, result.text) == (False, "still down: connection refused")


def test_a_first_answer_is_confirmed_before_it_counts():
    found = seen(True, State.DOWN, over=False)
    assert look(found) == Again(
        5, "it answers, and another answer is to confirm it: as found", {"ok": True, "state": "down", "looks": 1}
    )
    last = look(found, after=61)
    assert isinstance(last, Done)
    assert last.healthy is False


def test_trouble_that_is_not_over_is_not_over_because_the_service_answers():
    """A full memory is a warning of a service that is up."""
    result = look(seen(True, State.UP, over=False, text="memory is at 97 %"))
    assert isinstance(result, Done)
    assert (result.healthy, result.text) == (False, "not yet as it should be: memory is at 97 %")
    result = look(seen(True, State.DEGRADED, over=False))
    assert result.healthy is False
    assert result.text.startswith("still degraded")


def test_when_nothing_can_be_told_it_looks_again_until_its_patience_ends():
    found = seen(None, State.DOWN)
    assert isinstance(look(found), Again)
    assert isinstance(look(found, after=59), Again)
    last = look(found, after=60)
    assert isinstance(last, Done)
    assert (last.healthy, last.text) == (False, "nothing can be told after 1 min 0 s: as found")
    assert isinstance(look(found, after=20, patience=10), Done)


def test_a_failure_that_is_not_confirmed_is_looked_at_again():
    assert isinstance(look(seen(False, State.UP, over=True)), Again)


def test_a_watch_looks_again_and_again_until_its_time_is_over():
    found = seen(True, State.DEGRADED, over=False, text="latency is 900 ms")
    work = work_of(probe=lambda: found)
    looks = 0
    while isinstance(result := act("probe", work, for_seconds=900, every=30), Again):
        assert result.seconds == 30
        work, looks = again(work, result), looks + 1
    assert looks == 30
    assert result.healthy is False
    assert result.text == "still degraded after 15 min 0 s: latency is 900 ms"
    assert result.detail["looks"] == 31


def test_a_watch_ends_as_soon_as_it_is_well():
    found = [seen(True, State.UP, over=True), seen(False, State.DOWN, over=False)]
    work = work_of(probe=found.pop)
    first = act("probe", work, for_seconds=900)
    second = act("probe", again(work, first), for_seconds=900)
    assert isinstance(second, Done)
    assert second.healthy is True
