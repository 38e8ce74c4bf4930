"""One notification to one address: at least once, under one key, within the address's rate, or through another channel.

That a try begins is committed before it begins. A notification that was being sent and has no outcome may have arrived;
where the other side cannot tell a repeat, the next try says so in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Row

from app import catalog as catalogs
from app.alerts import failover, history, queueing
from app.alerts.skipping import Standing, reason_to_skip
from app.catalog import Catalog
from app.errors import Invalid, LeaseLost, Misconfigured, Transient
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger
from app.jobs.worker import JobContext
from app.notify import ChannelSpec, Delivery, Event, Message, Outcome, put_off, resolve, send, take

TRIES = 8
"""Tries of one notification: with the ledger's pauses about ten minutes."""

BEHIND_SECONDS = 2.0
"""How long a message waits for one that is on its way to the same address, so that an end never overtakes a start."""

REST_SECONDS = 5.0
"""How long an address is left alone that did not answer: messages to others must not queue up behind it."""

FORGOTTEN_SECONDS = 120

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """A try that is committed and about to be made."""

    row: Row[Any]
    spec: ChannelSpec
    delivery: Delivery
    attempt: int
    is_last: bool


def deliver(ctx: JobContext, notification_id: UUID) -> None:
    """One attempt of the job that delivers a notification. Raises Transient when another try may help."""
    begun = _begin(ctx, notification_id)
    if begun is not None:
        _record(ctx, begun, send(begun.spec, begun.delivery))


def _begin(ctx: JobContext, notification_id: UUID) -> Begun | None:
    """The try to make; None when there is none, and the job is completed by then."""
    with read_only() as session:
        row = queueing.load(session, notification_id, forgotten_seconds=FORGOTTEN_SECONDS)
    if row is None or row.state not in ("waiting", "sending"):
        _done(ctx)
        return None
    catalog = catalogs.current()
    channel = catalog.telling.channels.get(row.channel)
    if channel is None or not channel.enabled:
        _without_channel(ctx, row, catalog)
        return None
    message = _message(row)
    if message is None:
        _unreadable(ctx, row)
        return None
    try:
        spec = resolve(channel)
    except Invalid as error:
        _unusable(ctx, row, channel.kind, str(error), catalog)
        return None
    if (reason := reason_to_skip(_standing(row))) is not None:
        _skipped(ctx, row, reason)
    elif row.attempts >= TRIES:
        _given_up(ctx, row, spec, catalog)
    elif row.behind:
        _put_off(ctx, row, BEHIND_SECONDS)
    elif (wait := _wait(spec, row)) > 0:
        _put_off(ctx, row, queueing.in_line(row, wait, spec.rate.per_second))
    else:
        return _started(ctx, row, spec, message)
    return None


def _started(ctx: JobContext, row: Row[Any], spec: ChannelSpec, message: Message) -> Begun | None:
    """Commit that a try begins now."""
    with ctx.unit_of_work() as uow:
        attempt = uow.execute(
            "UPDATE notifications SET state = 'sending', attempts = attempts + 1, sent_at = now(), http_status = NULL"
            " WHERE id = :id AND attempts = :attempts AND state IN ('waiting', 'sending') RETURNING attempts",
            id=row.id,
            attempts=row.attempts,
        ).scalar_one_or_none()
    if attempt is None:  # somebody else tries it: their outcome counts
        _done(ctx)
        return None
    delivery = Delivery(
        message=message,
        to=row.destination or None,
        reply_to=row.reply_to,
        may_be_repeat=_in_doubt(row),
    )
    return Begun(row, spec, delivery, attempt, attempt >= TRIES or ctx.attempt >= ctx.claim.max_attempts)


def _record(ctx: JobContext, begun: Begun, outcome: Outcome) -> None:
    if outcome.delivered:
        _delivered(ctx, begun, outcome)
    elif outcome.permanent or begun.is_last:
        catalog = catalogs.current()
        with ctx.complete({"state": "failed", "error": outcome.error}) as uow:
            if _close(uow, begun, outcome, "failed"):
                _failed(uow, begun.row, begun.spec.module.KIND, outcome, catalog)
    else:
        _try_again(ctx, begun, outcome)


