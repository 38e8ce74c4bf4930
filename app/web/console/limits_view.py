"""What the page about limits shows, made of the API's documents. Pure: takes `now`, returns plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.catalog import CLASSES, MICRO
from app.infra.words import duration
from app.web.console.charts import WindowChart, share, windows
from app.web.console.moments import Moment, moment, parse

SPANS = (("24 h", timedelta(hours=24), timedelta(hours=2)), ("30 d", timedelta(days=30), timedelta(days=3650)))
"""How far back windows are drawn: title, span, and the longest window that is drawn so."""

_TONES = {"none": "ok", "warn": "warn", "pause_background": "warn", "wait": "bad"}
_NOTES = {"none": "", "warn": "", "pause_background": "background work waits", "wait": "what needs it waits"}
_EFFECTS = {"wait": "waits", "deny": "is denied", "token": "waits for the token", "hint": "falls back"}


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit of one account. `width` and `marks` are of a bar of 100: used, and how far the classes may go.

    `has_past`: only calendar windows are ever over.
    """

    name: str
    account: str
    is_account: bool
    said: str
    percent: str
    width: float
    marks: tuple[float, ...]
    tone: str
    resets: str
    note: str
    has_past: bool = False


@dataclass(frozen=True, slots=True)
class AccountCard:
    """One account with its open windows."""

    account: str
    is_account: bool
    limits: tuple[LimitRow, ...]


@dataclass(frozen=True, slots=True)
class QueueRow:
    """An account whose operations wait."""

    account: str
    total: str
    classes: str
    blocked_by: str
    next_try: str


@dataclass(frozen=True, slots=True)
class HoldRow:
    """Something that holds operations of a scope: `what` waits or is denied."""

    scope: str
    what: str
    reason: str
    by: str
    since: Moment
    until: str


@dataclass(frozen=True, slots=True)
class LimitsPage:
    """All of the page. `account` None: of all accounts. `is_stored` is false while Postgres is away."""

    account: str | None
    notices: tuple[str, ...]
    as_of: Moment
    cards: tuple[AccountCard, ...] = ()
    queues: tuple[QueueRow, ...] = ()
    waiting: str = "0"
    queued: tuple[str, ...] = ()
    holds: tuple[HoldRow, ...] = ()
    more_holds: int = 0
    chart: WindowChart | None = None
    is_stored: bool = True


def overview_page(found: Mapping[str, Any] | None, notices: Sequence[str], now: datetime) -> LimitsPage:
    """Of all accounts; None: Postgres is away."""
    if found is None:
        said = "Postgres does not answer: the fullest accounts and who waits are not known."
        return LimitsPage(None, (*notices, said), Moment("-", None), is_stored=False)
    fullest = found["fullest"]
    return LimitsPage(
        account=None,
        notices=tuple(notices),
        as_of=moment(fullest["as_of"], now),
        cards=_cards(fullest["limits"]),
        queues=tuple(_queue(item, now) for item in found["queues"]),
        waiting=f"{found['waiting']:,}",
        holds=tuple(pause_row(item, now) for item in found["pauses"]),
        more_holds=max(0, found["open_pauses"] - len(found["pauses"])),
    )


def account_page(
    found: Mapping[str, Any], closed: Mapping[str, Any] | None, notices: Sequence[str], now: datetime
) -> LimitsPage:
    """Of one account. `closed`: a limit's windows that are over, with its name, span and period; None: not known."""
    waiting = found["waiting"]
    rows = tuple(limit_row(item) for item in found["limits"])
    queues: tuple[QueueRow, ...] = ()
    if waiting is not None and waiting["total"]:
        queues = (_queue({**found, "account": found["account"]}, now),)
    else:
        notices = notices if waiting is not None else (*notices, "Postgres does not answer: who waits is not known.")
    return LimitsPage(
        account=found["account"],
        notices=tuple(notices),
        as_of=moment(found["as_of"], now),
        cards=(AccountCard(found["account"], True, rows),) if rows else (),
        queues=queues,
        waiting="-" if waiting is None else f"{waiting['total']:,}",
        queued=tuple(found["queued_operations"] or ()),
        holds=tuple(_hold(item) for item in found["holds"]),
        chart=None if closed is None else windows(**closed, now=now),
        is_stored=waiting is not None,
    )


