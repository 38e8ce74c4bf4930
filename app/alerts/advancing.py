"""What time alone changes in episodes: confirmations, ends, acknowledgements that run out."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.alerts import core, history, store
from app.alerts.core import Episode, Policy, Reason, State
from app.catalog import Alerting
from app.infra import metrics
from app.infra.db import UnitOfWork

BATCH = 2000


def policy_of(alerting: Alerting) -> Policy:
    """What the catalogue says about the life of episodes."""
    return Policy(flap_quiet=timedelta(seconds=alerting.flap_quiet))


def advance_due(uow: UnitOfWork, now: datetime, policy: Policy) -> int:
    """Decide about the episodes whose time has come; how many there were, at most BATCH."""
    ids = store.due_episodes(uow, now, BATCH)
    if not ids:
        return 0
    lives, entries, changed = {}, [], []
    for row in store.lock_episodes(uow, ids):
        before = store.life_of(row)
        after, reasons = run(before, now, policy)
        ended_by = str(reasons[-1]) if after.state is State.RESOLVED and reasons else None
        lives[row.id] = (after, ended_by)
        for reason in reasons:
            metrics.ALERT_CHANGES.inc(reason=reason, severity=row.severity)
            entries.append(history.Entry(str(reason), episode_id=row.id, facts={"ends_at": _iso(after.ends_at)}))
        if reasons:
            changed.append(row.id)
    store.save_lives(uow, lives)
    history.add_many(uow, entries)
    if changed:
        store.wake_groups_of(uow, changed, at=now)
    return len(ids)


def run(episode: Episode, now: datetime, policy: Policy) -> tuple[Episode, list[Reason]]:
    """Every change that is due, one after the other."""
    reasons: list[Reason] = []
    while (change := core.advance(episode, now, policy)).reason is not None:
        episode = change.episode
        reasons.append(change.reason)
    return episode, reasons


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
