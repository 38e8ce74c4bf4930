"""When a channel cannot deliver: the same message through the next one, and a signal that the channel is in trouble."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app import jobs, signals
from app.alerts import history, ledger
from app.catalog import Telling
from app.infra import ids
from app.infra.db import UnitOfWork
from app.jobs import Priority
from app.notify import Message

TASK = "tasks.alerts.deliver"
RULE = "SMM_NotificationFailed"
"""The alert that a failing channel raises; the catalogue's rules raise it from `notify.failed`."""

URGENT = ("critical", "error")
EARLY_AFTER = 2
"""Tries after which an urgent message also goes another way, while its own channel is still being tried."""


def submit(uow: UnitOfWork, notification: UUID, *, after_seconds: float = 0.0) -> None:
    """The job that delivers one notification, due after so many seconds by the database's clock."""
    due = None
    if after_seconds > 0:
        due = uow.execute("SELECT now() + make_interval(secs => :wait)", wait=after_seconds).scalar_one()
    jobs.submit(
        uow,
        TASK,
        key=str(notification),
        not_before=due,
        priority=Priority.HIGH,
        caller="alerts",
        notification_id=str(notification),
    )


def instead(uow: UnitOfWork, row: Row[Any], telling: Telling) -> UUID | None:
    """Send what `row` could not deliver through the first fallback that its chain has not used; once a row.

    None when that was done before, when there is no other way, or when another way tells it already.
    """
    chain = _chain(uow, row)
    if any(link.fallback_of == row.id for link in chain):
        return None
    used = {link.channel for link in chain} | {row.channel}
    for channel in _ways(row, chain, telling):
        if channel in used or not telling.channels[channel].enabled:
            continue
        made = _through(uow, row, channel, telling)
        if made is not None:
            history.add(uow, "failed_over", group_id=row.group_id, facts={"from": row.channel, "to": channel})
            return made
        used.add(channel)
    return None


def _chain(uow: UnitOfWork, row: Row[Any]) -> Sequence[Row[Any]]:
    """Every notification that stands in for the same first one, and that one, besides `row`."""
    found: Sequence[Row[Any]] = uow.execute(
        "WITH RECURSIVE same AS ("
        "   SELECT id, channel, fallback_of FROM notifications WHERE thread = :thread AND step = :step"
        " ), up AS ("
        "   SELECT * FROM same WHERE id = :id"
        "   UNION SELECT s.* FROM same s JOIN up ON s.id = up.fallback_of"
        " ), down AS ("
        "   SELECT * FROM up UNION SELECT s.* FROM same s JOIN down ON s.fallback_of = down.id"
        " ) SELECT id, channel, fallback_of FROM down WHERE id <> :id ORDER BY id",
        thread=row.thread,
        step=row.step,
        id=row.id,
    ).all()
    return found


def _ways(row: Row[Any], chain: Sequence[Row[Any]], telling: Telling) -> Iterator[str]:
    """The channel's own fallbacks, then those of the channels it stands in for."""
    by_id = {link.id: link for link in chain}
    link: Any = row
    while link is not None:
        channel = telling.channels.get(link.channel)
        yield from (name for name in (channel.fallback if channel else ()) if name in telling.channels)
        link = by_id.get(link.fallback_of)


def _through(uow: UnitOfWork, row: Row[Any], channel: str, telling: Telling) -> UUID | None:
    destination = _address(row, channel, telling)
    if _told_there(uow, row, channel, destination):
        return None
    key = ids.uuid7()
    said = Message.from_json(row.message)
    why = f"Sent here because {row.channel} could not deliver it."
    message = replace(said, key=str(key), note=f"{said.note}\n{why}" if said.note else why)
    inserted = ledger.insert_notifications(
        uow,
        [
            {
                "id": key,
                "group_id": row.group_id,
                "thread": row.thread,
                "step": row.step,
                "recipient": row.recipient,
                "channel": channel,
                "destination": destination,
                "reason": f"{row.reason}-instead-of-{row.channel}",
                "event": row.event,
                "severity": row.severity,
                "message": message.as_json(),
                "fact_at": row.fact_at,
                "fallback_of": row.id,
                "source": row.source,
            }
        ],
    )
    for made in inserted:
        submit(uow, made)
    return inserted[0] if inserted else None


def _address(row: Row[Any], channel: str, telling: Telling) -> str:
    """The address there of the person whom the row was for; else the channel's only or usual one ("")."""
    kind, _, name = row.recipient.partition(":")
    for person in telling.people.values():
        known = {(contact.channel, contact.to or "") for contact in person.contacts}
        if (kind == "person" and person.name == name) or (row.destination and (row.channel, row.destination) in known):
            return next((contact.to or "" for contact in person.contacts if contact.channel == channel), "")
    return ""


def _told_there(uow: UnitOfWork, row: Row[Any], channel: str, destination: str) -> bool:
    """Does that address get the same message anyway, of itself or in another's stead?"""
    return bool(
        uow.execute(
            "SELECT EXISTS (SELECT 1 FROM notifications WHERE group_id = :group AND step = :step AND channel = :channel"
            " AND destination = :destination AND event = :event AND state IN ('waiting', 'sending', 'delivered')"
            " AND (reason = :reason OR reason LIKE :reason || '-instead-of-%'))",
            group=row.group_id,
            step=row.step,
            channel=channel,
            destination=destination,
            reason=row.reason.partition("-instead-of-")[0],
            event=row.event,
        ).scalar_one()
    )


def channel_failed(uow: UnitOfWork, row: Row[Any], *, kind: str, error: str, http_status: int | None) -> None:
    """Record that a message was given up, unless it was about this channel's being in trouble itself."""
    subject = subject_of(row.channel)
    if _is_about(uow, row, subject):
        return
    facts = {"error": error, "http_status": http_status, "notification": str(row.id), "recipient": row.recipient}
    signals.record(uow, "notify.failed", subject, labels={"channel": row.channel, "kind": kind}, facts=facts)


def channel_works(uow: UnitOfWork, row: Row[Any], *, kind: str) -> None:
    """Record that a channel in trouble has delivered: one look into an index where it is in none."""
    subject = subject_of(row.channel)
    in_trouble = uow.execute(
        "SELECT EXISTS (SELECT 1 FROM alert_episodes WHERE rule = :rule AND subject = :subject"
        " AND state <> 'resolved')",
        rule=RULE,
        subject=subject,
    ).scalar_one()
    if in_trouble:
        signals.record(uow, "notify.recovered", subject, labels={"channel": row.channel, "kind": kind})


def subject_of(channel: str) -> str:
    """What its signals are about."""
    return f"channel:{channel}"


def _is_about(uow: UnitOfWork, row: Row[Any], subject: str) -> bool:
    return bool(
        uow.execute(
            "SELECT EXISTS (SELECT 1 FROM alert_group_members m JOIN alert_episodes e ON e.id = m.episode_id"
            " WHERE m.group_id = :group AND e.rule = :rule AND e.subject = :subject)",
            group=row.group_id,
            rule=RULE,
            subject=subject,
        ).scalar_one()
    )
