"""Groups whose time has come are decided about, and what is to be told becomes notifications with a job each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from app import clock, jobs
from app.alerts import addressing, groups, history, ledger, links, muted, store
from app.alerts.addressing import Pass
from app.alerts.core import State
from app.alerts.groups import BROKEN, NOBODY, Decision, Tell, Why
from app.alerts.recipients import Destination
from app.alerts.rendering import MOST_LINES, About, message_of
from app.alerts.rows import group_of, member_of, subject_of
from app.catalog import Catalog
from app.config import settings
from app.errors import Transient
from app.infra import db, ids, metrics
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.jobs import Priority, Submission
from app.notify.message import Event, Message
from app.notify.specs import resolve_all

BATCH = 100
DELIVER = "tasks.alerts.deliver"
PUT_OFF = timedelta(minutes=1)
"""When a group is looked at again that nobody can be told of."""

EVENTS = {
    Why.FIRST: Event.FIRING,
    Why.ADDED: Event.UPDATED,
    Why.ENDED: Event.UPDATED,
    Why.AGAIN: Event.REPEATED,
    Why.REPEATED: Event.REPEATED,
    Why.ESCALATED: Event.ESCALATED,
    Why.REMINDED: Event.ESCALATED,
    Why.ACKNOWLEDGED: Event.ACKNOWLEDGED,
    Why.ACTED: Event.UPDATED,
    Why.RESOLVED: Event.RESOLVED,
}

log = get_logger(__name__)


def prepare(now: datetime, hold_until: datetime | None, catalog: Catalog) -> Pass:
    """For the groups looked at in one pass."""
    return Pass(now, hold_until, catalog, resolve_all(catalog))


def tell_due(uow: UnitOfWork, look: Pass) -> int:
    """Decide about the groups whose time has come; how many there were, at most BATCH."""
    rows = store.due_groups(uow, look.now, BATCH)
    if not rows:
        return 0
    try:
        with uow.session.begin_nested():
            _together(uow, rows, look)
    except Exception as error:
        if _will_pass(error):
            raise
        log.exception("groups could not be decided about together: one by one")
        for row in rows:
            _alone(uow, row, look)
    return len(rows)


def _together(uow: UnitOfWork, rows: Sequence[Row[Any]], look: Pass) -> None:
    members = store.members_of(uow.session, [row.id for row in rows])
    mutes = muted.of_members(uow, rows, members, look.now, look.catalog)
    inserted: list[UUID] = []
    for row in rows:
        inserted += _one(uow, row, members[row.id], mutes, look)
    _submit(uow, inserted)


def _alone(uow: UnitOfWork, row: Row[Any], look: Pass) -> None:
    """One group; one that cannot be told is put off, and keeps no other from being told."""
    try:
        with uow.session.begin_nested():
            _together(uow, [row], look)
    except Exception as error:
        if _will_pass(error):
            raise
        log.exception("a group of alerts cannot be told", group=str(row.id), route=row.route)
        held = f"{BROKEN}: {type(error).__name__}"
        uow.execute(
            "UPDATE alert_groups SET held = :held, due_at = :due_at WHERE id = :id",
            held=held,
            due_at=look.now + groups.LOOK_AGAIN,
            id=row.id,
        )


def _will_pass(error: Exception) -> bool:
    """Is it the database's trouble rather than the group's?"""
    return isinstance(error, Transient) or (isinstance(error, DBAPIError) and db.is_transient(error))


def _one(
    uow: UnitOfWork, row: Row[Any], members: Sequence[Row[Any]], mutes: Mapping[muted.Key, muted.Held], look: Pass
) -> list[UUID]:
    decision = groups.decide(
        group_of(row), [member_of(member, mutes) for member in members], look.now, hold_until=look.hold_until
    )
    inserted: list[UUID] = []
    for tell in decision.tell:
        spoken_of = [member for member in members if _is_spoken_of(member, tell, mutes)]
        told = _tell(uow, row, spoken_of or store.last_told(uow.session, row.id, MOST_LINES), tell, look)
        if told is None:
            decision = Decision(group_of(row), due_at=look.now + PUT_OFF, held=NOBODY)
            break
        inserted += told
    _save(uow, row, decision, look.now)
    return inserted


def _save(uow: UnitOfWork, row: Row[Any], decision: Decision, now: datetime) -> None:
    after = decision.group
    store.save_group(
        uow,
        row.id,
        {
            "told_at": after.told_at,
            "told_count": after.told_count,
            "waiting_since": after.waiting_since,
            "step": after.step,
            "repeats": after.repeats,
            "acknowledged": after.acknowledged,
            "held": decision.held,
            "due_at": None if decision.closed else decision.due_at,
            "closed_at": now if decision.closed else None,
        },
    )
    if decision.closed:
        history.add(uow, "group_closed", group_id=row.id, facts={"held": decision.held} if decision.held else None)


def _tell(uow: UnitOfWork, row: Row[Any], members: Sequence[Row[Any]], tell: Tell, look: Pass) -> list[UUID] | None:
    """Write the notifications of one telling; their ids. None when nobody is configured to be told at all."""
    event = _event(tell, members)
    addresses, reasons = addressing.addresses(uow, row, members, tell, look, event=EVENTS[tell.why])
    if not addresses and tell.notify is None:
        return None
    fact_at = _fact_at(tell, members, look.now)
    message = _message(row, members, tell, event, look)
    made = [_notification(row, tell, message, address, fact_at=fact_at) for address in addresses]
    inserted = ledger.insert_notifications(uow, made)
    store.mark_told(uow, row.id, tell.begun, tell.ended, look.now, acted=tell.acted)
    history.add(
        uow,
        "told",
        group_id=row.id,
        facts={
            "why": tell.why,
            "step": tell.step,
            "to": [address.shown for address in addresses],
            "begun": len(tell.begun),
            "ended": len(tell.ended),
            **({"not": list(reasons)} if reasons else {}),
        },
    )
    metrics.ALERTS_TOLD.inc(why=tell.why, severity=row.severity)
    return inserted


def _event(tell: Tell, members: Sequence[Row[Any]]) -> Event:
    """What a channel makes of it: a test that begins is marked as one."""
    event = EVENTS[tell.why]
    return Event.TEST if addressing.is_test(members) and event is not Event.RESOLVED else event


def _fact_at(tell: Tell, members: Sequence[Row[Any]], now: datetime) -> datetime:
    """The moment of what is told: when the first of the new ones fired, or the last one ended; else now."""
    begun, ended = set(tell.begun), set(tell.ended)
    fired: list[datetime] = [row.fired_at for row in members if row.id in begun and row.fired_at]
    if fired:
        return min(fired)
    over: list[datetime] = [row.resolved_at for row in members if row.id in ended and row.resolved_at]
    return max(over) if over and tell.why is Why.RESOLVED else now


def _message(row: Row[Any], members: Sequence[Row[Any]], tell: Tell, event: Event, look: Pass) -> Message:
    """What every address is told; its key is each notification's own."""
    about = About(
        key="",
        thread=row.thread,
        event=event,
        at=look.now,
        receiver=row.receiver or "",
        route=row.route,
        group_labels=row.labels,
        external_url=settings().external_url,
        note=note_of(tell, row, look.now),
    )
    return message_of(about, [subject_of(member, look.catalog) for member in members])


