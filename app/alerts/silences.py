"""Silences: made, changed and ended by people, by Alertmanager's rules (`silence.Silences.Set` of 0.25)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import clock
from app.alerts import history, store
from app.alerts.matchers import Matcher, joined, matches_all
from app.alerts.muting import Silence, SilenceState
from app.errors import Invalid, NotFound, Problem
from app.infra.db import UnitOfWork
from app.infra.text import storable

MOST_MATCHERS = 50
LONGEST_NAME = 200
LONGEST_COMMENT = 2000
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""No silence lasts longer: arithmetic with its end must not fail."""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Kept(Silence):
    """A silence as it is stored."""

    created_at: datetime
    updated_at: datetime

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """Alertmanager's JSON."""
        return {
            "id": self.id,
            "status": {"state": str(self.state(now))},
            "updatedAt": clock.iso(self.updated_at),
            "comment": self.comment,
            "createdBy": self.created_by,
            "endsAt": clock.iso(self.ends_at),
            "matchers": [dict(sorted(matcher.as_dict().items())) for matcher in self.matchers],
            "startsAt": clock.iso(self.starts_at),
        }


def create(
    uow: UnitOfWork,
    *,
    matchers: Sequence[Matcher],
    starts_at: datetime,
    ends_at: datetime,
    created_by: str,
    comment: str,
    now: datetime,
) -> Kept:
    """Begin a silence, now at the earliest. Raises Invalid naming each field that is wrong."""
    draft = _draft(
        matchers=matchers,
        starts_at=starts_at,
        ends_at=ends_at,
        created_by=created_by,
        comment=comment,
        now=now,
    )
    return _begin(uow, draft, now)


def update(
    uow: UnitOfWork,
    silence_id: UUID,
    *,
    matchers: Sequence[Matcher],
    starts_at: datetime,
    ends_at: datetime,
    created_by: str,
    comment: str,
    now: datetime,
) -> Kept:
    """Change a silence. What would rewrite history (its matchers, a beginning that was) ends it, and a new one begins.

    An expired one never comes back: a new one begins too. Raises NotFound and Invalid.
    """
    draft = _draft(
        matchers=matchers,
        starts_at=starts_at,
        ends_at=ends_at,
        created_by=created_by,
        comment=comment,
        now=now,
    )
    present = _locked(uow, silence_id)
    if not _may_change(present, draft, now):
        if present.state(now) is not SilenceState.EXPIRED:
            _expire(uow, present, by=draft.created_by, now=now)
        return _begin(uow, draft, now, replaces=present)
    # Of an active one the beginning is the same to the second; what was stored is more exact.
    begins = present.starts_at if present.state(now) is SilenceState.ACTIVE else draft.starts_at
    changed = replace(draft, id=present.id, starts_at=begins, created_at=present.created_at)
    uow.execute(
        "UPDATE alert_silences SET starts_at = :starts_at, ends_at = :ends_at, created_by = :by, comment = :comment,"
        " updated_at = :now WHERE id = :id",
        id=silence_id,
        starts_at=changed.starts_at,
        ends_at=changed.ends_at,
        by=changed.created_by,
        comment=changed.comment,
        now=now,
    )
    _note(uow, "silenced", changed, by=changed.created_by, now=now, facts={"changed": True})
    return changed


def expire(uow: UnitOfWork, silence_id: UUID, *, by: str, now: datetime) -> Kept:
    """End a silence now; one that has expired stays as it is. Raises NotFound."""
    present = _locked(uow, silence_id)
    if present.state(now) is SilenceState.EXPIRED:
        return present
    return _expire(uow, present, by=storable(by, limit=LONGEST_NAME), now=now)


def get(session: Session, silence_id: UUID) -> Kept:
    """One silence. Raises NotFound."""
    row = session.execute(text("SELECT * FROM alert_silences WHERE id = :id"), {"id": silence_id}).one_or_none()
    if row is None:
        raise _unknown(silence_id)
    return _kept(row)


def list_silences(session: Session, now: datetime, *, matchers: Iterable[Matcher] = ()) -> list[Kept]:
    """All that are kept, in Alertmanager's order: active ones by their end, pending ones by their beginning, expired
    ones from the last. `matchers` look at a silence's own matchers as if they were labels."""
    wanted = tuple(matchers)
    found = [_kept(row) for row in session.execute(text("SELECT * FROM alert_silences ORDER BY id"))]
    return sorted((silence for silence in found if _is_about(silence, wanted)), key=lambda silence: _rank(silence, now))


def active(session: Session, now: datetime) -> list[Silence]:
    """Those that hold now."""
    rows = session.execute(
        text("SELECT * FROM alert_silences WHERE starts_at <= :now AND ends_at > :now ORDER BY id"), {"now": now}
    )
    return [_kept(row) for row in rows]


