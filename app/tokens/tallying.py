"""Refreshes that were tried, added up from the history into `token_tries`: by day (UTC), tenant, platform and outcome.

A day of the history can be millions of rows, and the transaction that stores a token must not wait for a sum. So what
is older than LAG is added up from time to time, up to an id that moves with the sums in one transaction: no row is
counted twice. Who reads (`success`) adds what came since. An id is made when a refresh begins, and its row is committed
when the refresh is over; LAG is longer than any refresh may take.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from app.infra import ids
from app.infra.db import UnitOfWork, unit_of_work

LAG = timedelta(minutes=20)
STEP = timedelta(hours=6)
"""Added up by one transaction."""

NAME = "tries"
ALL = ""
"""The tenant of sums over all of them."""

IS_A_TRY = "(kind IN ('refreshed', 'failed', 'lost') OR (kind = 'dead' AND facts ? 'duration_ms'))"
"""A token that was found dead without an attempt to refresh it is none."""

OUTCOME = "CASE WHEN kind = 'refreshed' AND reason <> '' THEN 'failed' ELSE kind END"
"""A new token that ends no later than the one before is no success."""

DAY = "(at AT TIME ZONE 'UTC')::date"

_BEGIN = f"INSERT INTO token_tallied (name, until) VALUES ('{NAME}', :until) ON CONFLICT (name) DO NOTHING"
_PLACE = f"SELECT until FROM token_tallied WHERE name = '{NAME}' FOR UPDATE"
_FIRST = "SELECT min(id::text) FROM token_history"
_ADD = f"""
    INSERT INTO token_tries (tenant, day, platform, outcome, reason, tries)
    SELECT coalesce(tenant, '{ALL}'), day, platform, outcome, reason, count(*)
      FROM (SELECT tenant, platform, reason, {OUTCOME} AS outcome, {DAY} AS day FROM token_history
             WHERE id >= :since AND id < :until AND {IS_A_TRY}) AS tried
     GROUP BY GROUPING SETS ((day, platform, outcome, reason, tenant), (day, platform, outcome, reason))
    ON CONFLICT (tenant, day, platform, outcome, reason) DO UPDATE SET tries = token_tries.tries + excluded.tries"""
_MOVE = f"UPDATE token_tallied SET until = :until WHERE name = '{NAME}'"


def tally(now: datetime) -> int:
    """Add up all that is older than LAG, a few hours at a time; how many steps that took. Raises Transient."""
    upto, steps = now - LAG, 0
    while _step(upto):
        steps += 1
    return steps


def _step(upto: datetime) -> bool:
    """One transaction's part; is there more?"""
    with unit_of_work() as uow:
        since = _place(uow, upto)
        start = ids.time_of(since)
        end = min(upto, start + STEP)
        if end <= start:
            return False
        until = ids.floor(end)
        uow.execute(_ADD, since=since, until=until)
        uow.execute(_MOVE, until=until)
        return end < upto


def _place(uow: UnitOfWork, upto: datetime) -> UUID:
    """Where the last one stopped; the first time, where the history begins. Others wait for their turn here."""
    found: UUID | None = uow.execute(_PLACE).scalar()
    if found is not None:
        return found
    oldest = uow.execute(_FIRST).scalar()
    uow.execute(_BEGIN, until=ids.floor(upto) if oldest is None else min(UUID(oldest), ids.floor(upto)))
    place: UUID = uow.execute(_PLACE).scalar()
    return place


def midnight(now: datetime, days: int) -> datetime:
    """When the first of the last `days` days (UTC) began; today is one of them."""
    today = now.astimezone(UTC).date()
    return datetime.combine(today - timedelta(days=days - 1), time(), tzinfo=UTC)
