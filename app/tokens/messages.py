"""Messages to owners as rows: what is known of one when its turn comes, every change of its state. Never commits."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.infra.db import UnitOfWork
from app.notify import Outcome
from app.tokens.telling import RESTORED, TASK

FORGOTTEN_SECONDS = 120
"""What has been on its way for so long has nobody any more who will say what became of it."""

IN_FLIGHT_SECONDS = 75
"""More than a try may last (a channel's time-out is 60 at most): who began one longer ago sends nothing any more."""

MOST_PICKED_UP = 500

_LOAD = """
SELECT m.*, m.state = 'sending' AND m.tried_at > now() - make_interval(secs => :in_flight) AS in_flight, beside.*
FROM token_messages m
CROSS JOIN LATERAL (
  SELECT coalesce(bool_or(o.state = 'sending' AND o.id < m.id
           AND o.tried_at > now() - make_interval(secs => :forgotten)), false) AS behind,
         coalesce(bool_or(o.climb = m.climb AND o.step <> :restored AND (o.state = 'sent' OR o.in_doubt)), false)
           AS told,
         (array_agg(o.provider_id ORDER BY o.id) FILTER (
           WHERE o.climb = m.climb AND o.state = 'sent' AND o.provider_id <> ''))[1] AS reply_to
  FROM token_messages o
  WHERE o.account_id = m.account_id AND o.channel = m.channel AND o.recipient = m.recipient AND o.id <> m.id
) AS beside
WHERE m.id = :id
"""


def load(session: Session, message_id: UUID) -> Row[Any] | None:
    """The message; is a try of it under way (`in_flight`)? Of those to the same address about the same account: is an
    earlier one on its way (`behind`), has one of the climb arrived for all one knows (`told`), as what (`reply_to`)?
    """
    asked = {
        "id": message_id, "restored": RESTORED, "forgotten": FORGOTTEN_SECONDS, "in_flight": IN_FLIGHT_SECONDS,
    }  # fmt: skip
    return session.execute(text(_LOAD), asked).one_or_none()


def begin(uow: UnitOfWork, row: Row[Any]) -> int | None:
    """Write that a try begins now; its number, or None when somebody else was faster."""
    began: int | None = uow.execute(
        "UPDATE token_messages SET state = 'sending', tries = tries + 1, tried_at = now(), in_doubt = true"
        " WHERE id = :id AND tries = :tries AND state IN ('waiting', 'sending') RETURNING tries",
        id=row.id,
        tries=row.tries,
    ).scalar_one_or_none()
    return began


def close(uow: UnitOfWork, row: Row[Any], attempt: int, outcome: Outcome, state: str) -> bool:
    """Write a try's final outcome, unless a later try has one or is under way and this one did not arrive."""
    closed = uow.execute(
        "UPDATE token_messages SET state = :state, error = :error, in_doubt = :in_doubt, provider_id = :provider_id,"
        " sent_at = CASE WHEN :state = 'sent' THEN now() END"
        " WHERE id = :id AND state IN ('waiting', 'sending') AND (tries = :tries OR :state = 'sent') RETURNING id",
        id=row.id,
        state=state,
        tries=attempt,
        error=outcome.error or "",
        in_doubt=_stays_in_doubt(row, outcome),
        provider_id=outcome.provider_id or "",
    ).one_or_none()
    return closed is not None


def wait_again(uow: UnitOfWork, row: Row[Any], attempt: int, outcome: Outcome, error: str) -> None:
    """Write that a try failed and another one follows."""
    uow.execute(
        "UPDATE token_messages SET state = 'waiting', error = :error, in_doubt = :in_doubt"
        " WHERE id = :id AND tries = :tries AND state = 'sending'",
        id=row.id,
        tries=attempt,
        error=error,
        in_doubt=_stays_in_doubt(row, outcome),
    )


def end(uow: UnitOfWork, row: Row[Any], state: str, error: str) -> bool:
    """End a message without a try."""
    ended = uow.execute(
        "UPDATE token_messages SET state = :state, error = :error"
        " WHERE id = :id AND tries = :tries AND state IN ('waiting', 'sending') RETURNING id",
        id=row.id,
        state=state,
        tries=row.tries,
        error=error,
    ).one_or_none()
    return ended is not None


def ahead(session: Session, row: Row[Any], *, most: float) -> int:
    """How many wait for the same address and were written before it, counted up to `most`."""
    found: int = session.execute(
        text(
            "SELECT count(*) FROM (SELECT FROM token_messages WHERE state IN ('waiting', 'sending')"
            " AND channel = :channel AND recipient = :recipient AND (created_at, id) < (:created_at, :id)"
            " LIMIT :most) AS ahead"
        ),
        {
            "channel": row.channel,
            "recipient": row.recipient,
            "created_at": row.created_at,
            "id": row.id,
            "most": math.ceil(most),
        },
    ).scalar_one()
    return found


def others(uow: UnitOfWork, row: Row[Any]) -> int:
    """To how many addresses the same step was told, or still may be."""
    found: int = uow.execute(
        "SELECT count(*) FROM token_messages WHERE account_id = :account AND climb = :climb AND step = :step"
        " AND id <> :id AND state IN ('waiting', 'sending', 'sent')",
        account=row.account_id,
        climb=row.climb,
        step=row.step,
        id=row.id,
    ).scalar_one()
    return found


def has_failed_there(uow: UnitOfWork, row: Row[Any]) -> bool:
    """Was an earlier message of the climb to the same address given up?"""
    return bool(
        uow.execute(
            "SELECT EXISTS (SELECT 1 FROM token_messages WHERE account_id = :account AND climb = :climb"
            " AND channel = :channel AND recipient = :recipient AND state = 'failed')",
            account=row.account_id,
            climb=row.climb,
            channel=row.channel,
            recipient=row.recipient,
        ).scalar_one()
    )


def without_job(uow: UnitOfWork) -> list[UUID]:
    """Open messages whose job has died: a worker was killed at every try."""
    rows = uow.execute(
        "SELECT m.id FROM token_messages m WHERE m.state IN ('waiting', 'sending')"
        " AND m.created_at < now() - make_interval(secs => :forgotten)"
        " AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.task = :task AND j.key = m.id::text"
        "                   AND j.state IN ('scheduled', 'rung'))"
        " AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.task = :task AND j.key = m.id::text AND j.state = 'running')"
        " ORDER BY m.created_at LIMIT :most",
        forgotten=FORGOTTEN_SECONDS,
        task=TASK,
        most=MOST_PICKED_UP,
    )
    return [row.id for row in rows]


def _stays_in_doubt(row: Row[Any], outcome: Outcome) -> bool:
    """May any try have arrived unheard? An answer that refuses this one says nothing of one before."""
    is_answer = outcome.delivered or outcome.permanent or outcome.http_status is not None
    return not outcome.delivered and (row.in_doubt or not is_answer)