def _delivered(ctx: JobContext, begun: Begun, outcome: Outcome) -> None:
    """Keep that it arrived, even when the job was taken back meanwhile: whoever has it now need not send it again."""
    try:
        with ctx.complete({"state": "delivered"}) as uow:
            _keep_delivered(uow, begun, outcome)
    except LeaseLost:
        with unit_of_work() as uow:
            _keep_delivered(uow, begun, outcome)
        raise


def _keep_delivered(uow: UnitOfWork, begun: Begun, outcome: Outcome) -> None:
    row = begun.row
    if not _close(uow, begun, outcome, "delivered"):
        return
    failover.channel_works(uow, row, kind=begun.spec.module.KIND)
    facts = {"attempts": begun.attempt, "latency_ms": outcome.latency_ms, **_named(row)}
    history.add(uow, "delivered", group_id=row.group_id, facts=facts)


def _try_again(ctx: JobContext, begun: Begun, outcome: Outcome) -> None:
    row, error = begun.row, outcome.error or "not delivered"
    with ctx.unit_of_work() as uow:
        waits = uow.execute(
            "UPDATE notifications SET state = 'waiting', error = :error, http_status = :http_status,"
            " latency_ms = :latency_ms WHERE id = :id AND attempts = :attempt AND state = 'sending' RETURNING id",
            id=row.id,
            attempt=begun.attempt,
            error=error,
            http_status=_status(begun, outcome),
            latency_ms=outcome.latency_ms,
        ).one_or_none()
        if waits is not None and row.severity in failover.URGENT and begun.attempt >= failover.EARLY_AFTER:
            failover.instead(uow, row, catalogs.current().telling)
    if outcome.http_status is None:  # no answer at all: others for the same address need not find that out one by one
        put_off(begun.spec.destination(row.destination or None), REST_SECONDS)
    raise Transient(f"{row.channel}: {error}", retry_after=outcome.retry_after)


def _close(uow: UnitOfWork, begun: Begun, outcome: Outcome, state: str) -> bool:
    """Write a try's final outcome, unless a later try has one or is under way and this one did not arrive."""
    closed = uow.execute(
        "UPDATE notifications SET state = :state, finished_at = now(), error = :error, http_status = :http_status,"
        " provider_id = :provider_id, latency_ms = :latency_ms WHERE id = :id AND state IN ('waiting', 'sending')"
        " AND (attempts = :attempt OR :state = 'delivered') RETURNING id",
        id=begun.row.id,
        state=state,
        attempt=begun.attempt,
        error=outcome.error,
        http_status=_status(begun, outcome),
        provider_id=outcome.provider_id,
        latency_ms=outcome.latency_ms,
    ).one_or_none()
    return closed is not None


def _status(begun: Begun, outcome: Outcome) -> int | None:
    """The answer, as far as it says whether the message arrived: one that refuses this try says nothing of one before
    that stayed without any."""
    return outcome.http_status if outcome.delivered or not begun.delivery.may_be_repeat else None


def _failed(uow: UnitOfWork, row: Row[Any], kind: str, outcome: Outcome, catalog: Catalog) -> None:
    """What follows when a notification is given up: another channel, and an alert about this one."""
    error = outcome.error or "not delivered"
    facts = {"error": error, "http_status": outcome.http_status, **_named(row)}
    history.add(uow, "delivery_failed", group_id=row.group_id, facts=facts)
    failover.instead(uow, row, catalog.telling)
    failover.channel_failed(uow, row, kind=kind, error=error, http_status=outcome.http_status)


def _done(ctx: JobContext) -> None:
    with ctx.complete():
        pass


def _without_channel(ctx: JobContext, row: Row[Any], catalog: Catalog) -> None:
    """Its channel has left the catalogue, or was switched off: an operator's will, and no trouble of the channel."""
    known = row.channel in catalog.telling.channels
    error = f"channel {row.channel} is switched off" if known else f"there is no channel {row.channel} any more"
    with ctx.complete({"state": "failed", "error": error}) as uow:
        if _end(uow, row, "failed", error):
            history.add(uow, "delivery_failed", group_id=row.group_id, facts={"error": error, **_named(row)})
            failover.instead(uow, row, catalog.telling)


