"""When a group is told, told again, escalated and closed; the life of a whole group under Hypothesis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.alerts.core import State
from app.alerts.groups import LOOK_AGAIN, Decision, Group, LadderPlan, Member, StepPlan, Timing, Why, decide
from app.catalog import BusinessHours

START = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
TIMING = Timing(timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=4))
AT_ONCE = Timing(timedelta(), timedelta(seconds=30), timedelta(hours=1))
LADDER = LadderPlan(
    "critical",
    (StepPlan(timedelta(minutes=30), ("person:lead",)), StepPlan(timedelta(minutes=30), ("person:head",), repeat=2)),
)


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def member(state: State = State.FIRING, **changes: object) -> Member:
    values: dict[str, object] = {"episode_id": uuid4(), "state": state, "severity": "warning", "added_at": START}
    return Member(**values | changes)  # type: ignore[arg-type]


def group(timing: Timing = AT_ONCE, **changes: object) -> Group:
    values: dict[str, object] = {"opened_at": START, "timing": timing, "ladder": LADDER}
    return Group(**values | changes)  # type: ignore[arg-type]


def told(decision: Decision, members: list[Member]) -> list[Member]:
    """The members once what was decided is told."""
    begun = {episode for tell in decision.tell for episode in tell.begun}
    ended = {episode for tell in decision.tell for episode in tell.ended}
    acted = {episode for tell in decision.tell for episode in tell.acted}
    return [
        replace(
            item,
            told=item.told or item.episode_id in begun,
            end_told=item.end_told or item.episode_id in ended,
            acted=item.acted and item.episode_id not in acted,
        )
        for item in members
    ]


def why(decision: Decision) -> list[Why]:
    return [tell.why for tell in decision.tell]


def test_a_group_waits_for_more_alerts_before_it_speaks() -> None:
    waiting = decide(group(TIMING), [member()], START)
    assert (why(waiting), waiting.due_at) == ([], START + timedelta(seconds=30))
    one, two = member(), member()
    first = decide(group(TIMING), [one, two], after(0.5))
    assert why(first) == [Why.FIRST]
    assert set(first.tell[0].begun) == {one.episode_id, two.episode_id}


def test_a_critical_group_without_a_wait_speaks_at_once_even_after_a_restart() -> None:
    critical = member(severity="critical")
    assert why(decide(group(), [critical], START, hold_until=after(0.5))) == [Why.FIRST]
    held = decide(group(), [member()], START, hold_until=after(0.5))
    assert (why(held), held.due_at) == ([], after(0.5))


def test_what_ends_before_it_was_told_is_never_told() -> None:
    decision = decide(group(TIMING), [member(State.RESOLVED)], after(0.2))
    assert (why(decision), decision.closed) == ([], True)


def test_more_alerts_are_told_together_after_the_interval() -> None:
    old, new = member(told=True), member()
    known = group(TIMING, told_at=START, told_count=1, waiting_since=START)
    early = decide(known, [old, new], after(4))
    assert (why(early), early.due_at) == ([], after(5))
    late = decide(known, [old, new], after(5))
    assert (why(late), late.tell[0].begun, late.tell[0].reason) == ([Why.ADDED], (new.episode_id,), "added-2")


def test_an_alert_that_comes_back_within_the_interval_is_told_again() -> None:
    """A flapping alert must not be told once only because its group was told a moment ago."""
    gone, back = member(State.RESOLVED, told=True), member()
    known = group(TIMING, told_at=START, told_count=1, waiting_since=START)
    decision = decide(known, [gone, back], after(5))
    assert why(decision) == [Why.ADDED]
    assert decision.tell[0].begun == (back.episode_id,)
    assert decision.tell[0].ended == (gone.episode_id,)


def test_the_end_of_all_is_told_at_once_to_everybody_who_was_told_and_closes_the_group() -> None:
    ended = member(State.RESOLVED, told=True)
    decision = decide(group(told_at=START, told_count=3, step=1, waiting_since=START), [ended], after(0.1))
    assert (why(decision), decision.tell[0].notify, decision.closed) == ([Why.RESOLVED], (), True)


def test_nobody_answers_and_the_ladder_is_climbed_to_its_end() -> None:
    members = [member(severity="critical")]
    now, state, seen = START, group(), []
    while now < after(600):
        decision = decide(state, members, now)
        members, state = told(decision, members), decision.group
        seen += [(tell.why, tell.step, (now - START) // timedelta(minutes=1)) for tell in decision.tell]
        assert decision.due_at is not None
        now = max(decision.due_at, now + timedelta(seconds=1))
    assert seen[:5] == [
        (Why.FIRST, 0, 0),
        (Why.ESCALATED, 1, 30),
        (Why.ESCALATED, 2, 60),
        (Why.REPEATED, 2, 60),
        (Why.REMINDED, 2, 90),
    ]
    assert [item[0] for item in seen].count(Why.REMINDED) == 2


def test_an_answer_stops_the_ladder_and_is_told_once() -> None:
    state = group(told_at=START, told_count=1, waiting_since=START)
    answered = [member(State.ACKNOWLEDGED, told=True)]
    first = decide(state, answered, after(10))
    assert (why(first), first.group.acknowledged, first.group.waiting_since) == ([Why.ACKNOWLEDGED], True, None)
    later = decide(first.group, answered, after(300))
    assert why(later) == []


def test_an_answer_that_runs_out_starts_the_ladder_again() -> None:
    state = group(told_at=START, told_count=2, acknowledged=True)
    decision = decide(state, [member(told=True)], after(240))
    assert why(decision) == [Why.AGAIN]
    assert (decision.group.waiting_since, decision.group.step, decision.group.acknowledged) == (after(240), 0, False)


def test_a_new_alert_in_an_answered_group_is_told_and_wants_an_answer_of_its_own() -> None:
    state = group(told_at=START, told_count=2, acknowledged=True)
    decision = decide(state, [member(State.ACKNOWLEDGED, told=True), member()], after(10))
    assert why(decision) == [Why.ADDED]
    assert (decision.group.acknowledged, decision.group.waiting_since) == (False, after(10))


def test_what_was_done_is_told_at_once_and_changes_neither_ladder_nor_times() -> None:
    state = group(TIMING, told_at=START, told_count=1, waiting_since=START)
    done = member(told=True, acted=True)
    decision = decide(state, [done, member()], after(1))
    assert why(decision) == [Why.ACTED]
    assert (decision.tell[0].notify, decision.tell[0].begun, decision.tell[0].acted) == ((), (), (done.episode_id,))
    assert decision.group == replace(state, told_count=2)
    assert decision.due_at == after(5)


def test_what_was_done_is_part_of_a_message_that_comes_anyway_unless_others_were_told_by_the_ladder() -> None:
    state = group(told_at=START, told_count=1, waiting_since=START)
    members = [member(told=True, acted=True), member()]
    decision = decide(state, members, after(1))
    assert (why(decision), decision.tell[0].acted) == ([Why.ADDED], (members[0].episode_id,))
    decision = decide(replace(state, step=1), members, after(1))
    assert (why(decision), decision.tell[0].acted) == ([Why.ADDED], ())
    assert why(decide(decision.group, told(decision, members), after(1))) == [Why.ACTED]


def test_maintenance_cancels_a_running_ladder_and_its_end_tells_again() -> None:
    state = group(told_at=START, told_count=2, step=1, waiting_since=START)
    muted = decide(state, [member(told=True, muted=True)], after(31))
    assert (why(muted), muted.group.waiting_since, muted.group.step) == ([], None, 0)
    assert muted.due_at == after(31) + LOOK_AGAIN
    back = decide(muted.group, [member(told=True)], after(90))
    assert why(back) == [Why.AGAIN]


def test_a_muted_alert_is_not_told_while_its_group_is() -> None:
    loud, silent = member(), member(muted=True)
    decision = decide(group(), [loud, silent], START)
    assert decision.tell[0].begun == (loud.episode_id,)
    assert decision.due_at is not None
    assert decision.due_at <= START + LOOK_AGAIN


def test_a_cooldown_delays_the_first_message_only() -> None:
    waiting = decide(group(), [member(not_before=after(10))], START)
    assert (why(waiting), waiting.due_at) == ([], after(10))
    assert why(decide(group(), [member(not_before=after(10))], after(10))) == [Why.FIRST]
    known = group(told_at=START, told_count=1, waiting_since=START)
    assert decide(known, [member(told=True, not_before=after(100))], after(31)).tell[0].why is Why.ESCALATED


def test_an_alert_told_late_does_not_drag_the_others_along() -> None:
    ready, cooling = member(), member(not_before=after(10))
    first = decide(group(), [ready, cooling], START)
    assert first.tell[0].begun == (ready.episode_id,)
    assert first.due_at == after(10)


def test_a_ladder_in_business_hours_waits_over_the_night() -> None:
    hours = BusinessHours.model_validate({"from": time(9), "to": time(17), "holidays": [date(2026, 3, 3)]})
    ladder = LadderPlan("warning", (StepPlan(timedelta(hours=4), ("team-lead",)),), hours)
    state = group(
        Timing(timedelta(), timedelta(minutes=5), timedelta(days=30)),
        ladder=ladder, told_at=after(240), told_count=1, waiting_since=after(240),
    )  # fmt: skip
    decision = decide(state, [member(told=True)], after(241))
    # Told on Monday at 16:00; Tuesday is a holiday; three hours are left on Wednesday morning.
    assert decision.due_at == datetime(2026, 3, 4, 12, tzinfo=UTC)


STATES = st.sampled_from([State.FIRING, State.ACKNOWLEDGED, State.RESOLVED])


@given(data=st.data())
@hypothesis_settings(max_examples=150, deadline=None)
def test_whatever_happens_each_thing_is_told_once_and_the_end_is_told_to_who_knew(data: st.DataObject) -> None:
    now, state = START, group(data.draw(st.sampled_from([AT_ONCE, TIMING])))
    members: list[Member] = [member()]
    reasons: list[tuple[int, str]] = []
    begun: list[UUID] = []
    decision = Decision(state)
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["wait", "wait", "change", "add", "mute", "act"]))
        if action == "change":
            place = data.draw(st.integers(0, len(members) - 1))
            if members[place].state is not State.RESOLVED:
                members[place] = replace(members[place], state=data.draw(STATES))
        elif action == "add":
            members.append(member(severity=data.draw(st.sampled_from(["warning", "critical"]))))
        elif action == "mute":
            place = data.draw(st.integers(0, len(members) - 1))
            members[place] = replace(members[place], muted=not members[place].muted)
        elif action == "act":
            members = [replace(item, acted=item.told and item.state is not State.RESOLVED) for item in members]
        else:
            now += timedelta(minutes=data.draw(st.integers(0, 120)))
        decision = decide(state, members, now)
        assert len(decision.tell) <= 1
        reasons += [(tell.step, tell.reason) for tell in decision.tell]
        begun += [episode for tell in decision.tell for episode in tell.begun]
        loud = {item.episode_id for item in members if not item.muted and item.state is not State.RESOLVED}
        assert all(episode in loud for tell in decision.tell for episode in tell.begun)
        assert all(episode in loud for tell in decision.tell for episode in tell.acted)
        if why(decision) == [Why.ACTED]:
            assert decision.group == replace(state, told_count=state.told_count + 1)
        members, state = told(decision, members), decision.group
        if decision.closed:
            assert all(item.state is State.RESOLVED for item in members)
            assert (Why.RESOLVED in [reason for _, reason in reasons]) == bool(begun)
            break
        if decision.due_at is not None:
            assert decision.due_at >= now
            assert decision.tell or decision.due_at > now, "it has nothing to say, and asks again at once"
    assert len(reasons) == len(set(reasons))
    assert len(begun) == len(set(begun))
    unsaid = any(item.acted and not item.muted and item.state is not State.RESOLVED for item in members)
    if not decision.closed and (unsaid or any(item.state is State.FIRING for item in members)):
        assert decision.due_at is not None, "somebody still waits, and nobody looks again"
