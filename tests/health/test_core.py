"""The state machine, against examples and against a simple model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.health.core import Kind, Policy, Reason, ServiceState, State, decide, without_future
from app.health.results import ProbeError, ProbeResult

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy()
REFUSED = ProbeError("refused", "connection refused")


def result(ok: bool, second: float, *, degraded: str | None = None, took: float = 0.1) -> ProbeResult:
    started = START + timedelta(seconds=second)
    finished = started + timedelta(seconds=took)
    return ProbeResult(
        ok=ok, started_at=started, finished_at=finished, error=None if ok else REFUSED, degraded=degraded
    )


def run(marks: str, *, state: ServiceState | None = None, policy: Policy = POLICY, step: float = 5):
    """Apply one result per mark (u up, g degraded, d failed); all decisions."""
    decisions = []
    current = state or ServiceState()
    for index, mark in enumerate(marks):
        probe = result(mark != "d", (index + 1) * step, degraded="slow" if mark == "g" else None)
        decision = decide(current, probe, policy, probe.finished_at)
        decisions.append(decision)
        current = decision.state
    return decisions


def test_unknown_becomes_up_at_the_first_success_and_tells_nobody():
    (decision,) = run("u")
    assert decision.state.state is State.UP
    assert decision.reason is Reason.FIRST_SUCCESS
    assert decision.announce == ()


def test_flips_only_after_three_failures_in_a_row():
    decisions = run("uddudd" + "d")
    assert [d.flip is not None for d in decisions] == [True, False, False, False, False, False, True]
    assert decisions[-1].state.state is State.DOWN
    assert decisions[-1].announce == (Kind.DOWN,)


def test_is_up_again_after_two_successes_in_a_row():
    decisions = run("dddudu" + "u")
    assert [d.state.state for d in decisions[2:]] == [State.DOWN] * 4 + [State.UP]
    assert decisions[-1].announce == (Kind.UP,)


def test_a_fall_began_with_its_first_failure_and_a_recovery_with_its_first_success():
    fall = run("uddd")[-1].flip
    assert fall.began_at == START + timedelta(seconds=10)
    assert fall.detection == timedelta(seconds=10.1)
    recovery = run("ddduu")[-1].flip
    assert recovery.began_at == START + timedelta(seconds=20)
    assert recovery.detection is None


def test_confirm_probes_come_every_five_seconds_until_the_fall_is_proved():
    waits = [(d.next_check_at - START).total_seconds() - 5 * (i + 1) for i, d in enumerate(run("uddddu" + "u"))]
    assert waits == [60, 5, 5, 60, 60, 5, 60]


def test_a_slow_probe_does_not_ask_for_the_past():
    late = result(False, 5, took=30)
    decision = decide(ServiceState(), late, POLICY, late.finished_at)
    assert decision.next_check_at == late.finished_at


def test_a_short_interval_is_never_stretched_by_the_confirm_interval():
    policy = Policy(interval=timedelta(seconds=2))
    (decision,) = run("d", policy=policy)
    assert decision.next_check_at == START + timedelta(seconds=7)


def test_a_result_older_than_the_last_one_changes_nothing():
    state = run("u")[-1].state
    decision = decide(state, result(False, 4), POLICY, START)
    assert decision.ignored
    assert decision.state is state
    assert decide(state, result(False, 5), POLICY, START).ignored


def test_a_degraded_reading_degrades_at_once_and_is_told_with_its_end():
    decisions = run("ugu")
    assert [d.state.state for d in decisions] == [State.UP, State.DEGRADED, State.UP]
    assert [d.announce for d in decisions] == [(), (Kind.DEGRADED,), (Kind.RECOVERED,)]
    assert decisions[1].state.since == START + timedelta(seconds=10)


def test_a_service_that_comes_back_degraded_is_told_as_up_and_as_degraded():
    assert run("dddgg")[-1].announce == (Kind.UP, Kind.DEGRADED)


def test_while_flapping_single_flips_are_not_told_but_the_state_stays_true():
    decisions = run("u" + "ug" * 15)
    started = next(i for i, d in enumerate(decisions) if Kind.FLAPPING_STARTED in d.announce)
    assert all(d.announce == () for d in decisions[started + 1 :])
    assert {d.state.state for d in decisions[started + 1 :]} == {State.UP, State.DEGRADED}
    assert any(d.flip for d in decisions[started + 1 :])


def test_when_flapping_stops_the_settled_state_is_told_if_it_is_another():
    flapping = run("u" + "ug" * 15)
    settled = run("u" * 25, state=flapping[-1].state, step=1000)
    stopped = next(d for d in settled if Kind.FLAPPING_STOPPED in d.announce)
    told_before = flapping[-1].state.announced
    expected = () if told_before is State.UP else (Kind.RECOVERED,)
    assert stopped.announce == (Kind.FLAPPING_STOPPED, *expected)
    assert not stopped.state.flapping
    assert all(d.announce == () for d in settled if d is not stopped)


def test_a_flapping_service_that_goes_on_failing_is_told_as_down_without_waiting_for_the_window():
    flapping = run("ug" * 12)[-1].state
    assert flapping.flapping
    decisions = run("d" * 8, state=flapping, step=1000)
    told = [d.announce for d in decisions if d.announce]
    assert told == [(Kind.FLAPPING_STOPPED, Kind.DOWN)]
    assert decisions[5].announce == told[0]


MARKS = st.text("udg", max_size=80)


@given(MARKS)
def test_the_state_is_what_counting_backwards_says(marks: str):
    """The model: walk the marks once, remembering only the current run of failures and successes."""
    state, failures, successes = "unknown", 0, 0
    for mark, decision in zip(marks, run(marks), strict=True):
        failures, successes = (failures + 1, 0) if mark == "d" else (0, successes + 1)
        good = "degraded" if mark == "g" else "up"
        if (state == "down" and successes >= 2) or (state != "down" and successes >= 1):
            state = good
        elif failures >= 3:
            state = "down"
        assert decision.state.state == state
        assert (decision.state.failures, decision.state.successes) == (failures, successes)


@given(MARKS)
def test_every_flip_is_announced_exactly_once_unless_it_flaps(marks: str):
    for decision in run(marks):
        if not decision.state.flapping:
            assert decision.state.announced is decision.state.state
        else:
            assert not {Kind.UP, Kind.DOWN, Kind.DEGRADED, Kind.RECOVERED} & set(decision.announce)


@given(MARKS)
def test_flapping_starts_and_stops_in_turn(marks: str):
    turns = [
        kind
        for decision in run(marks * 3)
        for kind in decision.announce
        if kind in (Kind.FLAPPING_STARTED, Kind.FLAPPING_STOPPED)
    ]
    assert turns[::2] == [Kind.FLAPPING_STARTED] * len(turns[::2])
    assert turns[1::2] == [Kind.FLAPPING_STOPPED] * len(turns[1::2])


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60))
def test_swapped_and_repeated_results_never_move_the_state_backwards(arrivals: list[tuple[int, bool]]):
    state = ServiceState()
    newest = -1
    for second, ok in arrivals:
        decision = decide(state, result(ok, second), POLICY, START)
        assert decision.ignored == (second <= newest)
        newest = max(newest, second)
        state = decision.state
    assert (state.last_started_at is None) == (not arrivals)


@given(MARKS, st.integers(1, 5), st.integers(1, 5))
def test_a_service_is_never_down_with_fewer_failures_than_asked(marks: str, failures: int, successes: int):
    policy = replace(POLICY, failures_to_down=failures, successes_to_up=successes)
    for decision in run(marks, policy=policy):
        if decision.flip is not None and decision.flip.after is State.DOWN:
            assert decision.state.failures == failures
        if decision.flip is not None and decision.flip.before is State.DOWN:
            assert decision.state.successes == successes


def test_a_last_result_from_the_future_does_not_silence_those_that_follow():
    state = ServiceState(state=State.UP, last_started_at=START + timedelta(hours=1))
    assert without_future(state, START).last_started_at is None
    near = ServiceState(state=State.UP, last_started_at=START + timedelta(seconds=59))
    assert without_future(near, START) is near