def limit_row(given: Mapping[str, Any]) -> LimitRow:
    """One limit as the API gives it."""
    used, limit = given["used"], given["limit"]
    blocked = given["blocked_until"]
    full = (
        {round(ceiling / limit * 100, 1) for ceiling in given["ceilings"].values() if ceiling < limit} if limit else ()
    )
    return LimitRow(
        name=given["name"],
        account=given["account"],
        is_account=given["subject"].startswith("account:"),
        said=f"{amount(used, given['currency'])} of {amount(limit, given['currency'])}",
        percent=f"{given['percentage']:g} %",
        width=share(used, limit),
        marks=tuple(sorted(full)),
        tone=_TONES[given["action"]],
        resets=f"free in {duration(float(given['seconds_to_reset']))}" if given["resets_at"] else "",
        note=f"blocked by the platform until {blocked}" if blocked else _NOTES[given["action"]],
        has_past=given["window"] == "calendar",
    )


def status_rows(rate_limits: Mapping[str, Mapping[str, Any]]) -> tuple[LimitRow, ...]:
    """The status document's `rate_limits`; none while they are not known."""
    return tuple(_status_row(name, given) for name, given in rate_limits.items() if given["used"] is not None)


def _status_row(name: str, given: Mapping[str, Any]) -> LimitRow:
    percentage, full = given["percentage"], given["full"]
    account = given["account"] or ""
    return LimitRow(
        name=name,
        account=account,
        is_account="/" in account and not account.startswith("tenant:"),
        said=f"{given['used']:,g} of {given['limit']:,g}",
        percent=f"{percentage:g} %",
        width=min(100.0, percentage),
        marks=(),
        tone="bad" if percentage >= 100 else "warn" if percentage >= 80 else "ok",
        resets="",
        note=f"{full:,} account{'' if full == 1 else 's'} at 100 %" if full else "",
    )


def amount(units: int, currency: str) -> str:
    """Calls, or dollars."""
    return f"{units:,}" if currency == "calls" else f"${units / MICRO:,.2f}"


def _cards(limits: Iterable[Mapping[str, Any]]) -> tuple[AccountCard, ...]:
    """By account, in the order of its fullest limit."""
    cards: dict[str, AccountCard] = {}
    for given in limits:
        row = limit_row(given)
        card = cards.get(row.account, AccountCard(row.account, row.is_account, ()))
        cards[row.account] = replace(card, limits=(*card.limits, row))
    return tuple(cards.values())


def _queue(given: Mapping[str, Any], now: datetime) -> QueueRow:
    waiting = given["waiting"]
    next_try = parse(given["next_try_at"])
    soon = next_try is None or next_try <= now
    return QueueRow(
        account=given["account"],
        total=f"{waiting['total']:,}",
        classes=", ".join(f"{waiting[name]:,} {name}" for name in CLASSES if waiting[name]),
        blocked_by=given["blocked_by"] or "",
        next_try="now" if soon or next_try is None else f"in {duration((next_try - now).total_seconds())}",
    )


def pause_row(given: Mapping[str, Any], now: datetime) -> HoldRow:
    """One pause as the API gives it."""
    return HoldRow(
        scope=given["scope"],
        what=_what(given["class"], given["effect"]),
        reason=given["reason"],
        by=given["set_by"].removeprefix("person:"),
        since=moment(given["since"], now),
        until=given["until"] or "it is lifted",
    )


def _hold(given: Mapping[str, Any]) -> HoldRow:
    return HoldRow(
        scope=given["scope"],
        what=_what(given["from_class"], given["effect"]),
        reason=given["reason"],
        by="",
        since=Moment("-", None),
        until=given["until"] or "it is over",
    )


def _what(least: str, effect: str) -> str:
    whom = {"critical": "everything", "background": "background work"}.get(least, f"{least} work and less urgent")
    return f"{whom} {_EFFECTS.get(effect, effect)}"
