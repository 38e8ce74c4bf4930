"""Which modes are on, and what an operation shall do: decided without any server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admission.core import (
    HEALTH,
    Condition,
    Effect,
    Hold,
    ServiceNow,
    answers,
    listed,
    over_because,
    plan,
)
from app.catalog import Mode

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAMES = ("qdrant", "n8n", "shop")
DOWN = Condition.DOWN

times = st.integers(-600, 600).map(lambda seconds: NOW + timedelta(seconds=seconds))
services = st.dictionaries(
    st.sampled_from(NAMES), st.builds(ServiceNow, st.sampled_from(Condition), st.none() | times), max_size=3
)
some_names = st.lists(st.sampled_from(NAMES), unique=True).map(tuple)
operations = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True).map(tuple)


def mode(name: str = "m", down: tuple[str, ...] = ("qdrant",), *, delay: float = 0, **more: object) -> Mode:
    return Mode.model_validate(
        {"name": name, "while_down": list(down), "fall_back": ["a"], "delay_seconds": delay, **more}
    )


def hold(name: str = "m", *, since: datetime = NOW, holder: str = HEALTH, number: int = 0, **more: object) -> Hold:
    given = {"reason": f"{name} is on", "cause": ("qdrant",), "fall_back": (), "wait": (), "until": None, **more}
    return Hold(UUID(int=number), name, holder, holder, since=since, on_since=since, **given)  # type: ignore[arg-type]


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@st.composite
def modes(draw: st.DrawFn) -> dict[str, Mode]:
    names = draw(st.lists(st.sampled_from(["m", "n", "o"]), unique=True))
    return {
        name: mode(name, draw(some_names.filter(bool)), delay=draw(st.sampled_from([0, 60, 300]))) for name in names
    }


@st.composite
def holds(draw: st.DrawFn) -> list[Hold]:
    made = []
    for number, name in enumerate(draw(st.lists(st.sampled_from("mnop"), max_size=5))):
        wait = draw(operations)
        fall_back = tuple(operation for operation in draw(operations) if operation not in wait)
        made.append(hold(name, since=draw(times), number=number, wait=wait, fall_back=fall_back))
    return made


@given(modes(), services, st.dictionaries(st.sampled_from("mno"), some_names.filter(bool)))
def test_a_mode_is_held_exactly_while_one_of_its_services_counts(
    known: dict[str, Mode], found: dict[str, ServiceNow], held: dict[str, tuple[str, ...]]
) -> None:
    def counts(service: str, mode: Mode, *, was: bool) -> bool:
        now = found.get(service)
        if now is None or now.condition is Condition.NOT_DOWN:
            return False
        if was or now.condition is Condition.UNKNOWN:
            return was
        return mode.delay_seconds == 0 or now.since is None or (NOW - now.since).total_seconds() >= mode.delay_seconds

    made = plan(known, found, [hold(name, cause=cause) for name, cause in held.items()], NOW)
    for name, each in known.items():
        expected = tuple(s for s in each.while_down if counts(s, each, was=s in held.get(name, ())))
        assert (made.wanted[name].cause if name in made.wanted else ()) == expected
    assert set(made.wanted) <= set(known)
    assert made.look_at is None or made.look_at > NOW


@given(modes(), services)
def test_deciding_twice_decides_the_same(known: dict[str, Mode], found: dict[str, ServiceNow]) -> None:
    first = plan(known, found, [], NOW)
    now_held = [hold(name, cause=wanted.cause) for name, wanted in first.wanted.items()]
    assert plan(known, found, now_held, NOW) == first


@given(modes(), services)
def test_what_must_be_looked_at_later_is_on_then(known: dict[str, Mode], found: dict[str, ServiceNow]) -> None:
    first = plan(known, found, [], NOW)
    if first.look_at is not None:
        later = plan(known, found, [], first.look_at)
        assert {(n, c) for n, w in later.wanted.items() for c in w.cause} > {
            (n, c) for n, w in first.wanted.items() for c in w.cause
        }


@given(holds())
def test_waiting_beats_falling_back_and_every_answer_names_who_asks(found: list[Hold]) -> None:
    told = answers(found)
    assert set(told) == {operation for each in found for operation in (*each.fall_back, *each.wait)}
    for operation, answer in told.items():
        waiting = [each for each in found if operation in each.wait]
        asking = waiting or [each for each in found if operation in each.fall_back]
        assert answer.effect is (Effect.WAIT if waiting else Effect.FALL_BACK)
        assert set(answer.modes) == {each.name for each in asking}
        assert set(answer.reasons) == {each.reason for each in asking}
        assert answer.since == min(each.since for each in asking)


def test_a_delayed_mode_is_on_once_its_service_has_been_down_for_so_long() -> None:
    known = {"m": mode(delay=60)}
    young = plan(known, {"qdrant": ServiceNow(DOWN, ago(59))}, [], NOW)
    assert (young.wanted, young.look_at) == ({}, NOW + timedelta(seconds=1))
    old = plan(known, {"qdrant": ServiceNow(DOWN, ago(60))}, [], NOW)
    assert (list(old.wanted), old.look_at) == (["m"], None)


def test_a_clock_that_was_set_back_delays_no_mode_that_has_no_delay() -> None:
    assert plan({"m": mode()}, {"qdrant": ServiceNow(DOWN, NOW + timedelta(hours=1))}, [], NOW).wanted


def test_of_several_services_those_that_are_down_are_the_cause() -> None:
    known = {"m": mode(down=NAMES, description="carry on by hand")}
    down = ServiceNow(DOWN, ago(5))
    found = plan(known, {"qdrant": down, "n8n": ServiceNow(Condition.NOT_DOWN), "shop": down}, [], NOW)
    assert found.wanted["m"].cause == ("qdrant", "shop")
    assert found.wanted["m"].reason == "qdrant and shop are down: carry on by hand"


def test_what_people_and_playbooks_hold_says_nothing_of_health() -> None:
    unknown = {"qdrant": ServiceNow(Condition.UNKNOWN)}
    assert plan({"m": mode()}, unknown, [hold()], NOW).wanted
    assert not plan({"m": mode()}, unknown, [hold(holder="person:")], NOW).wanted


@pytest.mark.parametrize(
    ("cause", "present", "known", "said"),
    [
        (("qdrant",), NAMES, True, "qdrant is no longer down"),
        (("qdrant", "n8n"), NAMES, True, "qdrant and n8n are no longer down"),
        (("qdrant", "n8n"), ("n8n",), True, "n8n is no longer down; qdrant left the catalogue"),
        (("other",), (*NAMES, "other"), True, "other left the mode"),
        (("qdrant",), NAMES, False, "the mode left the catalogue"),
    ],
)
def test_the_end_says_why(cause: tuple[str, ...], present: tuple[str, ...], known: bool, said: str) -> None:
    modes_ = {"m": mode(down=NAMES)} if known else {}
    found = {name: ServiceNow(Condition.NOT_DOWN) for name in present}
    assert over_because(hold(cause=cause), modes_, found) == said


def test_names_are_listed_as_people_do() -> None:
    assert [listed(names) for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == ["", "a", "a and b", "a, b and c"]
