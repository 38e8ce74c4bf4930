"""The SQL of bills: what was captured of a provider, bills as they were read, balances. Nothing here commits."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.costs import sums
from app.costs.bill_judging import Captured, State, percent
from app.costs.bill_source import DAY, Counted, Reading, midnight
from app.costs.sums import dollars
from app.infra.db import UnitOfWork

FILE = "file"
"""The source of a bill that people brought in; it stays, whatever is read."""

_KEEP_BALANCES = timedelta(days=400)
_COUNTS = ("input", "cached", "output")


@dataclass(frozen=True, slots=True)
class Bill:
    """A row of `cost_bills`."""

    provider: str
    day: date
    captured: Captured
    billed_micro_usd: int | None
    billed_tokens: Counted | None
    source: str
    state: State
    why: str
    moved_at: datetime | None
    checked_at: datetime

    def document(self) -> dict[str, Any]:
        """JSON-ready; money in dollars, `percent` by how much more was captured than billed."""
        theirs = self.billed_micro_usd
        return {
            "provider": self.provider,
            "day": self.day.isoformat(),
            "captured": dollars(self.captured.micro_usd),
            "billed": None if theirs is None else dollars(theirs),
            "percent": None if theirs is None else percent(self.captured.micro_usd, theirs),
            "captured_tokens": self.captured.document(),
            "billed_tokens": None if self.billed_tokens is None else self.billed_tokens.document(),
            "source": self.source,
            "state": self.state.value,
            "why": self.why,
            "checked_at": clock.iso(self.checked_at),
        }


def first_day(session: Session) -> date | None:
    """The day (UTC) of the first call that was ever recorded."""
    query = "SELECT min(start_at) FROM cost_days WHERE dimension = 'model'"
    found: datetime | None = session.execute(text(query)).scalar()
    return None if found is None else found.date()


def captured(session: Session, names: Collection[str], first: date, last: date) -> dict[date, Captured]:
    """By day (UTC), of all that these names of providers (lower case) cover; a day without calls is left out."""
    found: dict[date, Captured] = {}
    for row in sums.by(session, "provider", midnight(first), midnight(last + DAY), step="day"):
        if row.name.lower() in names and row.start_at is not None:
            day = row.start_at.date()
            found[day] = _added(found.get(day, Captured()), row.sums)
    return found


def captured_between(session: Session, names: Collection[str], since: datetime, until: datetime) -> Captured:
    """The same of any period."""
    found = Captured()
    for row in sums.by(session, "provider", since, until):
        if row.name.lower() in names:
            found = _added(found, row.sums)
    return found


def _added(known: Captured, more: sums.Sums) -> Captured:
    return Captured(
        known.micro_usd + more.cost_micro_usd,
        known.tokens + Counted(more.input_tokens, more.cached_tokens, more.output_tokens),
        known.calls + more.calls,
        known.unpriced + more.unpriced,
    )


def kept(session: Session, provider: str, first: date) -> dict[date, Bill]:
    """What is known of a provider's days from that one on."""
    query = text("SELECT * FROM cost_bills WHERE provider = :provider AND day >= :first ORDER BY day")
    return {row.day: _bill(row) for row in session.execute(query, {"provider": provider, "first": first})}


def listed(
    session: Session,
    *,
    provider: str | None = None,
    state: str | None = None,
    since: date | None = None,
    until: date | None = None,
    before: tuple[date, str] | None = None,
    limit: int = 100,
) -> list[Bill]:
    """The newest days first, of a day by provider; `before`: below this place."""
    given = {"provider": provider, "state": state, "since": since, "until": until}
    conditions = {
        "provider": "provider = :provider",
        "state": "state = :state",
        "since": "day >= :since",
        "until": "day <= :until",
    }
    used = [conditions[name] for name, value in given.items() if value is not None]
    values: dict[str, Any] = {**given, "limit": limit}
    if before is not None:
        used.append("(day < :day OR (day = :day AND provider > :after))")
        values |= {"day": before[0], "after": before[1]}
    where = f" WHERE {' AND '.join(used)}" if used else ""
    query = text(f"SELECT * FROM cost_bills{where} ORDER BY day DESC, provider LIMIT :limit")
    return [_bill(row) for row in session.execute(query, values)]


def _bill(row: Any) -> Bill:
    ours, theirs = row.captured_tokens or {}, row.billed_tokens
    return Bill(
        row.provider,
        row.day,
        Captured(row.captured_micro_usd, _counted(ours), ours.get("calls", 0), ours.get("unpriced", 0)),
        row.billed_micro_usd,
        None if theirs is None else _counted(theirs),
        row.source,
        State(row.state),
        row.why,
        row.moved_at,
        row.checked_at,
    )


def _counted(tokens: dict[str, int]) -> Counted:
    return Counted(*(tokens.get(name, 0) for name in _COUNTS))


def put(uow: UnitOfWork, bills: Sequence[Bill]) -> None:
    """Write days, or write them anew. A bill from a file is only replaced by one from a file."""
    rows = [
        {
            "provider": one.provider,
            "day": one.day,
            "captured_micro_usd": one.captured.micro_usd,
            "billed_micro_usd": one.billed_micro_usd,
            "captured_tokens": one.captured.document(),
            "billed_tokens": None if one.billed_tokens is None else one.billed_tokens.document(),
            "source": one.source,
            "state": one.state.value,
            "why": one.why,
            "moved_at": one.moved_at,
            "checked_at": one.checked_at,
        }
        for one in sorted(bills, key=lambda one: (one.provider, one.day))
    ]
    if rows:
        updated = ", ".join(f"{name} = excluded.{name}" for name in list(rows[0])[2:])
        uow.execute(
            "INSERT INTO cost_bills SELECT r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(provider text,"
            " day date, captured_micro_usd bigint, billed_micro_usd bigint, captured_tokens jsonb, billed_tokens jsonb,"
            " source text, state text, why text, moved_at timestamptz, checked_at timestamptz)"
            f" ON CONFLICT (provider, day) DO UPDATE SET {updated}"
            f" WHERE cost_bills.source <> '{FILE}' OR excluded.source = '{FILE}'",
            rows=json.dumps(rows, default=str),
        )


def balances(session: Session, provider: str, since: datetime, until: datetime) -> list[Reading]:
    """What was left of an account, the first reading first."""
    query = text(
        "SELECT at, balance_micro_usd FROM cost_balances WHERE provider = :provider AND at BETWEEN :since AND :until"
        " ORDER BY at"
    )
    found = session.execute(query, {"provider": provider, "since": since, "until": until})
    return [Reading(row.at, row.balance_micro_usd) for row in found]


def keep_balance(uow: UnitOfWork, provider: str, reading: Reading) -> None:
    """Write a reading, and forget those that are long past."""
    uow.execute(
        "INSERT INTO cost_balances (provider, at, balance_micro_usd) VALUES (:provider, :at, :balance)"
        " ON CONFLICT DO NOTHING",
        provider=provider,
        at=reading.at,
        balance=reading.micro_usd,
    )
    uow.execute(
        "DELETE FROM cost_balances WHERE provider = :provider AND at < :oldest",
        provider=provider,
        oldest=reading.at - _KEEP_BALANCES,
    )
