"""One pass of alerting: take in what was posted, let time do its work, group what is new, tell what is due.

Each step is a transaction of its own, and each finds its work in the database: a pass may be lost, late, or cut off
anywhere, and the next one goes on. Two passes at once take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app import catalog as catalogs
from app import clock
from app.alerts import advancing, audit_trail, grouping, ingest, store, telling
from app.catalog import Catalog
from app.infra.db import UnitOfWork, unit_of_work

AWAY = timedelta(seconds=60)
"""A pipeline that did not pass for so long may have missed causes: it waits for them before it tells symptoms."""

LONGEST_SECONDS = 8.0
"""A pass that has more to do than this leaves the rest to the next one."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a pass finds: the database's now, until when all but critical alerts are held, and which steps to take."""

    now: datetime
    hold_until: datetime | None
    posted: bool
    advance: bool
    group: bool
    tell: bool


def run() -> dict[str, int]:
    """One pass; what it did. Raises Transient when the database is in trouble: the next pass finds the same work."""
    deadline = clock.monotonic() + LONGEST_SECONDS
    catalog = catalogs.current()
    work = _begin(catalog)
    if work is None:
        return {}
    now, policy = work.now, advancing.policy_of(catalog.telling.alerting)
    posted = ingest.drain(now) if work.posted else 0
    advanced = grouped = told = 0
    if work.advance or posted:
        advanced = _repeat(lambda uow: advancing.advance_due(uow, now, policy), advancing.BATCH, deadline)
    if work.group or posted or advanced:
        grouped = _repeat(lambda uow: grouping.group_new(uow, now, catalog), grouping.BATCH, deadline)
    if work.tell or advanced or grouped:
        look = telling.prepare(now, work.hold_until, catalog)
        told = _repeat(lambda uow: telling.tell_due(uow, look), telling.BATCH, deadline)
    return {"posted": posted, "advanced": advanced, "grouped": grouped, "looked_at": told}


def _begin(catalog: Catalog) -> Work | None:
    """What there is to do, by the database's clock; None when another pass has its turn."""
    with unit_of_work() as uow:
        if not store.take_turn(uow):
            return None
        hold = timedelta(seconds=catalog.telling.alerting.hold_after_start)
        work = begin_pass(uow, away=AWAY, hold=hold)
        audit_trail.follow_catalog(uow, catalog, work.now)
        return work


def begin_pass(uow: UnitOfWork, *, away: timedelta, hold: timedelta) -> Work:
    """Note that a pass begins, and see what there is to do. Holding begins when the pipeline was away for so long."""
    row = uow.execute(
        "UPDATE alert_clock SET passed_at = now(), hold_until = CASE WHEN passed_at IS NULL OR passed_at < now() -"
        " make_interval(secs => :away) THEN now() + make_interval(secs => :hold) ELSE hold_until END"
        " WHERE id = 1 RETURNING now() AS now, hold_until,"
        " EXISTS (SELECT FROM alert_inbox) AS posted,"
        " EXISTS (SELECT FROM alert_episodes WHERE state <> 'resolved' AND due_at <= now()) AS advance,"
        f" EXISTS (SELECT FROM alert_episodes WHERE NOT routed AND state IN {store.SOUNDING}) AS group,"
        " EXISTS (SELECT FROM alert_groups WHERE closed_at IS NULL AND due_at <= now()) AS tell",
        away=away.total_seconds(),
        hold=hold.total_seconds(),
    ).one()
    return Work(**row._asdict())


def _repeat(step: Callable[[UnitOfWork], int], batch: int, deadline: float) -> int:
    """Run a step until it finds less than a full batch, or time is up, or another pass has its turn."""
    total = 0
    while True:
        with unit_of_work() as uow:
            done = step(uow) if store.take_turn(uow) else 0
        total += done
        if done < batch or clock.monotonic() > deadline:
            return total


def wake(uow: UnitOfWork) -> None:
    """Let the next pass look at every open group: a silence, a window or an answer changed."""
    store.wake(uow)
