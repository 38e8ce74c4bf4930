"""Somebody takes over a rotation: checked, stored, planned with, withdrawn, and on the timeline."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app import signals
from app.alerts import overrides
from app.alerts.overrides import Override
from app.catalog import Contact, Person, Rotation, Team, Telling
from app.errors import Invalid, NotFound
from app.infra.db import read_only, unit_of_work

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def person(name: str) -> Person:
    return Person(name=name, contacts=(Contact(channel="ops"),))


TELLING = Telling(
    people={name: person(name) for name in ("ann", "bob", "cid")},
    rotations={
        "primary": Rotation(name="primary", members=("ann", "bob"), start=date(2026, 3, 2), handover=time(9), days=7)
    },
    teams={"platform": Team(name="platform", rotation="primary", lead="cid"), "ml": Team(name="ml", lead="bob")},
)


def create(**given: Any) -> Override:
    usual: dict[str, Any] = {
        "rotation": "primary",
        "person": "bob",
        "starts_at": NOW,
        "ends_at": NOW + 2 * HOUR,
        "by": "cid",
        "now": NOW,
    }
    with unit_of_work() as uow:
        return overrides.create(uow, TELLING, **(usual | given))


def plan(now: datetime, days: float = 14) -> dict[str, Any]:
    with read_only() as session:
        return overrides.plan(TELLING, overrides.current(session, now), now, days=days)


def test_who_takes_over_is_on_call_meanwhile_and_the_others_are_before_and_after() -> None:
    create(starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR, reason="dentist")
    on_call = [plan(NOW + hours * HOUR)["rotations"]["primary"]["now"]["person"] for hours in (0, 1, 2, 3)]
    assert on_call == ["ann", "bob", "bob", "ann"]
    shown = plan(NOW)["rotations"]["primary"]
    assert (shown["now"]["until"], shown["next"]["person"], shown["next"]["override"]) == (
        "2026-03-04T13:00:00.000Z",
        "bob",
        True,
    )
    assert [turn["person"] for turn in shown["turns"]] == ["ann", "bob", "ann", "bob", "ann"]


def test_teams_show_whose_turn_it_is() -> None:
    create(person="cid")
    teams = plan(NOW)["teams"]
    assert teams["platform"] == {"rotation": "primary", "on_call": "cid", "next": "ann", "lead": "cid"}
    assert teams["ml"] == {"rotation": None, "on_call": None, "next": None, "lead": "bob"}


def test_of_overlapping_ones_the_one_made_last_counts() -> None:
    create(person="cid", now=NOW)
    create(person="bob", now=NOW + timedelta(seconds=1))
    assert plan(NOW)["rotations"]["primary"]["now"]["person"] == "bob"


def test_what_is_over_is_not_listed_and_what_is_withdrawn_is_as_if_it_never_was() -> None:
    first = create(ends_at=NOW + HOUR)
    second = create(ends_at=NOW + 5 * HOUR, now=NOW + timedelta(seconds=1))
    with read_only() as session:
        assert [item.id for item in overrides.list_overrides(session, NOW)] == [first.id, second.id]
        assert [item.id for item in overrides.list_overrides(session, NOW + HOUR)] == [second.id]
        assert overrides.list_overrides(session, NOW, rotation="other") == []
    with unit_of_work() as uow:
        assert overrides.remove(uow, second.id, by="ann") == second
    assert plan(NOW + 2 * HOUR)["rotations"]["primary"]["now"]["person"] == "ann"
    with unit_of_work() as uow, pytest.raises(NotFound):
        overrides.remove(uow, second.id, by="ann")


def test_changes_of_who_is_told_are_on_the_timeline() -> None:
    made = create(reason="dentist")
    with unit_of_work() as uow:
        overrides.remove(uow, made.id, by="ann")
    with read_only() as session:
        removed, created = signals.timeline(session, kind="on_call.*")
    assert (created.kind, created.subject) == ("on_call.override_created", "rotation:primary")
    assert (created.facts["created_by"], created.facts["reason"]) == ("cid", "dentist")
    assert (removed.kind, removed.facts["removed_by"]) == ("on_call.override_removed", "ann")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"rotation": "primry"}, "rotation"),
        ({"person": "eve"}, "person"),
        ({"ends_at": NOW}, "ends_at"),
        ({"starts_at": NOW - 2 * HOUR, "ends_at": NOW - HOUR}, "ends_at"),
        ({"ends_at": NOW + timedelta(days=400)}, "ends_at"),
        ({"by": " "}, "by"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        create(**given)
    assert [problem.field for problem in refused.value.problems] == [field]


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(Invalid, match='did you mean "primary"'):
        create(rotation="primry")


def test_an_override_of_a_rotation_that_left_the_catalogue_disturbs_nobody() -> None:
    with unit_of_work() as uow:
        uow.execute(
            "INSERT INTO on_call_overrides (id, rotation, person, starts_at, ends_at, created_by)"
            " VALUES (:id, 'gone', 'eve', :now, :now + interval '1 h', 'x')",
            id=uuid4(),
            now=NOW,
        )
    assert set(plan(NOW)["rotations"]) == {"primary"}
