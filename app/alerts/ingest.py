"""What was posted becomes episodes: the inbox is taken in order, merged, and emptied in the same transaction."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from app import catalog
from app.alerts import history, inbox, merging, posted, rules, store
from app.alerts.core import Reason
from app.alerts.merging import Open
from app.alerts.posted import Posted
from app.catalog import Catalog, Telling
from app.errors import Transient
from app.infra import db, ids, metrics
from app.infra.db import UnitOfWork, execute_once, unit_of_work
from app.infra.logging import get_logger
from app.infra.text import storable

log = get_logger(__name__)

WEBHOOK = "webhook"
WEBHOOK_RESOLVE_AFTER = timedelta(hours=24)
"""Another Alertmanager repeats what fires each four hours, and says when it is over: it needs more patience."""
BATCH_ALERTS = 5000
BATCH_POSTS = 256
WAIT_SECONDS = 5
"""How long to wait for another process that is at it."""
NAMELESS = "alert"
"""Name of an alert without the label `alertname`."""
NAME_MAX = 200
_ROUNDS = 3

_Posts = Mapping[str, Sequence[Posted]]
"""What was posted of each fingerprint, oldest first; fingerprints sorted."""


def drain(now: datetime) -> int:
    """Merge everything that was accepted before this call; how many alerts that was. In transactions of its own.

    Raises Transient when another process has been at it for too long, or the database is in trouble.
    """
    total = 0
    last = execute_once("SELECT max(id) AS id FROM alert_inbox")[0].id
    while last is not None:
        with unit_of_work() as uow:
            rows = _take(uow, last)
            if rows:
                _merge(uow, rows, now)
        total += sum(row.alerts for row in rows)
        if not rows or rows[-1].id == last:
            break
    return total


def _take(uow: UnitOfWork, last: int) -> Sequence[Row[Any]]:
    """Remove the oldest posts, as soon as nobody else is at it. At most so many alerts, but at least one post."""
    uow.execute(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")
    uow.execute("SELECT pg_advisory_xact_lock(hashtext('alerts: inbox'))")
    taken = uow.execute(
        "WITH ahead AS (SELECT id, sum(alerts) OVER (ORDER BY id) - alerts AS before FROM"
        " (SELECT id, alerts FROM alert_inbox WHERE id <= :last ORDER BY id LIMIT :posts) AS oldest)"
        " DELETE FROM alert_inbox i USING ahead a WHERE i.id = a.id AND a.before < :alerts"
        " RETURNING i.id, i.received_at, i.source, i.alerts, i.body",
        last=last,
        posts=BATCH_POSTS,
        alerts=BATCH_ALERTS,
    )
    return sorted(taken, key=lambda row: row.id)


def _merge(uow: UnitOfWork, rows: Sequence[Row[Any]], now: datetime) -> None:
    """All at once; and should one alert not let itself be stored, one by one, so that it keeps no other out."""
    current = catalog.current()
    posts = _by_fingerprint(rows, current.telling)
    try:
        with uow.session.begin_nested():
            _absorb(uow, posts, now, current)
    except Exception as error:
        if _will_pass(error):
            raise
        log.exception("posted alerts could not be merged together: one by one")
        for fingerprint, of_one in posts.items():
            _absorb_alone(uow, fingerprint, of_one, now, current)


def _by_fingerprint(rows: Iterable[Row[Any]], telling: Telling) -> _Posts:
    """The good alerts of all posts. Their senders were told of the bad ones, which may be whatever JSON can be."""
    found: dict[str, list[Posted]] = defaultdict(list)
    for row in rows:
        patience = WEBHOOK_RESOLVE_AFTER if row.source == WEBHOOK else resolve_after(telling)
        alerts = inbox.unpack(row.body)
        bad = posted.faults(alerts, row.received_at, patience)
        good = alerts if not bad else [alert for place, alert in enumerate(alerts) if place not in bad]
        for post in posted.read(good, received_at=row.received_at, resolve_after=patience, source=row.source):
            found[post.fingerprint].append(post)
    return dict(sorted(found.items()))


def resolve_after(telling: Telling) -> timedelta:
    """How long an alert from outside lasts that names no end."""
    return timedelta(seconds=telling.alerting.resolve_after)


def _absorb_alone(uow: UnitOfWork, fingerprint: str, posts: Sequence[Posted], now: datetime, current: Catalog) -> None:
    try:
        with uow.session.begin_nested():
            _absorb(uow, {fingerprint: posts}, now, current)
    except Exception as error:
        if _will_pass(error):
            raise
        log.exception("a posted alert could not be stored and is dropped", fingerprint=fingerprint)
        facts = {"fingerprint": fingerprint, "labels": posts[-1].labels, "error": type(error).__name__}
        history.add(uow, "dropped", facts=facts, at=now)


def _will_pass(error: Exception) -> bool:
    """Is it the database's trouble rather than the alert's?"""
    return isinstance(error, Transient) or (isinstance(error, DBAPIError) and db.is_transient(error))


def _absorb(uow: UnitOfWork, posts: _Posts, now: datetime, current: Catalog) -> None:
    """Load, decide, save. An episode that our signals opened at the same moment is met in the next round."""
    left = dict(posts)
    for _ in range(_ROUNDS):
        known = _open(uow, list(left))
        after = {key: _after(known.get(key), of_one, now) for key, of_one in left.items()}
        _update(uow, [(known[key], episode) for key, episode in after.items() if episode and key in known])
        begun = {key: episode for key, episode in after.items() if episode and key not in known}
        opened = _insert(uow, begun, current)
        left = {key: left[key] for key in begun if key not in opened}
        if not left:
            return
    raise Transient("posted alerts met others of the same labels again and again")


def _after(known: Open | None, posts: Sequence[Posted], now: datetime) -> Open | None:
    """The episode after all that was posted of it, in order."""
    for post in posts:
        known = merging.begin(post, ids.uuid7(now), now) if known is None else merging.merge(known, post)
    return known


def _open(uow: UnitOfWork, fingerprints: Sequence[str]) -> dict[str, Open]:
    """Lock the open episodes of these fingerprints."""
    rows = uow.execute(
        "SELECT * FROM alert_episodes WHERE state <> 'resolved' AND fingerprint = ANY(:fingerprints)"
        " ORDER BY fingerprint FOR UPDATE",
        fingerprints=fingerprints,
    )
    return {
        row.fingerprint: Open(
            id=row.id,
            source=row.source,
            life=store.life_of(row),
            annotations=row.annotations,
            generator_url=row.generator_url,
            occurrences=row.occurrences,
            updated_at=row.updated_at,
        )
        for row in rows
    }


def _update(uow: UnitOfWork, changes: Sequence[tuple[Open, Open]]) -> None:
    """Store open episodes, each as it was and as it is now. That one fires again that had ended is worth a note."""
    if not changes:
        return
    uow.execute(
        "UPDATE alert_episodes e SET starts_at = r.starts_at, ends_at = r.ends_at, ends_explicitly = r.ends_explicitly,"
        " fires_at = r.fires_at, held = r.held, due_at = r.due_at, annotations = r.annotations,"
        " generator_url = r.generator_url, occurrences = r.occurrences, updated_at = r.updated_at"
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, starts_at timestamptz, ends_at timestamptz,"
        " ends_explicitly boolean, fires_at timestamptz, held boolean, due_at timestamptz, annotations jsonb,"
        " generator_url text, occurrences integer, updated_at timestamptz) WHERE e.id = r.id",
        rows=_as_json([_values(after) for _, after in changes]),
    )
    back = [after.id for before, after in changes if after.occurrences > before.occurrences]
    history.add_many(uow, [history.Entry("fired_again", episode_id=episode_id) for episode_id in back])


def _insert(uow: UnitOfWork, begun: Mapping[str, Open], current: Catalog) -> set[str]:
    """Write new episodes; the fingerprints of those that nobody else has opened meanwhile."""
    if not begun:
        return set()
    teams = rules.teams_of(current)
    rows = []
    for fingerprint, episode in begun.items():
        labels = episode.labels
        team = rules.team_of(current.telling, labels, teams=teams)
        named = {
            "id": episode.id,
            "fingerprint": fingerprint,
            "name": storable(labels.get("alertname") or NAMELESS, limit=NAME_MAX),
            "severity": rules.severity_of(current.telling, labels),
            "team": None if team is None else storable(team, limit=NAME_MAX),
            "service": rules.service_of(labels),
            "labels": labels,
            "source": episode.source,
            "fired_at": episode.life.fired_at,
        }
        rows.append(named | _values(episode))
    written = uow.execute(
        "INSERT INTO alert_episodes (id, fingerprint, name, severity, team, service, labels, annotations,"
        " generator_url, source, state, starts_at, ends_at, ends_explicitly, opened_at, updated_at, due_at, fired_at,"
        " occurrences) SELECT r.id, r.fingerprint, r.name, r.severity, r.team, r.service, r.labels, r.annotations,"
        " r.generator_url, r.source, 'firing', r.starts_at, r.ends_at, r.ends_explicitly, r.fired_at, r.updated_at,"
        " r.due_at, r.fired_at, r.occurrences FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid,"
        " fingerprint text, name text, severity text, team text, service text, labels jsonb, annotations jsonb,"
        " generator_url text, source text, starts_at timestamptz, ends_at timestamptz, ends_explicitly boolean,"
        " updated_at timestamptz, due_at timestamptz, fired_at timestamptz, occurrences integer)"
        " ORDER BY r.fingerprint ON CONFLICT (fingerprint) WHERE state <> 'resolved' DO NOTHING"
        " RETURNING fingerprint, id, severity, source",
        rows=_as_json(rows),
    ).all()
    history.add_many(
        uow, [history.Entry(str(Reason.FIRED), episode_id=row.id, facts={"source": row.source}) for row in written]
    )
    for severity, count in Counter(row.severity for row in written).items():
        metrics.ALERT_CHANGES.inc(count, reason=str(Reason.FIRED), severity=severity)
    return {row.fingerprint for row in written}


def _values(episode: Open) -> dict[str, Any]:
    """The columns that a post can change."""
    life = episode.life
    return {
        "id": episode.id,
        "starts_at": life.starts_at,
        "ends_at": life.ends_at,
        "ends_explicitly": life.ends_explicitly,
        "fires_at": life.fires_at,
        "held": life.held,
        "due_at": life.due_at,
        "annotations": episode.annotations,
        "generator_url": episode.generator_url,
        "occurrences": episode.occurrences,
        "updated_at": episode.updated_at,
    }


def _as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """One parameter; its texts were made storable when they were read."""
    return json.dumps(rows, default=str)
