"""What people do about alerts: acknowledge, take that back, close, comment, judge. Load, decide, save, in one go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row

from app import catalog, clock
from app.alerts import core, history, store
from app.alerts.core import Change, Episode, State
from app.catalog import SEVERITIES, Ladder
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra import metrics
from app.infra.db import UnitOfWork
from app.infra.text import storable

LONGEST_NAME = 200
LONGEST_COMMENT = 2000
LONGEST_MINUTES = 43_200.0
"""Thirty days: the longest that an acknowledgement holds, as in the catalogue's ladders."""

Verdict = Literal["needed", "not_needed"]
VERDICTS: tuple[Verdict, ...] = ("needed", "not_needed")


@dataclass(frozen=True, slots=True)
class Target:
    """What is acted on: one episode, or all episodes of a group."""

    kind: Literal["episode", "group"]
    id: UUID

    def __str__(self) -> str:
        return f"{'alert' if self.kind == 'episode' else 'group'} {self.id}"


@dataclass(frozen=True, slots=True)
class Acted:
    """What became of it: the episodes that changed, with their states; `until` of an acknowledgement."""

    episodes: tuple[UUID, ...]
    until: datetime | None = None


def acknowledge(
    uow: UnitOfWork, target: Target, *, by: str, now: datetime, minutes: float | None = None, comment: str = ""
) -> Acted:
    """Somebody is at it, for `minutes` or as long as the ladder says that is climbed; a second one replaces the first.

    Raises NotFound, Invalid, and Conflict when nothing of it sounds (any more).
    """
    who, said = _who(by), _comment(comment)
    rows = _sounding(target, _locked(uow, target))
    until = now + timedelta(minutes=_minutes(uow, minutes, rows))
    facts: dict[str, Any] = {"until": clock.iso(until)} | ({"comment": said} if said else {})
    changed = _change(
        uow, rows, lambda life: core.acknowledge(life, now, by=who, until=until), by=who, facts=facts, now=now
    )
    return Acted(changed, until)


def unacknowledge(uow: UnitOfWork, target: Target, *, by: str, now: datetime, comment: str = "") -> Acted:
    """Nobody is at it after all: the ladder begins anew. Raises as `acknowledge`; Conflict when nobody was at it."""
    who, said = _who(by), _comment(comment)
    rows = [row for row in _sounding(target, _locked(uow, target)) if row.state == State.ACKNOWLEDGED]
    if not rows:
        raise Conflict(f"{target} is not acknowledged")
    facts = {"comment": said} if said else {}
    return Acted(_change(uow, rows, core.unacknowledge, by=who, facts=facts, now=now))


def resolve(uow: UnitOfWork, target: Target, *, by: str, now: datetime, comment: str = "") -> Acted:
    """A person says it is over; what still fires comes back as a new alert. Raises as `acknowledge`."""
    who, said = _who(by), _comment(comment)
    rows = [row for row in _locked(uow, target) if row.state != State.RESOLVED]
    if not rows:
        raise Conflict(f"{target} is resolved already")
    facts = {"comment": said} if said else {}
    return Acted(_change(uow, rows, lambda life: core.close(life, now), by=who, facts=facts, now=now))


def comment(uow: UnitOfWork, target: Target, *, by: str, text: str, now: datetime) -> Acted:
    """Keep a sentence with it; resolved ones too. Raises NotFound, Invalid."""
    who, said = _who(by), _comment(text)
    if not said:
        raise Invalid([Problem("text", "must not be empty")], subject="comment")
    rows = _locked(uow, target)
    entries = [history.Entry("comment", row.id, by=who, facts={"comment": said}, at=now) for row in rows]
    history.add_many(uow, entries)
    return Acted(tuple(row.id for row in rows))


def judge(uow: UnitOfWork, target: Target, *, verdict: Verdict, by: str, now: datetime, comment: str = "") -> Acted:
    """Was action needed? The last verdict counts, of resolved ones too. Raises NotFound, Invalid."""
    who, said = _who(by), _comment(comment)
    if verdict not in VERDICTS:
        raise Invalid([Problem("verdict", f"must be one of {', '.join(VERDICTS)}")], subject="verdict")
    rows = _locked(uow, target)
    uow.execute(
        "UPDATE alert_episodes SET verdict = :verdict, verdict_by = :by WHERE id = ANY(:ids)",
        verdict=verdict,
        by=who,
        ids=[row.id for row in rows],
    )
    facts = {"verdict": verdict} | ({"comment": said} if said else {})
    history.add_many(uow, [history.Entry("verdict", row.id, by=who, facts=facts, at=now) for row in rows])
    return Acted(tuple(row.id for row in rows))


