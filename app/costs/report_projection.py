"""What a report says about the month: spent so far, and what it will have cost at its end, with a band."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.costs import forecast, sums
from app.costs.sums import dollars

_MOMENT = timedelta(milliseconds=1)

HISTORY = timedelta(days=35)
"""Five weeks: what a weekday usually costs, and how wrong such forecasts were of late."""


def read(session: Session, tenant: str | None, zone: str, at: datetime) -> dict[str, Any] | None:
    """Of a tenant's month, or of everybody's, as it stood at `at`; None where nothing was spent in five weeks.

    At the moment at which a month ends, it is the one that ends.
    """
    last = at - _MOMENT
    since = (at - HISTORY).replace(minute=0, second=0, microsecond=0)
    rows = sums.by(session, "total", since, at, tenant=tenant, step="hour")
    hours = {row.start_at: row.sums.cost_micro_usd for row in rows if row.start_at is not None}
    if not hours:
        return None
    start, _ = forecast.period_at("month", zone, last)
    spent = sums.total(session, start, at, tenant=tenant).cost_micro_usd
    found = forecast.forecast(hours, "month", zone, last, spent=spent)
    return {
        "period": "month",
        "since": clock.iso(found.start),
        "until": clock.iso(found.end),
        "spent": dollars(found.spent),
        "projected": dollars(found.projected),
        "low": dollars(found.low),
        "high": dollars(found.high),
        "is_rough": found.is_rough,
    }
