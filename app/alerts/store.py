"""The pipeline's queries. Never commits.

Locks are taken in one order everywhere, so that nobody waits in a circle: the pass's own turn, then groups by their
ids, then episodes by their fingerprints. What only raises episodes locks no group.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.alerts.core import Episode, State
from app.infra.db import UnitOfWork
from app.infra.text import json_safe

SOUNDING = "('firing', 'acknowledged')"
_RANK = "coalesce(array_position(ARRAY['info', 'warning', 'error', 'critical'], {}.severity), 0)"
_IS_WORSE = f"{_RANK.format('excluded')} > {_RANK.format('alert_groups')}"
_CLIMBS_ANEW = (
    f"{_IS_WORSE} AND excluded.ladder IS NOT NULL AND excluded.ladder ->> 'name' IS DISTINCT FROM"
    " alert_groups.ladder ->> 'name'"
)
_WORSE = (
    f", severity = CASE WHEN {_IS_WORSE} THEN excluded.severity ELSE alert_groups.severity END"
    f", ladder = CASE WHEN {_CLIMBS_ANEW} THEN excluded.ladder ELSE alert_groups.ladder END"
    f", step = CASE WHEN {_CLIMBS_ANEW} THEN 0 ELSE alert_groups.step END"
    f", repeats = CASE WHEN {_CLIMBS_ANEW} THEN 0 ELSE alert_groups.repeats END"
    f", waiting_since = CASE WHEN {_CLIMBS_ANEW} AND alert_groups.waiting_since IS NOT NULL THEN :now"
    " ELSE alert_groups.waiting_since END"
)
_LIFE = (
    "state", "starts_at", "ends_at", "ends_explicitly", "fires_at", "fired_at", "resolved_at", "flapping", "held",
    "acknowledged_at", "acknowledged_by", "acknowledged_until",
)  # fmt: skip


def life_of(row: Row[Any]) -> Episode:
    """The part of an episode's row that decisions about its life are made of."""
    values = {name: getattr(row, name) for name in _LIFE}
    return Episode(**values | {"state": State(row.state)})


def save_lives(uow: UnitOfWork, lives: Mapping[UUID, tuple[Episode, str | None]]) -> None:
    """Store episodes after decisions; the second of each pair is who or what ended it."""
    rows = [
        {"id": key, "due_at": life.due_at, "resolved_by": by, **{name: getattr(life, name) for name in _LIFE}}
        for key, (life, by) in sorted(lives.items())
    ]
    if not rows:
        return
    uow.execute(
        "UPDATE alert_episodes e SET state = r.state, starts_at = r.starts_at, ends_at = r.ends_at,"
        " ends_explicitly = r.ends_explicitly, fires_at = r.fires_at, fired_at = r.fired_at,"
        " resolved_at = r.resolved_at, flapping = r.flapping, held = r.held, acknowledged_at = r.acknowledged_at,"
        " acknowledged_by = r.acknowledged_by, acknowledged_until = r.acknowledged_until, due_at = r.due_at,"
        " resolved_by = coalesce(r.resolved_by, e.resolved_by)"
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, state text, starts_at timestamptz,"
        " ends_at timestamptz, ends_explicitly boolean, fires_at timestamptz, fired_at timestamptz,"
        " resolved_at timestamptz, flapping boolean, held boolean, acknowledged_at timestamptz,"
        " acknowledged_by text, acknowledged_until timestamptz, due_at timestamptz, resolved_by text)"
        " WHERE e.id = r.id",
        rows=as_json(rows),
    )


def take_turn(uow: UnitOfWork) -> bool:
    """One pass at a time: False when another transaction of a pass is under way."""
    taken: bool = uow.execute("SELECT pg_try_advisory_xact_lock(hashtext('alerts: pass'))").scalar_one()
    return taken


def due_episodes(uow: UnitOfWork, now: datetime, limit: int) -> list[UUID]:
    """Open episodes whose time has come; not locked yet."""
    rows = uow.execute(
        "SELECT id FROM alert_episodes WHERE state <> 'resolved' AND due_at <= :now ORDER BY due_at LIMIT :limit",
        now=now,
        limit=limit,
    )
    return [row.id for row in rows]