def _locked(uow: UnitOfWork, target: Target) -> Sequence[Row[Any]]:
    """The episodes, locked in the pipeline's order. Raises NotFound."""
    ids = [target.id] if target.kind == "episode" else _members(uow, target.id)
    rows = store.lock_episodes(uow, ids)
    if not rows:
        raise NotFound(f"there is no {target}")
    return rows


def _members(uow: UnitOfWork, group: UUID) -> list[UUID]:
    rows = uow.execute("SELECT episode_id FROM alert_group_members WHERE group_id = :group", group=group)
    return [row.episode_id for row in rows]


def _sounding(target: Target, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    found = [row for row in rows if row.state in core.SOUNDING]
    if not found:
        if any(row.state == State.PENDING for row in rows):
            raise Conflict(f"{target} has not fired yet")
        raise Conflict(f"{target} is resolved already")
    return found


def _change(
    uow: UnitOfWork,
    rows: Sequence[Row[Any]],
    decide: Callable[[Episode], Change],
    *,
    by: str,
    facts: Mapping[str, Any],
    now: datetime,
) -> tuple[UUID, ...]:
    changes = {row.id: decide(store.life_of(row)) for row in rows}
    done = {key: change for key, change in changes.items() if change.reason is not None}
    ended = {key: by if change.episode.state is State.RESOLVED else None for key, change in done.items()}
    store.save_lives(uow, {key: (change.episode, ended[key]) for key, change in done.items()})
    entries = [history.Entry(str(change.reason), key, by=by, facts=facts, at=now) for key, change in done.items()]
    history.add_many(uow, entries)
    store.wake_groups_of(uow, list(done))
    for row in rows:
        if row.id in done:
            metrics.ALERT_CHANGES.inc(reason=str(done[row.id].reason), severity=row.severity)
    return tuple(done)


def _minutes(uow: UnitOfWork, given: float | None, rows: Sequence[Row[Any]]) -> float:
    """As asked, or the least of the ladders of their groups; of what is in no group, by the worst severity's ladder."""
    if given is not None:
        if not 0 < given <= LONGEST_MINUTES:
            problem = Problem("minutes", f"must be more than 0 and at most {LONGEST_MINUTES:g}")
            raise Invalid([problem], subject="acknowledgement")
        return given
    worst = max((row.severity for row in rows), key=_rank)
    ladders = catalog.current().telling.ladders
    known = [ladders[name] for name in _ladders_of(uow, rows) or [worst] if name in ladders]
    default: float = Ladder.model_fields["acknowledge_minutes"].default
    return min((ladder.acknowledge_minutes for ladder in known), default=default)


def _ladders_of(uow: UnitOfWork, rows: Sequence[Row[Any]]) -> list[str]:
    """The ladders that are climbed for these alerts: a route may have its own."""
    found = uow.execute(
        "SELECT DISTINCT g.ladder ->> 'name' AS name"
        " FROM alert_group_members m JOIN alert_groups g ON g.id = m.group_id"
        " WHERE m.episode_id = ANY(:ids) AND g.closed_at IS NULL AND g.ladder IS NOT NULL",
        ids=[row.id for row in rows],
    )
    return [row.name for row in found]


def _rank(severity: str) -> int:
    order: tuple[str, ...] = SEVERITIES
    return order.index(severity) if severity in order else -1


def _who(by: str) -> str:
    name = storable(by).strip()
    if not name or len(name) > LONGEST_NAME:
        raise Invalid([Problem("by", f"must have 1 to {LONGEST_NAME} characters: who does this")], subject="action")
    return name


def _comment(text: str) -> str:
    said = storable(text).strip()
    if len(said) > LONGEST_COMMENT:
        raise Invalid([Problem("comment", f"must have at most {LONGEST_COMMENT} characters")], subject="action")
    return said
