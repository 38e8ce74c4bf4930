"""Limits as they stand: live ones from Redis, stored ones from Postgres while it is away, and who waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog
from app.admission import limit_document, waiting
from app.admission.limit_document import Queued
from app.admission.waiting import Line
from app.catalog import Limiting, RateLimit, did_you_mean
from app.clock import iso
from app.errors import Invalid, NotFound, Problem, Transient
from app.infra.text import storable
from app.limits import keys, live, reading
from app.limits.core import Hold
from app.limits.live import Figures, Sight
from app.limits.models import LimitWindowRow
from app.limits.windows import bucket_of

NOT_LIVE = "the counters do not answer: figures are those of the last snapshot"


@dataclass(frozen=True, slots=True)
class Account:
    """`PLATFORM/NAME`, and whose it is where limits are counted by tenant. A platform `-` stands for none."""

    platform: str | None
    name: str
    tenant: str | None = None

    @property
    def line(self) -> str:
        """As it is written."""
        return f"{self.platform or '-'}/{self.name}"

    @property
    def subject(self) -> str:
        """Whose counters."""
        return keys.account(self.platform, self.name)


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """Every limit that concerns an account. `waits` is None while Postgres is away, `line` also where nobody waits."""

    account: Account
    figures: tuple[Figures, ...]
    holds: tuple[tuple[str, Hold], ...]
    waits: Sequence[Queued] | None
    line: Line | None
    is_live: bool
    at: datetime

    def document(self, now: datetime) -> dict[str, Any]:
        """JSON-ready."""
        by_rank = (0, 0, 0, 0) if self.line is None else self.line.by_rank
        return {
            "as_of": iso(self.at),
            "live": self.is_live,
            "account": self.account.line,
            "tenant": self.account.tenant,
            "limits": [limit_document.shown(found, now) for found in self.figures],
            "waiting": None if self.waits is None else limit_document.waiting_shown(by_rank),
            "queued_operations": None if self.waits is None else limit_document.queued_shown(self.waits),
            "next_try_at": None if self.line is None else iso(self.line.next_try_at),
            "blocked_by": None if self.line is None else self.line.blocked_by or None,
            "holds": [limit_document.hold_shown(scope, hold) for scope, hold in self.holds],
        }


def account_of(written: str, tenant: str | None = None) -> Account:
    """`PLATFORM/NAME` as it was typed. Raises Invalid; NotFound for a platform that no operation is done on."""
    platform, slash, name = storable(written).partition("/")
    if not slash or not name or not platform:
        raise Invalid([Problem("account", "must be PLATFORM/NAME, such as instagram/acme")], subject="account")
    platforms = {one.platform or "-" for one in catalog.current().limiting.operations.values()}
    if platform not in platforms:
        raise NotFound(f"no operation is done on such a platform{did_you_mean(platform, platforms)}")
    return Account(None if platform == "-" else platform, name, tenant and storable(tenant))


def concerning(limiting: Limiting, account: Account) -> list[tuple[RateLimit, str]]:
    """Limits that operations of the account's platform use, with whose counter: the account's, the tenant's, all's."""
    used = {
        name
        for operation in limiting.operations.values()
        if operation.platform == account.platform
        for name in operation.consumes
    }
    subjects = {"account": account.subject, "all": keys.EVERYBODY}
    if account.tenant is not None:
        subjects["tenant"] = keys.tenant(account.tenant)
    return [
        (limit, subjects[limit.per])
        for limit in limiting.limits.values()
        if limit.name in used and limit.per in subjects
    ]


def look_at(account: Account) -> Sight | None:
    """The live counters and what holds; None while they cannot be read, or are being brought back."""
    limiting = catalog.current().limiting
    subjects = list(dict.fromkeys([account.subject, *(subject for _, subject in concerning(limiting, account))]))
    try:
        return live.look(subjects, _scopes(limiting, account))
    except Transient:
        return None


def _scopes(limiting: Limiting, account: Account) -> list[str]:
    scopes = [account.subject, f"platform:{account.platform}"]
    if account.tenant is not None:
        scopes.append(keys.tenant(account.tenant))
    ours = [operation for operation in limiting.operations.values() if operation.platform == account.platform]
    scopes += [f"operation:{operation.name}" for operation in ours]
    return scopes + [f"service:{name}" for name in dict.fromkeys(one for each in ours for one in each.requires)]


def read_account(
    session: Session | None, account: Account, sight: Sight | None, now: datetime, *, limit_name: str | None = None
) -> AccountLimits:
    """All of it, or one limit. Without a session (Postgres is away) only what was seen, without a sight only what is
    stored. Raises Transient without either, NotFound for a limit that the catalogue has not."""
    limiting = catalog.current().limiting
    concerned = concerning(limiting, account)
    if limit_name is not None:
        wanted = known(limit_name)
        concerned = [(limit, subject) for limit, subject in concerned if limit is wanted]
    line = waits = None
    if session is not None:
        line = waiting.line_of(session, account.line)
        waits = waiting.queued(session, list(limiting.operations), account=account.line) if line is not None else []
    if sight is not None:
        figures = tuple(sight.figures(limit, subject) for limit, subject in concerned)
    elif session is not None:
        figures = tuple(_stored(session, limit, subject, now) for limit, subject in concerned)
    else:
        raise Transient("neither Redis nor Postgres answers")
    return AccountLimits(
        account=account,
        figures=figures,
        holds=() if sight is None else tuple((scope, hold) for scope, held in sight.holds.items() for hold in held),
        waits=waits,
        line=line,
        is_live=sight is not None,
        at=now if sight is None else sight.at,
    )


def _stored(session: Session, limit: RateLimit, subject: str, now: datetime) -> Figures:
    rows = reading.windows(session, subject=subject, limit_name=limit.name, limit=1)
    found = next((figures for row in rows if (figures := stored_figures(row, limit, now)) is not None), None)
    return found or live.figures_of(limit, subject, None, now)


def stored_figures(row: LimitWindowRow, limit: RateLimit, now: datetime) -> Figures | None:
    """A stored window; None where it is over."""
    ends_at = row.end_at
    if ends_at is None:
        width, buckets = bucket_of(limit)
        ends_at = row.taken_at + timedelta(milliseconds=width * buckets)
    if ends_at <= now:
        return None
    return Figures(
        limit,
        row.subject,
        row.taken_at,
        used=row.used,
        capacity=row.capacity,
        resets_at=ends_at,
        room_at=ends_at,
        refused=row.refused,
        deferred=row.deferred,
        is_stored=True,
    )


def known(limit_name: str) -> RateLimit:
    """The limit of that name. Raises NotFound with a near one, if there is."""
    limits = catalog.current().limiting.limits
    if limit_name not in limits:
        raise NotFound(f"no limit is named so{did_you_mean(limit_name, limits)}")
    return limits[limit_name]


def one(
    limit_name: str, account: Account | None, session: Session | None, now: datetime, *, tenant: str | None = None
) -> dict[str, Any]:
    """The document of one limit: of an account, else of whoever has used most of it. Raises NotFound, Transient."""
    limit = known(limit_name)
    subject = _subject(session, limit, account, tenant)
    found = _figures(session, limit, subject, now)
    waits: Sequence[Queued] = ()
    if session is not None:
        operations = catalog.current().limiting.operations.values()
        kind, _, name = subject.partition(":")
        waits = waiting.queued(
            session,
            [operation.name for operation in operations if limit_name in operation.consumes],
            account=name if kind == "account" else None,
            tenant=name if kind == "tenant" else None,
        )
    return limit_document.document(found, waits, now)


def _subject(session: Session | None, limit: RateLimit, account: Account | None, tenant: str | None) -> str:
    if limit.per == "all":
        return keys.EVERYBODY
    if limit.per == "account" and account is not None:
        return account.subject
    if limit.per == "tenant" and tenant is not None:
        return keys.tenant(storable(tenant))
    if session is None:
        raise Transient("Postgres does not answer: name an account")
    worst = reading.worst(session).get(limit.name)
    if worst is not None:
        return worst.subject
    return keys.account(limit.platform, "-") if limit.per == "account" else keys.tenant("-")


def _figures(session: Session | None, limit: RateLimit, subject: str, now: datetime) -> Figures:
    try:
        sight = live.look([subject])
    except Transient:
        sight = None
    if sight is not None:
        return sight.figures(limit, subject)
    if session is None:
        raise Transient("neither Redis nor Postgres answers")
    return _stored(session, limit, subject, now)


def fullest(
    session: Session, now: datetime, *, limit_name: str | None = None, limit: int = 50, after: str | None = None
) -> dict[str, Any]:
    """Open windows as of the last snapshot, the fullest first."""
    limits = catalog.current().limiting.limits
    if limit_name is not None:
        known(limit_name)
    rows = reading.windows(session, limit_name=limit_name, after=after, limit=limit + 1)
    found = [figures for row in rows[:limit] if (figures := _of_row(row, limits, now)) is not None]
    return {
        "as_of": iso(max((figures.at for figures in found), default=now)),
        "limits": [limit_document.shown(figures, now) for figures in found],
        "next": reading.cursor(rows[limit - 1]) if len(rows) > limit else None,
    }


def _of_row(row: LimitWindowRow, limits: Mapping[str, RateLimit], now: datetime) -> Figures | None:
    """None of a limit that the catalogue has not any more."""
    limit = limits.get(row.limit_name)
    return None if limit is None else stored_figures(row, limit, now)


def history(
    session: Session,
    *,
    account: Account | None = None,
    tenant: str | None = None,
    limit_name: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Windows that are over, the newest first."""
    subject = keys.tenant(tenant) if tenant is not None and account is None else None
    if account is not None:
        subject = account.subject
    rows = reading.history(session, subject=subject, limit_name=limit_name, since=since, until=until, limit=limit)
    return [limit_document.closed_shown(row) for row in rows]


def status_limits(session: Session, limiting: Limiting, now: datetime) -> dict[str, dict[str, Any]]:
    """`rate_limits` of the status document, of what is stored."""
    limits = limiting.limits
    found = {name: _of_row(row, limits, now) for name, row in reading.worst(session).items()}
    worst = {name: figures for name, figures in found.items() if figures is not None}
    return limit_document.status_entries(limits.values(), worst, _full(session, limits, now))


_FULL = f"""
    SELECT wanted.name, (SELECT count(*) FROM limit_windows w
            WHERE w.limit_name = wanted.name AND w.share >= 1 AND {reading.IS_LIVE}) AS full
      FROM {reading.WANTED}"""


def _full(session: Session, limits: Mapping[str, RateLimit], now: datetime) -> dict[str, int]:
    """How many accounts have used all of each limit."""
    rows = session.execute(text(_FULL), reading.wanted(limits, now))
    return {row.name: row.full for row in rows}
