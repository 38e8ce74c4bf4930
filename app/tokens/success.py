"""How many refreshes succeed: by day and platform, and why the others did not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog
from app.infra import ids
from app.tokens import tallying
from app.tokens.tallying import ALL, DAY, IS_A_TRY, OUTCOME

REFRESHED = "refreshed"
LONGEST_DAYS = 366

# What is added up and what came since, in one statement: between two, the place where one ends could move. `known` is
# that place as it was a moment before, for the planner: without a figure it would read whole days.
_KNOWN = f"SELECT until FROM token_tallied WHERE name = '{tallying.NAME}'"
_SUMS = """
    SELECT day, platform, outcome, reason, sum(tries)::bigint AS tries
      FROM (SELECT day, platform, outcome, reason, tries FROM token_tries
             WHERE tenant = :tenant AND day >= :day {platform}
             UNION ALL
            SELECT {utc_day}, platform, {outcome}, reason, count(*) FROM token_history
             WHERE id >= :known AND id >= coalesce(({place}), :known) AND {is_a_try} {platform} {owner}
             GROUP BY 1, 2, 3, 4) AS tried
     GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"""


class Tries(NamedTuple):
    """Refreshes of one day, platform, outcome and reason."""

    day: date
    platform: str
    outcome: str
    reason: str
    tries: int


@dataclass(frozen=True, slots=True)
class Share:
    """How many were tried, and how many gave a token."""

    tries: int
    succeeded: int

    @property
    def share(self) -> float | None:
        """Of 1, to four digits, never rounded up; None of nothing."""
        return self.succeeded * 10_000 // self.tries / 10_000 if self.tries else None

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"tries": self.tries, "succeeded": self.succeeded, "share": self.share}


def read(
    session: Session, *, now: datetime, days: int, tenant: str | None = None, platform: str | None = None
) -> list[Tries]:
    """Every refresh that was tried in the last `days` days (UTC, today is one), added up; exact up to now."""
    since = tallying.midnight(now, days)
    query = _SUMS.format(
        platform="" if platform is None else "AND platform = :platform",
        owner="" if tenant is None else "AND tenant = :tenant",
        utc_day=DAY,
        outcome=OUTCOME,
        is_a_try=IS_A_TRY,
        place=_KNOWN,
    )
    place = session.execute(text(_KNOWN)).scalar()
    known = max(place or ids.floor(since), ids.floor(since))
    values = {"tenant": ALL if tenant is None else tenant, "platform": platform, "day": since.date(), "known": known}
    return [Tries(*row) for row in session.execute(text(query), values)]


def share_of(rows: Iterable[Tries]) -> Share:
    """Of these."""
    tries = succeeded = 0
    for row in rows:
        tries += row.tries
        succeeded += row.tries if row.outcome == REFRESHED else 0
    return Share(tries, succeeded)


def by_reason(rows: Iterable[Tries]) -> list[dict[str, Any]]:
    """Why refreshes failed, the most frequent first."""
    counted: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        if row.outcome != REFRESHED:
            counted[row.outcome, row.reason] += row.tries
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [{"reason": reason, "outcome": outcome, "tries": tries} for (outcome, reason), tries in ordered]


def document(
    session: Session,
    *,
    now: datetime,
    days: int | None = None,
    tenant: str | None = None,
    platform: str | None = None,
) -> dict[str, Any]:
    """JSON-ready. `days` None: those of [tokens] success_days. Days on which nothing was tried are there, too."""
    settings = catalog.current().connecting.tokens
    span = days or settings.success_days
    rows = read(session, now=now, days=span, tenant=tenant, platform=platform)
    first = tallying.midnight(now, span).date()
    by_day = _grouped(rows, lambda row: row.day.isoformat())
    wanted = [(first + timedelta(days=place)).isoformat() for place in range(span)]
    return {
        "tenant": tenant,
        "platform": platform,
        "days": span,
        "since": first.isoformat(),
        "target": settings.success,
        **share_of(rows).document(),
        "by_outcome": {name: sum(row.tries for row in rows if row.outcome == name) for name in _OUTCOMES},
        "by_reason": by_reason(rows),
        "by_platform": [
            {"platform": name, **share_of(found).document(), "by_reason": by_reason(found)}
            for name, found in sorted(_grouped(rows, lambda row: row.platform).items())
        ],
        "by_day": [{"date": day, **share_of(by_day.get(day, ())).document()} for day in wanted],
    }


_OUTCOMES = (REFRESHED, "failed", "dead", "lost")


def _grouped(rows: Iterable[Tries], key: Callable[[Tries], str]) -> dict[str, Sequence[Tries]]:
    found: defaultdict[str, list[Tries]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(found)
