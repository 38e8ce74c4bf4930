"""The report of a day: how tokens stood when they were looked at, and what was done about them.

Its first keys are a contract, more keys follow. A tenant's day is of its own time zone, also where all are reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog, clock
from app.errors import Invalid, Problem
from app.infra import ids
from app.tokens import listing
from app.tokens.core import Level
from app.tokens.levels import WITHOUT

FIRST = date(2020, 1, 1)
MOST_ACTIONS = 1000
"""The gravest are in it."""

ACTIONS: Mapping[str, str] = {
    "lost": "login needed",
    "dead": "login needed",
    "paused": "paused",
    "told": "alert client",
    "failed": "retry",
    "waiting": "wait",
    "disabled": "disabled",
    "removed": "removed",
    "resumed": "resumed",
    "enabled": "enabled",
    "connected": "connected",
    "refreshed": "refreshed",
    "imported": "imported",
    "set": "imported",
    "added": "added",
}
"""What a kind of the history is called here, the gravest first."""

_RENEWING = ("refreshed", "connected", "imported", "set")

NO_LOOK = "no look was recorded"
YET_TO_COME = "tenants whose daily look is yet to come are counted as they stand now"
AS_OF_NOW = "no look was recorded yet: counted as tokens stand now"

_EARLIEST, _LATEST = timedelta(hours=14), timedelta(hours=12)
"""How much before and after the day of UTC it is somewhere."""

_COUNTED = "SELECT tenant, checked, healthy, expiring_soon, critical FROM token_days WHERE day = :day"
_DONE = """
    WITH done AS (
        SELECT h.account_id, h.kind, count(*) AS times, max(h.id::text COLLATE "C") AS last
          FROM token_history h LEFT JOIN unnest(CAST(:tenants AS text[]), CAST(:zones AS text[])) AS z (tenant, zone)
            ON z.tenant = h.tenant
         WHERE h.id >= :since AND h.id < :until AND h.kind = ANY(:kinds)
           AND (h.at AT TIME ZONE coalesce(z.zone, 'UTC'))::date = :day {owner}
         GROUP BY h.account_id, h.kind, CASE WHEN h.kind = 'told' THEN (h.facts ->> 'step') || h.reason END
    ), gravest AS (
        SELECT *, count(*) OVER () AS total FROM done
         ORDER BY array_position(CAST(:kinds AS text[]), kind), last DESC LIMIT :most)
    SELECT h.*, g.times, g.total, coalesce(a.name, '') AS name,
           CASE WHEN s.generation = h.generation THEN s.expires_at END AS present_end
      FROM gravest g JOIN token_history h ON h.id = CAST(g.last AS uuid)
      LEFT JOIN accounts a ON a.id = h.account_id LEFT JOIN token_status s ON s.account_id = h.account_id
     ORDER BY array_position(CAST(:kinds AS text[]), h.kind), h.id DESC"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tokens were looked at, and how they stood."""

    checked: int = 0
    healthy: int = 0
    expiring_soon: int = 0
    critical: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.checked + other.checked,
            self.healthy + other.healthy,
            self.expiring_soon + other.expiring_soon,
            self.critical + other.critical,
        )


def day_of(given: str | None, tenant: str | None, now: datetime) -> date:
    """The day that is meant: 2026-11-20, yesterday, today (also None), where the tenant is. Raises Invalid."""
    today = now.astimezone(ZoneInfo(_zone_of(tenant))).date()
    match given:
        case None | "today":
            return today
        case "yesterday":
            return today - timedelta(days=1)
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise _wrong("must be a day such as 2026-11-20, or today, or yesterday") from None
    if not FIRST <= day <= today:
        raise _wrong(f"must be from {FIRST} to today, which is {today} there")
    return day


def report(
    session: Session, day: date, tenant: str | None, *, now: datetime, most: int = MOST_ACTIONS
) -> dict[str, Any]:
    """JSON-ready. `tenant` None: all of them. `tokens_checked` is null where nobody looked that day."""
    counts, note = _counts(session, day, tenant, now)
    rows = _done(session, day, tenant, most)
    total = rows[0].total if rows else 0
    return {
        "date": day.isoformat(),
        "tokens_checked": None if counts is None else counts.checked,
        "status": {level.value: None if counts is None else getattr(counts, level.value) for level in Level},
        "actions": [action(row) for row in rows],
        "more_actions": total - len(rows),
        "tenant": tenant,
        "timezone": _zone_of(tenant),
        "made_at": clock.iso(now),
        "note": note,
    }


