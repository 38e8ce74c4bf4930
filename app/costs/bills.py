"""What was captured beside what providers bill, day by day (UTC): read, compared, kept, told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app import catalog, jobs, signals
from app.catalog import Provider, did_you_mean
from app.costs import bill_store, watch_store
from app.costs.bill_judging import Captured, State, judge, percent
from app.costs.bill_source import DAY, Billed, Reading, Source, days, midnight
from app.costs.bill_store import FILE, Bill
from app.costs.billing import billings, named_by_calls, prepaid
from app.costs.sums import dollars
from app.errors import Invalid, Misconfigured, NotFound, Problem
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger

log = get_logger(__name__)

RECONCILE = "tasks.costs.reconcile_provider"
DIFFERS, AGREES = "costs.bill_differs", "costs.bill_agrees"

LOOK_BACK = 7
"""Days that are read again after their bill counts as final: late calls come, and bills are corrected."""
UNDECIDED = 31
"""Days that are read as long as they do not agree."""
LONGEST = 180
"""Days that may be asked for."""

_AROUND = timedelta(hours=6)
"""How far beyond the days readings of a balance are loaded."""
_ON, _REFUSED = "bill", "bill_refused"
_MOST_DAYS_TOLD = 10


@dataclass(frozen=True, slots=True)
class _Before:
    """What is known of a provider's days `now`, before they are compared; `began`: the day of the first call."""

    bills: Mapping[date, Bill]
    began: date | None
    now: datetime


def configured(name: str) -> Provider:
    """The provider of that name in the catalogue, or whom calls name so. Raises NotFound."""
    providers = catalog.current().billing.enabled
    if name in providers:
        return providers[name]
    for provider in providers.values():
        if name.lower() in named_by_calls(provider):
            return provider
    known = ", ".join(providers) or "none"
    raise NotFound(f"no bill is read of {name}{did_you_mean(name, providers)}: the catalogue has {known}")


def submit(uow: UnitOfWork, name: str | None = None, since: date | None = None) -> dict[str, str]:
    """A job for each provider, or for one; their ids by provider. Raises NotFound."""
    providers = [configured(name)] if name else list(catalog.current().billing.enabled.values())
    first = None if since is None else since.isoformat()
    made = {}
    for one in providers:
        key = f"{one.name} {first or ''}".rstrip()
        made[one.name] = str(jobs.submit(uow, RECONCILE, key=key, provider=one.name, since=first))
    return made


def forget_gone(uow: UnitOfWork) -> None:
    """What was told of providers that the catalogue no longer has is over."""
    names = catalog.current().billing.enabled
    for kind, name in watch_store.on(uow.session, (_ON, _REFUSED)):
        if name not in names and watch_store.end(uow, kind, name) is not None and kind == _ON:
            signals.record(uow, AGREES, name, labels={"provider": name}, facts={"why": "its bill is no longer read"})


def day_written(text: str, now: datetime) -> date:
    """The first day that somebody asks for. Raises Invalid."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Invalid([Problem("since", "is no date such as 2026-11-20")], subject="period") from None
    if not now.date() - LONGEST * DAY <= day < now.date():
        message = f"must be a day that is over, of the last {LONGEST}"
        raise Invalid([Problem("since", message)], subject="period")
    return day


@contextmanager
def told_once(name: str, now: datetime) -> Iterator[None]:
    """Let Misconfigured out the first time only: a key that is refused is so every hour, and people know by now."""
    try:
        yield
    except Misconfigured as error:
        with unit_of_work() as uow:
            is_news = watch_store.begin(uow, _REFUSED, name, {"why": str(error)}, now)
        if is_news:
            raise
        log.warning("still misconfigured", provider=name, error=str(error))
    else:
        with unit_of_work() as uow:
            watch_store.end(uow, _REFUSED, name)


def reconcile(name: str, now: datetime, *, since: date | None = None) -> list[Bill]:
    """Read a provider's bill and compare it; the days that were looked at.

    Raises NotFound, Transient, Permanent; and Misconfigured where the key is refused, after the days say so.
    """
    provider = configured(name)
    with read_only() as session:
        before = _before(session, provider, now.date() - LONGEST * DAY, now)
    first, last = since or _first(provider, before), now.date() - DAY
    if first is None or first > last:
        return []
    try:
        billed = _read(provider, first, last, now)
    except Misconfigured as error:
        untold = [Billed(day, None, settled=True, note=str(error)) for day in days(first, last)]
        with unit_of_work() as uow:
            _write(uow, provider, [one for one in untold if _is_untold(before, one.day)], before)
        raise
    with unit_of_work() as uow:
        return _write(uow, provider, billed, before)


def bring_in(uow: UnitOfWork, provider: Provider, amounts: Mapping[date, int], now: datetime) -> list[Bill]:
    """Days' bills (micro-dollars) that people have as a file count instead of what is read; what became of them."""
    found = [Billed(day, amount, settled=True) for day, amount in sorted(amounts.items())]
    return _write(uow, provider, found, _before(uow.session, provider, min(amounts), now), source=FILE)


def keep_balance(provider: Provider, now: datetime) -> None:
    """Read what is left of an account that is paid in advance, and write it down. Raises as `reconcile`."""
    module = prepaid(provider)
    if module is not None:
        left = module.balance(provider)
        with unit_of_work() as uow:
            bill_store.keep_balance(uow, provider.name, Reading(now, left))


