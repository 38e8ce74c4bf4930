"""Somebody takes over a rotation for a while: stored, listed, withdrawn, with who did it; and the plan that makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock, signals
from app.alerts import oncall
from app.alerts.oncall import Swap, Turn
from app.catalog import Rotation, Telling, did_you_mean
from app.errors import Invalid, NotFound, Problem
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.text import storable

LONGEST = timedelta(days=366)
LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Override:
    """One stored override. `ends_at` is the first moment after it."""

    id: UUID
    rotation: str
    person: str
    starts_at: datetime
    ends_at: datetime
    created_by: str
    reason: str
    created_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "id": str(self.id),
            "rotation": self.rotation,
            "person": self.person,
            "starts_at": clock.iso(self.starts_at),
            "ends_at": clock.iso(self.ends_at),
            "created_by": self.created_by,
            "reason": self.reason,
            "created_at": clock.iso(self.created_at),
        }


def create(
    uow: UnitOfWork,
    telling: Telling,
    *,
    rotation: str,
    person: str,
    starts_at: datetime,
    ends_at: datetime,
    by: str,
    now: datetime,
    reason: str = "",
) -> Override:
    """Let `person` answer for `rotation` meanwhile; of overlapping ones the one made last counts. Raises Invalid."""
    who, why = storable(by).strip(), storable(reason).strip()
    problems = [*_names(telling, rotation, person), *_times(starts_at, ends_at, now)]
    if not 0 < len(who) <= LONGEST_TEXT:
        problems.append(Problem("by", f"must have 1 to {LONGEST_TEXT} characters: who does this"))
    if len(why) > LONGEST_TEXT:
        problems.append(Problem("reason", f"must have at most {LONGEST_TEXT} characters"))
    if problems:
        raise Invalid(problems, subject="override")
    made = Override(ids.uuid7(now), rotation, person, starts_at, ends_at, who, why, now)
    uow.execute(
        "INSERT INTO on_call_overrides (id, rotation, person, starts_at, ends_at, created_by, reason, created_at)"
        " VALUES (:id, :rotation, :person, :starts_at, :ends_at, :by, :reason, :now)",
        id=made.id,
        rotation=rotation,
        person=person,
        starts_at=starts_at,
        ends_at=ends_at,
        by=who,
        reason=why,
        now=now,
    )
    signals.record(uow, "on_call.override_created", f"rotation:{rotation}", facts=made.as_dict())
    return made


def remove(uow: UnitOfWork, override_id: UUID, *, by: str) -> Override:
    """Withdraw one; what it changed is as before from now on. Raises NotFound."""
    row = uow.execute("DELETE FROM on_call_overrides WHERE id = :id RETURNING *", id=override_id).one_or_none()
    if row is None:
        raise NotFound(f"no override has the id {override_id}")
    gone = Override(**row._asdict())
    facts = gone.as_dict() | {"removed_by": by}
    signals.record(uow, "on_call.override_removed", f"rotation:{gone.rotation}", facts=facts)
    return gone


def list_overrides(session: Session, now: datetime, *, rotation: str | None = None) -> list[Override]:
    """Those that are not over yet, in the order in which they were made: of overlapping ones the last counts."""
    rows = session.execute(
        text(
            "SELECT * FROM on_call_overrides WHERE ends_at > :now"
            " AND (CAST(:rotation AS text) IS NULL OR rotation = :rotation) ORDER BY created_at, id"
        ),
        {"now": now, "rotation": rotation},
    )
    return [Override(**row._asdict()) for row in rows]


def current(session: Session, now: datetime) -> dict[str, list[Swap]]:
    """By rotation: what is stored and not over yet, as `oncall` takes it."""
    found: dict[str, list[Swap]] = {}
    for override in list_overrides(session, now):
        found.setdefault(override.rotation, []).append(Swap(override.person, override.starts_at, override.ends_at))
    return found


def plan(telling: Telling, swaps: Mapping[str, Sequence[Swap]], now: datetime, *, days: float) -> dict[str, Any]:
    """Who is on call, who is next, and every turn of the coming days, by rotation; and who that makes for each team."""
    rotations = {
        name: _planned(rotation, swaps.get(name, ()), now, days) for name, rotation in sorted(telling.rotations.items())
    }
    teams = {
        name: {
            "rotation": team.rotation,
            "on_call": rotations[team.rotation]["now"]["person"] if team.rotation in rotations else None,
            "next": rotations[team.rotation]["next"]["person"] if team.rotation in rotations else None,
            "lead": team.lead,
        }
        for name, team in sorted(telling.teams.items())
    }
    return {"at": clock.iso(now), "rotations": rotations, "teams": teams}


def _planned(rotation: Rotation, swaps: Sequence[Swap], now: datetime, days: float) -> dict[str, Any]:
    turn = oncall.who(rotation, now, swaps)
    return {
        "timezone": rotation.timezone,
        "now": _shown(turn),
        "next": _shown(oncall.who(rotation, turn.until, swaps)),
        "turns": [_shown(found) for found in oncall.schedule(rotation, now, now + timedelta(days=days), swaps)],
    }


def _shown(turn: Turn) -> dict[str, Any]:
    return {
        "person": turn.person,
        "since": None if turn.since is None else clock.iso(turn.since),
        "until": clock.iso(turn.until),
        "override": turn.is_override,
    }


def _names(telling: Telling, rotation: str, person: str) -> Iterator[Problem]:
    if rotation not in telling.rotations:
        yield Problem("rotation", f"there is no rotation of this name{did_you_mean(rotation, telling.rotations)}")
    if person not in telling.people:
        yield Problem("person", f"there is no person of this name{did_you_mean(person, telling.people)}")


def _times(starts_at: datetime, ends_at: datetime, now: datetime) -> Iterator[Problem]:
    if ends_at <= starts_at:
        yield Problem("ends_at", "must be after starts_at")
    elif ends_at <= now:
        yield Problem("ends_at", "is past")
    elif ends_at - starts_at > LONGEST:
        yield Problem("ends_at", f"is more than {LONGEST.days} days after starts_at")