def _draft(
    *,
    matchers: Sequence[Matcher],
    starts_at: datetime,
    ends_at: datetime,
    created_by: str,
    comment: str,
    now: datetime,
) -> Kept:
    """What is wanted, checked; under no id yet."""
    problems = list(_problems(matchers))
    if starts_at >= ends_at:
        problems.append(Problem("ends_at", "start time must be before end time"))
    elif ends_at <= now:
        problems.append(Problem("ends_at", "end time can't be in the past"))
    for name, value, most in (("created_by", created_by, LONGEST_NAME), ("comment", comment, LONGEST_COMMENT)):
        if len(value) > most:
            problems.append(Problem(name, f"must have at most {most} characters"))
    if problems:
        raise Invalid(problems, subject="silence")
    return Kept(
        id="",
        matchers=tuple(matchers),
        starts_at=starts_at,
        ends_at=min(ends_at, LATEST),
        created_by=storable(created_by).strip(),
        comment=storable(comment).strip(),
        created_at=now,
        updated_at=now,
    )


def _problems(matchers: Sequence[Matcher]) -> Iterable[Problem]:
    if not 1 <= len(matchers) <= MOST_MATCHERS:
        yield Problem("matchers", f"must be 1 to {MOST_MATCHERS}")
        return
    for place, matcher in enumerate(matchers):
        if not _LABEL.fullmatch(matcher.name):
            yield Problem(f"matchers.{place}.name", f"invalid label name {matcher.name[:100]!r}")
        if storable(matcher.value) != matcher.value:
            yield Problem(f"matchers.{place}.value", "holds a character that no label can hold")
    if all(matcher.is_equal and matcher.holds("") for matcher in matchers):
        yield Problem("matchers", "at least one matcher must not match the empty string")


def _begin(uow: UnitOfWork, draft: Kept, now: datetime, *, replaces: Kept | None = None) -> Kept:
    begun = replace(draft, id=str(uuid.uuid4()), starts_at=max(draft.starts_at, now))
    uow.execute(
        "INSERT INTO alert_silences (id, matchers, starts_at, ends_at, created_by, comment, created_at, updated_at)"
        " VALUES (:id, CAST(:matchers AS jsonb), :starts_at, :ends_at, :by, :comment, :now, :now)",
        id=begun.id,
        matchers=store.as_json([dict(matcher.as_dict()) for matcher in begun.matchers]),
        starts_at=begun.starts_at,
        ends_at=begun.ends_at,
        by=begun.created_by,
        comment=begun.comment,
        now=now,
    )
    facts = {"replaces": replaces.id} if replaces is not None else {}
    _note(uow, "silenced", begun, by=begun.created_by, now=now, facts=facts)
    return begun


def _expire(uow: UnitOfWork, present: Kept, *, by: str, now: datetime) -> Kept:
    ended = replace(present, starts_at=min(present.starts_at, now), ends_at=now, updated_at=now)
    uow.execute(
        "UPDATE alert_silences SET starts_at = :starts_at, ends_at = :now, updated_at = :now WHERE id = :id",
        id=ended.id,
        starts_at=ended.starts_at,
        now=now,
    )
    _note(uow, "silence_expired", ended, by=by, now=now)
    return ended


def _note(
    uow: UnitOfWork, event: str, silence: Kept, *, by: str, now: datetime, facts: dict[str, Any] | None = None
) -> None:
    """Who did what, for ever; and the next pass looks at every group."""
    said = {
        "silence": silence.id,
        "matchers": joined(silence.matchers),
        "starts_at": clock.iso(silence.starts_at),
        "ends_at": clock.iso(silence.ends_at),
        "comment": silence.comment,
    }
    history.add(uow, event, by=by, facts=said | (facts or {}), at=now)
    store.wake(uow)


def _may_change(present: Kept, wanted: Kept, now: datetime) -> bool:
    """May this silence become that one? Alertmanager's `canUpdate`."""
    if present.matchers != wanted.matchers:
        return False
    match present.state(now):
        case SilenceState.ACTIVE:
            return _whole_second(present.starts_at) == _whole_second(wanted.starts_at)
        case SilenceState.PENDING:
            return wanted.starts_at >= now
        case SilenceState.EXPIRED:
            return False


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _locked(uow: UnitOfWork, silence_id: UUID) -> Kept:
    row = uow.execute("SELECT * FROM alert_silences WHERE id = :id FOR UPDATE", id=silence_id).one_or_none()
    if row is None:
        raise _unknown(silence_id)
    return _kept(row)


def _unknown(silence_id: UUID) -> NotFound:
    return NotFound(f"there is no silence {silence_id}")


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        id=str(row.id),
        matchers=tuple(Matcher.from_dict(written) for written in row.matchers),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        created_by=row.created_by,
        comment=row.comment,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _is_about(silence: Silence, wanted: Sequence[Matcher]) -> bool:
    return matches_all(wanted, {matcher.name: matcher.value for matcher in silence.matchers})


def _rank(silence: Silence, now: datetime) -> tuple[int, float]:
    match silence.state(now):
        case SilenceState.ACTIVE:
            return 0, silence.ends_at.timestamp()
        case SilenceState.PENDING:
            return 1, silence.starts_at.timestamp()
        case SilenceState.EXPIRED:
            return 2, -silence.ends_at.timestamp()
