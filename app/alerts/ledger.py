"""The ledger of what is told: each notification once, and everybody who was told something of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.alerts import store
from app.infra.db import UnitOfWork


def told_addresses(session: Session, group_id: UUID) -> list[Row[Any]]:
    """Every address that was, may have been or may yet be told something of the group: channel, destination, recipient.

    What was given up without any answer may have arrived: its incident must not stay open for ever.
    """
    rows = session.execute(
        text(
            "SELECT DISTINCT ON (channel, destination) channel, destination, recipient FROM notifications"
            " WHERE group_id = :id AND (state IN ('waiting', 'sending', 'delivered')"
            " OR (state = 'failed' AND sent_at IS NOT NULL AND http_status IS NULL))"
            " ORDER BY channel, destination, id"
        ),
        {"id": group_id},
    )
    return list(rows)


def insert_notifications(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> list[UUID]:
    """Write what is to be told; the ids of those that were not there before: once a (group, step, address, reason)."""
    if not rows:
        return []
    inserted = uow.execute(
        "INSERT INTO notifications (id, group_id, thread, step, recipient, channel, destination, reason, event,"
        " severity, message, fact_at, fallback_of, source)"
        " SELECT r.id, r.group_id, r.thread, r.step, r.recipient, r.channel, r.destination, r.reason, r.event,"
        " r.severity, r.message, r.fact_at, r.fallback_of, coalesce(r.source, 'engine')"
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, group_id uuid, thread text, step integer,"
        " recipient text, channel text, destination text, reason text, event text, severity text, message jsonb,"
        " fact_at timestamptz, fallback_of uuid, source text)"
        " ON CONFLICT ON CONSTRAINT uq_notifications_once DO NOTHING RETURNING id",
        rows=store.as_json(rows),
    )
    return [row.id for row in inserted]
