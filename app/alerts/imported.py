"""What the watchdog told while the engine could not, taken into the ledger: nobody is told a second time.

Importing twice changes nothing. It happens in the transaction that stores the watchdog's results, before them: when the
engine learns of the fall, the episode is open, its group is told, and the ladder goes on from there. A page that did
not arrive becomes the engine's to deliver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import clock
from app.alerts import failover, history, ledger, store
from app.alerts.groups import Why
from app.alerts.raising import SOURCE as RAISED
from app.alerts.raising import raise_now
from app.alerts.rules import Raise
from app.infra.db import UnitOfWork

SOURCE = "watchdog"


class PageState(StrEnum):
    """What became of a page. Waiting: to be tried, or tried again. Given up: another try of ours cannot help.

    Handed over: the engine delivers it.
    """

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    HANDED_OVER = "handed_over"


@dataclass(frozen=True, slots=True)
class Page:
    """One message to one address; its id is the message's key and the notification's id. `destination` may be ""."""

    id: UUID
    recipient: str
    channel: str
    destination: str
    message: Mapping[str, Any]
    fallback_of: UUID | None = None
    state: PageState = PageState.WAITING
    attempts: int = 0
    sent_at: datetime | None = None
    finished_at: datetime | None = None
    http_status: int | None = None
    provider_id: str | None = None
    latency_ms: float | None = None
    error: str | None = None

    @property
    def in_doubt(self) -> bool:
        """May an earlier try have arrived? An answer that refused it says no; silence says nothing."""
        return self.sent_at is not None and self.http_status is None and self.state is not PageState.DELIVERED


@dataclass(frozen=True, slots=True)
class Call:
    """The alerts of one fall in one thread, and everybody who is told. `fall` tells falls of one service apart.

    `group` is the row of their group, should none be open. `over`: the service is back. `why`: the reason of the
    message where the group was told before.
    """

    id: UUID
    fall: str
    service: str
    raised: tuple[Raise, ...]
    group: Mapping[str, Any]
    told_at: datetime
    pages: tuple[Page, ...] = field(default=())
    over: bool = False
    why: str = str(Why.ADDED)

    @property
    def thread(self) -> str:
        return str(self.group["thread"])

    @property
    def is_tried(self) -> bool:
        """Has anybody been told, or may have been?"""
        return any(page.attempts for page in self.pages)


def import_calls(uow: UnitOfWork, calls: Iterable[Call], now: datetime) -> set[UUID]:
    """Take them in, those that nobody has tried yet too; the ids of pages that from now on the engine delivers alone.

    Waits for its turn among the pipeline's passes, and takes their locks in their order.
    """
    ordered = sorted(calls, key=lambda call: (call.thread, call.told_at))
    if not ordered:
        return set()
    uow.execute("SELECT pg_advisory_xact_lock(hashtext('alerts: pass'))")
    handed_over: set[UUID] = set()
    for call in ordered:
        handed_over |= _import(uow, call, now)
    return handed_over


def told_since(session: Session, fingerprints: Sequence[str], at: datetime) -> set[str]:
    """Which of these alerts last, and were told at or after that moment."""
    rows = session.execute(
        text(
            "SELECT fingerprint FROM alert_episodes WHERE state <> 'resolved' AND fingerprint = ANY(:fingerprints)"
            " AND told_at >= :at"
        ),
        {"fingerprints": list(fingerprints), "at": at},
    )
    return set(rows.scalars())


def _import(uow: UnitOfWork, call: Call, now: datetime) -> set[UUID]:
    known = _known(uow, call.pages)
    if known:
        group_id, reason = next((row.group_id, row.reason.partition("-instead-of-")[0]) for row in known.values())
    else:
        group_id, reason = _told(uow, call, now)
    ours = [page for page in call.pages if page.state is not PageState.HANDED_OVER]
    fresh = [page for page in ours if page.id not in known]
    ledger.insert_notifications(uow, [_row(call, page, group_id, reason) for page in fresh])
    known = _known(uow, ours)
    return {page.id for page in ours if page.id not in known or not _save(uow, page, known[page.id])}


def _known(uow: UnitOfWork, pages: Sequence[Page]) -> dict[UUID, Row[Any]]:
    rows = uow.execute(
        "SELECT id, group_id, reason, state, attempts, source FROM notifications WHERE id = ANY(:ids) FOR UPDATE",
        ids=[page.id for page in pages],
    )
    return {row.id: row for row in rows}


def _told(uow: UnitOfWork, call: Call, now: datetime) -> tuple[UUID, str]:
    """Open the alerts and their group as far as they are not, and note that they are told; the group, the reason."""
    group_id = store.open_groups(uow, [call.group], now)[call.thread]
    group = uow.execute("SELECT * FROM alert_groups WHERE id = :id FOR UPDATE", id=group_id).one()
    episodes = [
        raise_now(
            uow, replace(raised, wait=timedelta(), count=1, within=None), now, source=RAISED, facts={"by": SOURCE}
        )
        for raised in sorted(call.raised, key=lambda item: item.fingerprint)
    ]
    store.add_members(uow, [(group_id, episode) for episode in episodes], now)
    store.mark_told(uow, group_id, episodes, [], call.told_at)
    count = group.told_count + 1
    uow.execute(
        "UPDATE alert_groups SET told_at = :at, told_count = :count, waiting_since = coalesce(waiting_since, :at),"
        " held = NULL, due_at = :now WHERE id = :id",
        id=group_id,
        at=call.told_at,
        count=count,
        now=now,
    )
    reason = str(Why.FIRST) if group.told_at is None else f"{call.why}-{count}"
    facts = {"why": reason.partition("-")[0], "by": SOURCE, "to": [_addressee(page) for page in call.pages]}
    entries = [history.Entry("group_opened", group_id=group_id)] if str(group_id) == str(call.group["id"]) else []
    history.add_many(uow, [*entries, history.Entry("told", group_id=group_id, facts=facts)])
    return group_id, reason


def _addressee(page: Page) -> str:
    return f"{page.recipient} by {page.channel}"


def _row(call: Call, page: Page, group_id: UUID, reason: str) -> dict[str, Any]:
    parents = {other.id: other for other in call.pages}
    parent = parents.get(page.fallback_of) if page.fallback_of is not None else None
    return {
        "id": page.id,
        "group_id": group_id,
        "thread": call.thread,
        "step": 0,
        "recipient": page.recipient,
        "channel": page.channel,
        "destination": page.destination,
        "reason": reason if parent is None else f"{reason}-instead-of-{parent.channel}",
        "event": page.message["event"],
        "severity": page.message["severity"],
        "message": dict(page.message),
        "fact_at": clock.iso(min(raised.at for raised in call.raised)),
        "fallback_of": page.fallback_of,
        "source": SOURCE,
    }


def _save(uow: UnitOfWork, page: Page, row: Row[Any]) -> bool:
    """Write down how far the page is; False when it is the engine's: because it took it over, or because it must."""
    delivered, given_up = page.state is PageState.DELIVERED, page.state is PageState.GIVEN_UP
    if row.state not in ("waiting", "sending"):
        return delivered
    if not delivered and (row.source != SOURCE or row.attempts > page.attempts):
        return False
    uow.execute(
        "UPDATE notifications SET state = :state, attempts = :attempts, sent_at = :sent_at,"
        " finished_at = :finished_at, http_status = :http_status, provider_id = :provider_id,"
        " latency_ms = :latency_ms, error = :error, source = :source, created_at = least(created_at, :sent_at)"
        " WHERE id = :id",
        id=page.id,
        state=str(PageState.WAITING if given_up else page.state),
        attempts=0 if given_up else page.attempts,
        source="engine" if given_up else SOURCE,
        sent_at=page.sent_at,
        finished_at=page.finished_at,
        http_status=page.http_status,
        provider_id=page.provider_id,
        latency_ms=page.latency_ms,
        error=page.error,
    )
    if delivered:
        history.add(uow, "delivered", group_id=row.group_id, facts=_facts(page), at=page.finished_at)
    if given_up:
        failover.submit(uow, page.id)
    return not given_up


def _facts(page: Page) -> dict[str, Any]:
    return {
        "by": SOURCE,
        "notification": str(page.id),
        "channel": page.channel,
        "recipient": page.recipient,
        "attempts": page.attempts,
        "latency_ms": page.latency_ms,
    }
