"""Signals become episodes: load what is open under its lock, decide, save, all in the caller's transaction.

Locks are taken in the pipeline's order, episodes by their fingerprints; no group is locked. Two signals that open the
same alert at once meet at its unique index, and the second one counts as one more of the first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app import catalog as catalogs
from app import signals
from app.alerts import actions, counting, history, rules
from app.alerts.core import Episode, Reason, State
from app.alerts.counting import Counted
from app.alerts.rules import End, Raise
from app.alerts.store import life_of
from app.catalog import Telling
from app.infra import ids, metrics
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.infra.text import json_safe
from app.signals import Signal

SOURCE = "signal"
OPENED = "opened"
RAISED_AGAIN = "raised_again"

log = get_logger(__name__)

_NO_TEAMS: Mapping[str, str] = {}
_OPEN = "SELECT * FROM alert_episodes WHERE state <> 'resolved' AND {} ORDER BY fingerprint FOR UPDATE"


@dataclass(frozen=True, slots=True)
class _Said:
    """When something was said, who said it, what its history entry holds; is it about the health of a service?"""

    now: datetime
    source: str
    facts: Mapping[str, Any]
    about_health: bool


def on_signal(uow: UnitOfWork, signal_id: UUID, *, handler: str) -> list[UUID]:
    """Apply one stored signal by the catalogue in force, at the database's now; the episodes that this touched.

    That a job of this very handler died raises nothing: where handling fails for a reason that lasts, each death would
    be a signal that dies too, without an end. Raises NotFound.
    """
    signal = signals.load(uow.session, signal_id)
    if signal.kind == "jobs.dead" and signal.labels.get("task") == handler:
        log.error("a signal could not be handled and raised no alert", facts=signal.facts)
        return []
    catalog = catalogs.current()
    now = uow.execute("SELECT now()").scalar_one()
    return apply(uow, signal, catalog.telling, handler=handler, now=now, teams=rules.teams_of(catalog))


def apply(
    uow: UnitOfWork,
    signal: Signal,
    telling: Telling,
    *,
    handler: str,
    now: datetime,
    teams: Mapping[str, str] = _NO_TEAMS,
) -> list[UUID]:
    """Raise and end what the rules say; the episodes that this touched.

    A rule that other signals end takes each subject's signals in their order only, as `handler` sees them: signals
    that were overtaken by a newer one of the same rule change nothing. `teams`: whose each service is.
    """
    found = [item for item in rules.matching(telling, signal, teams=teams) if _is_news(uow, item, signal, handler)]
    raises = sorted((item for item in found if isinstance(item, Raise)), key=lambda item: item.fingerprint)
    ends = {item.rule: item for item in found if isinstance(item, End)}
    if not found:
        return []
    about_health = signal.kind.startswith("health.")
    if about_health:
        actions.take_turn(uow, [item.service for item in raises if item.service])
    locked = _lock(uow, [item.fingerprint for item in raises], list(ends.values()))
    known = {row.fingerprint: row for row in locked}
    touched = [row.id for row in locked if row.rule in ends and row.subject == ends[row.rule].subject]
    for row in locked:
        if row.id in touched:
            _save_life(uow, row.id, counting.ended(life_of(row), ends[row.rule].at, now))
    said = _Said(now, SOURCE, {"signal": str(signal.id), "kind": signal.kind}, about_health)
    return touched + [_raise(uow, item, known.get(item.fingerprint), said) for item in raises]


def raise_now(
    uow: UnitOfWork, raised: Raise, now: datetime, *, source: str, facts: Mapping[str, Any] | None = None
) -> UUID:
    """Raise one alert without a signal; the id of its episode, which may have been open before."""
    locked = _lock(uow, [raised.fingerprint])
    return _raise(uow, raised, locked[0] if locked else None, _Said(now, source, facts or {}, source == SOURCE))


def end_forgotten(uow: UnitOfWork, telling: Telling, now: datetime) -> list[UUID]:
    """End what was raised by rules that left the catalogue, because nothing else can any more; the episodes."""
    gone = uow.execute(
        _OPEN.format("source = :source AND NOT rule = ANY(:rules) AND NOT (ends_explicitly AND ends_at <= :now)"),
        source=SOURCE,
        rules=list(telling.alerts),
        now=now,
    ).all()
    for row in gone:
        _save_life(uow, row.id, counting.ended(life_of(row), now, now))
    return [row.id for row in gone]


def _is_news(uow: UnitOfWork, item: Raise | End, signal: Signal, handler: str) -> bool:
    """A cursor for each rule: what one rule has seen of a subject must not hide older signals from another.

    A service that falls while it warns says both at once, and these two are handled in any order. Likewise for what a
    rule is about, where that is less than the subject.
    """
    if isinstance(item, Raise) and not item.stateful:
        return True
    about = "" if item.subject == signal.subject else f":{item.subject}"
    return signals.is_news(uow, f"{handler}:{item.rule}{about}", signal)


def _lock(uow: UnitOfWork, fingerprints: Sequence[str], ends: Sequence[End] = ()) -> Sequence[Row[Any]]:
    rows: Sequence[Row[Any]] = uow.execute(
        _OPEN.format("(fingerprint = ANY(:fingerprints) OR (subject = ANY(:subjects) AND rule = ANY(:ended)))"),
        fingerprints=list(fingerprints),
        subjects=[end.subject for end in ends],
        ended=[end.rule for end in ends],
    ).all()
    return rows


def _raise(uow: UnitOfWork, raised: Raise, known: Row[Any] | None, said: _Said) -> UUID:
    while known is None:
        opened = counting.begin(raised, said.now)
        made = _insert(uow, raised, opened, said)
        if made is not None:
            history.add(uow, OPENED, episode_id=made, facts=_facts(raised, opened, said))
            _count(raised, opened)
            return made
        known = next(iter(_lock(uow, [raised.fingerprint])), None)
    before = life_of(known)
    after = counting.again(Counted(before, tuple(known.recent), known.occurrences), raised, said.now)
    _update(uow, known.id, raised, after, said.now)
    episode: UUID = known.id
    if before.state is not after.life.state:
        history.add(uow, str(Reason.FIRED), episode_id=episode, facts=_facts(raised, after, said))
        _count(raised, after)
    elif before.held or before.ends_explicitly:
        history.add(uow, RAISED_AGAIN, episode_id=episode, facts=_facts(raised, after, said))
    return episode


def _facts(raised: Raise, counted: Counted, said: _Said) -> dict[str, Any]:
    of = {"count": len(counted.recent), "of": raised.count} if raised.count > 1 else {}
    return {**said.facts, "source": said.source, "state": str(counted.life.state), **of}


def _count(raised: Raise, counted: Counted) -> None:
    if counted.life.state is State.FIRING:
        metrics.ALERT_CHANGES.inc(reason=str(Reason.FIRED), severity=raised.severity)


def _insert(uow: UnitOfWork, raised: Raise, opened: Counted, said: _Said) -> UUID | None:
    """Open an episode; None when another transaction has just opened one of this fingerprint."""
    life = opened.life
    taken = actions.known(uow, raised.service, said.now) if said.about_health else {}
    row = uow.execute(
        "INSERT INTO alert_episodes (id, fingerprint, name, severity, team, service, labels, annotations, source, rule,"
        " subject, state, starts_at, ends_at, fires_at, fired_at, occurrences, recent, due_at, opened_at, updated_at)"
        " VALUES (:id, :fingerprint, :name, :severity, :team, :service, CAST(:labels AS jsonb),"
        " CAST(:annotations AS jsonb), :source, :rule, :subject, :state, :starts_at, :ends_at, :fires_at, :fired_at,"
        " :occurrences, CAST(:recent AS timestamptz[]), :due_at, :now, :now)"
        " ON CONFLICT (fingerprint) WHERE state <> 'resolved' DO NOTHING RETURNING id",
        id=ids.uuid7(),
        fingerprint=raised.fingerprint,
        name=raised.name,
        severity=raised.severity,
        team=raised.team,
        service=raised.service,
        labels=json.dumps(json_safe(raised.labels)),
        annotations=json.dumps(json_safe(raised.annotations | taken)),
        source=said.source,
        rule=raised.rule,
        subject=raised.subject,
        state=str(life.state),
        starts_at=life.starts_at,
        ends_at=life.ends_at,
        fires_at=life.fires_at,
        fired_at=life.fired_at,
        occurrences=opened.occurrences,
        recent=list(opened.recent),
        due_at=life.due_at,
        now=said.now,
    ).one_or_none()
    made: UUID | None = None if row is None else row.id
    return made


def _update(uow: UnitOfWork, episode: UUID, raised: Raise, after: Counted, now: datetime) -> None:
    """`rule` and `subject` become ours also where somebody else opened it: its end is told by them."""
    uow.execute(
        "UPDATE alert_episodes SET annotations = annotations || CAST(:annotations AS jsonb), rule = :rule,"
        " subject = :subject, occurrences = :occurrences, recent = CAST(:recent AS timestamptz[]), updated_at = :now"
        " WHERE id = :id",
        id=episode,
        annotations=json.dumps(json_safe(raised.annotations)),
        rule=raised.rule,
        subject=raised.subject,
        occurrences=after.occurrences,
        recent=list(after.recent),
        now=now,
    )
    _save_life(uow, episode, after.life)


def _save_life(uow: UnitOfWork, episode: UUID, life: Episode) -> None:
    uow.execute(
        "UPDATE alert_episodes SET state = :state, starts_at = :starts_at, ends_at = :ends_at,"
        " ends_explicitly = :ends_explicitly, fires_at = :fires_at, fired_at = :fired_at, held = :held,"
        " due_at = :due_at WHERE id = :id",
        id=episode,
        state=str(life.state),
        starts_at=life.starts_at,
        ends_at=life.ends_at,
        ends_explicitly=life.ends_explicitly,
        fires_at=life.fires_at,
        fired_at=life.fired_at,
        held=life.held,
        due_at=life.due_at,
    )