def action(row: Any) -> dict[str, Any]:
    """What was done about one account's token, the last time that day."""
    known = _moment(row.facts.get("expires_at"))
    new = known if row.kind in _RENEWING and not row.reason else None
    expires = _moment(row.facts.get("before_expires_at")) if row.kind in _RENEWING else known or row.present_end
    return {
        "client": f"{row.tenant} ({row.platform}/{row.external_id})",
        "token_expires": None if expires is None else clock.iso(expires),
        "days_remaining": None if expires is None else max(0, (expires - row.at).days),
        "action": _name_of(row),
        **({} if new is None else {"new_expiry": clock.iso(new)}),
        **({"alert": row.facts.get("step", "")} if row.kind == "told" else {}),
        "tenant": row.tenant,
        "platform": row.platform,
        "account": row.external_id,
        "name": row.name,
        "kind": row.kind,
        "reason": row.reason,
        "detail": row.facts.get("detail") or row.facts.get("error", ""),
        "at": clock.iso(row.at),
        "times": row.times,
    }


def _name_of(row: Any) -> str:
    """What went wrong is not called what it should have been."""
    match row.kind, row.reason:
        case "told", "failed":
            return "alert failed"
        case "refreshed", reason if reason:
            return ACTIONS["failed"]
    return ACTIONS[row.kind]


def _counts(session: Session, day: date, tenant: str | None, now: datetime) -> tuple[Counts | None, str]:
    """As the day's looks found them, of today also those that nobody has looked at yet; and what to say of that."""
    query = _COUNTED + ("" if tenant is None else " AND tenant = :tenant")
    looked = {name: Counts(*found) for name, *found in session.execute(text(query), {"day": day, "tenant": tenant})}
    if day != day_of(None, tenant, now):
        return (_sum(looked.values()), "") if looked else (None, NO_LOOK)
    others = {name: found for name, found in _present(session, tenant, now).items() if name not in looked}
    if not others:
        return _sum(looked.values()), "" if looked else AS_OF_NOW
    return _sum([*looked.values(), *others.values()]), YET_TO_COME if looked else AS_OF_NOW


def _present(session: Session, tenant: str | None, now: datetime) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    for one in listing.counts(session, by="tenant", now=now, tenant=tenant):
        if one.level not in WITHOUT:
            here = Counts(**{"checked": one.accounts, one.level: one.accounts})
            found[one.name] = found.get(one.name, Counts()) + here
    return found


def _sum(counts: Iterable[Counts]) -> Counts:
    return sum(counts, Counts())


def _done(session: Session, day: date, tenant: str | None, most: int) -> Sequence[Any]:
    tenants = catalog.current().budgeting.tenants
    zones = {name: found.timezone for name, found in tenants.items() if found.timezone != "UTC"}
    since, until = _period(day, tenant)
    query = _DONE.format(owner="" if tenant is None else "AND h.tenant = :tenant")
    given = {
        "since": ids.floor(since),
        "until": ids.floor(until),
        "day": day,
        "tenant": tenant,
        "tenants": list(zones),
        "zones": list(zones.values()),
        "kinds": list(ACTIONS),
        "most": most,
    }
    return session.execute(text(query), given).all()


def _period(day: date, tenant: str | None) -> tuple[datetime, datetime]:
    """When it is that day: where the tenant is, or anywhere."""
    zone = ZoneInfo(_zone_of(tenant))
    since, until = (datetime.combine(one, time(), zone) for one in (day, day + timedelta(days=1)))
    return (since, until) if tenant is not None else (since - _EARLIEST, until + _LATEST)


def _zone_of(tenant: str | None) -> str:
    return "UTC" if tenant is None else catalog.current().budgeting.zone_of(tenant)


def _moment(written: object) -> datetime | None:
    return datetime.fromisoformat(written) if isinstance(written, str) else None


def _wrong(message: str) -> Invalid:
    return Invalid([Problem("date", message)], subject="report")