def _notification(
    row: Row[Any], tell: Tell, message: Message, address: Destination, *, fact_at: datetime
) -> dict[str, Any]:
    key = ids.uuid7()
    # Whoever presses a button of this message is known by the address that it was sent to.
    who = address.person or address.recipient
    offered = () if message.event is Event.RESOLVED else links.of_group(settings(), row.id, message.at, who=who)
    own = replace(message, key=str(key), links=(*offered, *message.links))
    return {
        "id": key,
        "group_id": row.id,
        "thread": row.thread,
        "step": tell.step,
        "recipient": address.recipient,
        "channel": address.channel,
        "destination": address.to or "",
        "reason": tell.reason,
        "event": message.event,
        "severity": message.severity,
        "message": own.as_json(),
        "fact_at": clock.iso(fact_at),
    }


def _is_spoken_of(member: Row[Any], tell: Tell, mutes: Mapping[muted.Key, muted.Held]) -> bool:
    """Is it, or was it, told to these people, or is somebody at it? What is held back, and what waits, is not."""
    if member.state == State.RESOLVED:
        return member.id in tell.ended or (tell.why is Why.RESOLVED and member.member_told_at is not None)
    held = mutes.get((member.group_id, member.id))
    if held is not None and held.is_silent and tell.why is not Why.ACKNOWLEDGED:
        return False
    return member.member_told_at is not None or member.id in tell.begun or member.state == State.ACKNOWLEDGED


def note_of(tell: Tell, row: Row[Any], now: datetime) -> str:
    """Why this message comes now, where that is not obvious."""
    match tell.why:
        case Why.ADDED:
            return f"{len(tell.begun)} more since the last message"
        case Why.ENDED:
            return f"{len(tell.ended)} of them are over"
        case Why.AGAIN:
            return "still firing: the acknowledgement or the silence has run out"
        case Why.REPEATED:
            return "still firing, and nobody has answered"
        case Why.ESCALATED | Why.REMINDED:
            minutes = 0 if row.told_at is None else int((now - row.told_at).total_seconds() // 60)
            return f"escalated to step {tell.step}: nobody has answered for {minutes} min"
        case Why.ACKNOWLEDGED:
            return "somebody is at it"
        case Why.ACTED:
            return "something was done about it: see the actions taken"
        case Why.FIRST | Why.RESOLVED:
            return ""


def _submit(uow: UnitOfWork, notifications: Sequence[UUID]) -> None:
    jobs.submit_many(
        uow,
        [
            Submission(
                DELIVER,
                {"notification_id": str(notification)},
                key=str(notification),
                priority=Priority.HIGH,
                caller="alerts",
            )
            for notification in notifications
        ],
    )