def _unusable(ctx: JobContext, row: Row[Any], kind: str, error: str, catalog: Catalog) -> None:
    """Its channel was good when the catalogue was read, and is not any more: a file that it needs is gone."""
    with ctx.complete({"state": "failed", "error": error}) as uow:
        if _end(uow, row, "failed", error):
            _failed(uow, row, kind, Outcome(delivered=False, permanent=True, error=error), catalog)


def _message(row: Row[Any]) -> Message | None:
    """None when another version of us wrote it in a way that this one cannot read."""
    try:
        return Message.from_json(row.message)
    except ValidationError:
        return None


def _unreadable(ctx: JobContext, row: Row[Any]) -> None:
    error = "the stored message cannot be read by this version"
    log.error("a notification cannot be read", notification=str(row.id))
    with ctx.complete({"state": "failed", "error": error}) as uow:
        if _end(uow, row, "failed", error):
            history.add(uow, "delivery_failed", group_id=row.group_id, facts={"error": error, **_named(row)})


def _given_up(ctx: JobContext, row: Row[Any], spec: ChannelSpec, catalog: Catalog) -> None:
    """Its last try was cut off, and nobody knows more."""
    outcome = Outcome(delivered=False, error=row.error or "every try was cut off")
    with ctx.complete({"state": "failed", "error": outcome.error}) as uow:
        if _end(uow, row, "failed", outcome.error):
            _failed(uow, row, spec.module.KIND, outcome, catalog)


def _skipped(ctx: JobContext, row: Row[Any], reason: str) -> None:
    with ctx.complete({"state": "skipped", "reason": reason}) as uow:
        if _end(uow, row, "skipped", reason):
            history.add(uow, "delivery_skipped", group_id=row.group_id, facts={"reason": reason, **_named(row)})


def _put_off(ctx: JobContext, row: Row[Any], seconds: float) -> None:
    """Leave it to a later job: waiting for the address's rate is no failed try."""
    with ctx.complete({"state": "waiting", "seconds": round(seconds, 3)}) as uow:
        failover.submit(uow, row.id, after_seconds=seconds)


def _end(uow: UnitOfWork, row: Row[Any], state: str, error: str | None) -> bool:
    """End a notification without a try."""
    ended = uow.execute(
        "UPDATE notifications SET state = :state, finished_at = now(), error = :error"
        " WHERE id = :id AND attempts = :attempts AND state IN ('waiting', 'sending') RETURNING id",
        id=row.id,
        state=state,
        attempts=row.attempts,
        error=error,
    ).one_or_none()
    return ended is not None


def _wait(spec: ChannelSpec, row: Row[Any]) -> float:
    """Seconds until the address may be told again; an address that is none is the channel's own business to refuse."""
    try:
        destination = spec.destination(row.destination or None)
    except Misconfigured:
        return 0.0
    return take(destination, spec.rate.per_second, spec.rate.burst)


def _named(row: Row[Any]) -> dict[str, Any]:
    return {
        "notification": str(row.id), "channel": row.channel, "recipient": row.recipient, "reason": row.reason,
    }  # fmt: skip


def _in_doubt(row: Row[Any]) -> bool:
    """May an earlier try have arrived? An answer that refused it says no; silence says nothing."""
    return row.sent_at is not None and row.http_status is None


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        event=Event(row.event),
        closed=row.closed,
        acknowledged=row.acknowledged,
        in_doubt=_in_doubt(row),
        told=row.told,
        maybe_told=row.maybe_told,
        end_told=row.end_told,
        begun_anew=row.begun_anew,
    )


_FORGOTTEN = """
SELECT n.id FROM notifications n
WHERE n.state IN ('waiting', 'sending') AND n.created_at < now() - make_interval(secs => :forgotten)
  AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.task = :task AND j.key = n.id::text
                    AND j.state IN ('scheduled', 'rung'))
  AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.task = :task AND j.key = n.id::text AND j.state = 'running')
ORDER BY n.created_at LIMIT 200
"""


def pick_up(uow: UnitOfWork) -> int:
    """Give open notifications whose job has died (a worker killed at every try) another one; how many there were."""
    rows = uow.execute(_FORGOTTEN, forgotten=FORGOTTEN_SECONDS, task=failover.TASK).all()
    for row in rows:
        failover.submit(uow, row.id)
    if rows:
        log.warning("notifications had lost their jobs", notifications=len(rows))
    return len(rows)