def _before(session: Session, provider: Provider, first: date, now: datetime) -> _Before:
    return _Before(bill_store.kept(session, provider.name, first), bill_store.first_day(session), now)


def _first(provider: Provider, before: _Before) -> date | None:
    """From which day on it is looked by itself: the last days, and earlier ones that do not agree yet."""
    if before.began is None:
        return None
    today = before.now.date()
    open_days = [
        day for day, bill in before.bills.items() if bill.state is not State.AGREES and day >= today - UNDECIDED * DAY
    ]
    return max(min([today - (provider.settle_days + LOOK_BACK) * DAY, *open_days]), before.began + DAY)


def _is_untold(before: _Before, day: date) -> bool:
    return day not in before.bills or before.bills[day].billed_micro_usd is None


def _read(provider: Provider, first: date, last: date, now: datetime) -> list[Billed]:
    module = billings()[provider.billing]
    keep_balance(provider, now)
    with read_only() as session:
        ends = midnight(first) - _AROUND, midnight(last + DAY) + _AROUND
        balances = bill_store.balances(session, provider.name, *ends)
    return module.read(Source(provider, balances), first, last, now)


def _write(
    uow: UnitOfWork, provider: Provider, found: Sequence[Billed], before: _Before, source: str | None = None
) -> list[Bill]:
    """Compare, write, tell."""
    if not found:
        return []
    used = found if source == FILE else [_of_file(before.bills.get(one.day)) or one for one in found]
    ours = _captured(uow.session, provider, used)
    made = [_compared(provider, one, ours[one.day], before, source) for one in used]
    bill_store.put(uow, made)
    _tell(uow, provider, before, made)
    return made


def _compared(provider: Provider, one: Billed, ours: Captured, before: _Before, source: str | None) -> Bill:
    known = before.bills.get(one.day)
    is_of_file = source == FILE or (known is not None and known.source == FILE)
    moved_at = None if is_of_file else _moved_at(known, one, before.now)
    verdict = judge(ours, one, provider, before.now, began=before.began, moved_at=moved_at)
    return Bill(
        provider=provider.name,
        day=one.day,
        captured=ours,
        billed_micro_usd=one.micro_usd,
        billed_tokens=one.tokens,
        source=FILE if is_of_file else provider.billing,
        state=verdict.state,
        why=verdict.why,
        moved_at=moved_at,
        checked_at=before.now,
    )


def _of_file(before: Bill | None) -> Billed | None:
    """A bill that people brought in counts instead of what is read."""
    if before is None or before.source != FILE:
        return None
    return Billed(before.day, before.billed_micro_usd, before.billed_tokens, settled=True)


def _moved_at(before: Bill | None, found: Billed, now: datetime) -> datetime | None:
    if before is None or before.billed_micro_usd is None:
        return None
    is_other = found.micro_usd is not None and found.micro_usd != before.billed_micro_usd
    return now if is_other else before.moved_at


def _captured(session: Session, provider: Provider, found: Sequence[Billed]) -> dict[date, Captured]:
    names = named_by_calls(provider)
    by_day = bill_store.captured(session, names, found[0].day, found[-1].day)
    return {
        one.day: bill_store.captured_between(session, names, *one.period)
        if one.period is not None
        else by_day.get(one.day, Captured())
        for one in found
    }


def _tell(uow: UnitOfWork, provider: Provider, before: _Before, made: Sequence[Bill]) -> None:
    """Once when a day comes to differ, until the last day that is decided agrees."""
    days_known = {**before.bills, **{bill.day: bill for bill in made}}
    decided = [bill for bill in days_known.values() if bill.state in (State.DIFFERS, State.AGREES)]
    if not decided:
        return
    labels = {"provider": provider.name}
    wrong = [bill for bill in made if bill.state is State.DIFFERS]
    is_new = any(_state(before, bill.day) is not State.DIFFERS for bill in wrong)
    last = max(decided, key=lambda bill: bill.day)
    if is_new:
        facts = _facts(wrong, provider)
        if watch_store.begin(uow, _ON, provider.name, facts, before.now):
            signals.record(uow, DIFFERS, provider.name, labels=labels, facts=facts)
    elif last.state is State.AGREES:
        began_at = watch_store.end(uow, _ON, provider.name)
        if began_at is not None:
            facts = {"day": last.day.isoformat(), "seconds": round((before.now - began_at).total_seconds())}
            signals.record(uow, AGREES, provider.name, labels=labels, facts=facts)


def _state(before: _Before, day: date) -> State | None:
    known = before.bills.get(day)
    return None if known is None else known.state


def _facts(wrong: Sequence[Bill], provider: Provider) -> dict[str, Any]:
    """Of the last day that differs; `days` are all of them."""
    last = wrong[-1]
    theirs = last.billed_micro_usd or 0
    return {
        "day": last.day.isoformat(),
        "days": [bill.day.isoformat() for bill in wrong[-_MOST_DAYS_TOLD:]],
        "captured": dollars(last.captured.micro_usd),
        "billed": dollars(theirs),
        "percent": percent(last.captured.micro_usd, theirs),
        "tolerance": round(100 * provider.tolerance, 4),
        "why": last.why,
    }