def lock_episodes(uow: UnitOfWork, episodes: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Lock these episodes after the open groups that hold them; their rows."""
    uow.execute(
        "SELECT id FROM alert_groups WHERE closed_at IS NULL AND id IN"
        " (SELECT group_id FROM alert_group_members WHERE episode_id = ANY(:episodes)) ORDER BY id FOR UPDATE",
        episodes=list(episodes),
    )
    found: Sequence[Row[Any]] = uow.execute(
        "SELECT * FROM alert_episodes WHERE id = ANY(:episodes) ORDER BY fingerprint FOR UPDATE",
        episodes=list(episodes),
    ).all()
    return found


def unrouted(uow: UnitOfWork, limit: int) -> Sequence[Row[Any]]:
    """Lock firing episodes that are in no group yet, oldest first."""
    found: Sequence[Row[Any]] = uow.execute(
        f"SELECT * FROM alert_episodes WHERE NOT routed AND state IN {SOUNDING}"
        " ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED",
        limit=limit,
    ).all()
    return found


def past(uow: UnitOfWork, fingerprints: Iterable[str], since: datetime) -> dict[str, Row[Any]]:
    """How often each of these alerts ended since then, and when it was last told: fingerprint → (ends, told_at)."""
    rows = uow.execute(
        "SELECT fingerprint, count(*) AS ends, max(told_at) AS told_at FROM alert_episodes"
        " WHERE fingerprint = ANY(:fingerprints) AND resolved_at > :since GROUP BY fingerprint",
        fingerprints=sorted(set(fingerprints)),
        since=since,
    )
    return {row.fingerprint: row for row in rows}


def save_routed(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
    """Mark episodes as routed: id, flapping, quiet_until."""
    uow.execute(
        "UPDATE alert_episodes e SET routed = true, flapping = r.flapping, quiet_until = r.quiet_until"
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, flapping boolean, quiet_until timestamptz)"
        " WHERE e.id = r.id",
        rows=as_json(rows),
    )


def open_groups(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, UUID]:
    """The open group of each thread, made where there is none, each locked and due now: thread → id.

    One that is joined by something worse takes over its severity and, where that is another one, its ladder, from the
    beginning: what is critical is not climbed at the pace of a warning.
    """
    ordered = sorted(rows, key=lambda row: str(row["thread"]))
    uow.execute(
        "SELECT id FROM alert_groups WHERE closed_at IS NULL AND thread = ANY(:threads) ORDER BY id FOR UPDATE",
        threads=[row["thread"] for row in ordered],
    )
    uow.execute(
        "INSERT INTO alert_groups (id, thread, route, receiver, labels, severity, team, timing, ladder, opened_at,"
        " due_at) SELECT r.id, r.thread, r.route, r.receiver, r.labels, r.severity, r.team, r.timing, r.ladder, :now,"
        " :now FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, thread text, route text, receiver text,"
        " labels jsonb, severity text, team text, timing jsonb, ladder jsonb) ORDER BY r.thread"
        f" ON CONFLICT (thread) WHERE closed_at IS NULL DO UPDATE SET due_at = :now{_WORSE}",
        rows=as_json(ordered),
        now=now,
    )
    found = uow.execute(
        "SELECT thread, id FROM alert_groups WHERE closed_at IS NULL AND thread = ANY(:threads)",
        threads=[row["thread"] for row in ordered],
    )
    return {row.thread: row.id for row in found}


def add_members(uow: UnitOfWork, pairs: Iterable[tuple[UUID, UUID]], now: datetime) -> None:
    """Put episodes into groups: (group, episode)."""
    listed = sorted(set(pairs))
    uow.execute(
        "INSERT INTO alert_group_members (group_id, episode_id, added_at)"
        " SELECT g, e, :now FROM unnest(CAST(:groups AS uuid[]), CAST(:episodes AS uuid[])) AS p(g, e)"
        " ON CONFLICT DO NOTHING",
        groups=[str(group) for group, _ in listed],
        episodes=[str(episode) for _, episode in listed],
        now=now,
    )


def due_groups(uow: UnitOfWork, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Lock open groups whose time has come."""
    found: Sequence[Row[Any]] = uow.execute(
        "SELECT * FROM alert_groups WHERE closed_at IS NULL AND due_at <= :now"
        " ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED",
        now=now,
        limit=limit,
    ).all()
    return found


_MEMBERS = (
    "SELECT m.group_id, m.added_at, m.told_at AS member_told_at, m.end_told_at, m.acted_at, e.*"
    " FROM alert_group_members m JOIN alert_episodes e ON e.id = m.episode_id WHERE m.group_id = ANY(:groups)"
)
_HAS_MORE_TO_SAY = " AND NOT (e.state = 'resolved' AND (m.told_at IS NULL OR m.end_told_at IS NOT NULL))"


def members_of(session: Session, groups: Sequence[UUID]) -> dict[UUID, list[Row[Any]]]:
    """The episodes of these groups with their membership (`added_at`, `member_told_at`, `end_told_at`, `acted_at`).

    Those of which there is nothing more to say are left out: a group that never closes collects them for months.
    """
    rows = session.execute(
        text(f"{_MEMBERS}{_HAS_MORE_TO_SAY} ORDER BY e.id"),
        {"groups": list(groups)},
    )
    found: dict[UUID, list[Row[Any]]] = {group: [] for group in groups}
    for row in rows:
        found[row.group_id].append(row)
    return found


def last_told(session: Session, group: UUID, limit: int) -> Sequence[Row[Any]]:
    """The episodes of a group that were told last, as `members_of` gives them."""
    return session.execute(
        text(f"{_MEMBERS} AND m.told_at IS NOT NULL ORDER BY e.id DESC LIMIT :limit"),
        {"groups": [group], "limit": limit},
    ).all()


def save_group(uow: UnitOfWork, group_id: UUID, values: Mapping[str, Any]) -> None:
    """Store a group after a decision."""
    uow.execute(
        "UPDATE alert_groups SET told_at = :told_at, told_count = :told_count, waiting_since = :waiting_since,"
        " step = :step, repeats = :repeats, acknowledged = :acknowledged, held = :held, due_at = :due_at,"
        " closed_at = :closed_at WHERE id = :id",
        id=group_id,
        **values,
    )


def mark_told(
    uow: UnitOfWork,
    group_id: UUID,
    begun: Sequence[UUID],
    ended: Sequence[UUID],
    now: datetime,
    *,
    acted: Sequence[UUID] = (),
) -> None:
    """Remember whose beginning and whose end were told, and of which that something was done about them."""
    if begun:
        uow.execute(
            "UPDATE alert_group_members SET told_at = :now WHERE group_id = :id AND episode_id = ANY(:begun)",
            now=now,
            id=group_id,
            begun=list(begun),
        )
        uow.execute(
            "WITH ordered AS (SELECT id FROM alert_episodes WHERE id = ANY(:begun) ORDER BY fingerprint FOR UPDATE)"
            " UPDATE alert_episodes e SET told_at = :now FROM ordered o WHERE e.id = o.id",
            now=now,
            begun=list(begun),
        )
    if ended:
        uow.execute(
            "UPDATE alert_group_members SET end_told_at = :now WHERE group_id = :id AND episode_id = ANY(:ended)",
            now=now,
            id=group_id,
            ended=list(ended),
        )
    if acted:
        uow.execute(
            "UPDATE alert_group_members SET acted_at = NULL WHERE group_id = :id AND episode_id = ANY(:acted)",
            id=group_id,
            acted=list(acted),
        )


def save_mutes(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store why episodes are held back: id, muted (a list, or null)."""
    uow.execute(
        "WITH said AS (SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, muted jsonb)),"
        " ordered AS (SELECT e.id, s.muted FROM alert_episodes e JOIN said s ON s.id = e.id"
        " ORDER BY e.fingerprint FOR UPDATE OF e)"
        " UPDATE alert_episodes e SET muted = nullif(o.muted, 'null'::jsonb) FROM ordered o WHERE e.id = o.id",
        rows=as_json(rows),
    )


def wake(uow: UnitOfWork) -> None:
    """Let the next pass look at every open group: a silence, a window or an answer changed."""
    uow.execute(
        "WITH ordered AS (SELECT id FROM alert_groups WHERE closed_at IS NULL AND (due_at IS NULL OR due_at > now())"
        " ORDER BY id FOR UPDATE) UPDATE alert_groups g SET due_at = now() FROM ordered o WHERE g.id = o.id"
    )


def wake_groups_of(uow: UnitOfWork, episodes: Sequence[UUID], *, at: datetime | None = None) -> None:
    """The same for the groups that hold these episodes; `at` is the moment of the pass that is to look at them."""
    uow.execute(
        "WITH ordered AS (SELECT id FROM alert_groups WHERE closed_at IS NULL AND id IN"
        " (SELECT group_id FROM alert_group_members WHERE episode_id = ANY(:episodes)) ORDER BY id FOR UPDATE)"
        " UPDATE alert_groups g SET due_at = coalesce(CAST(:at AS timestamptz), now()) FROM ordered o"
        " WHERE g.id = o.id",
        at=at,
        episodes=list(episodes),
    )


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as one JSON parameter."""
    return json.dumps([json_safe(dict(row)) for row in rows], default=str)
