"""One message to one owner: at least once, under one key, within the address's rate; dropped where it is true no more.

That a try begins is committed before it begins. A message that was being sent and has no outcome may have arrived; the
next try says so in words. Locks are taken in the ladder's order: the token's row, its messages, its signals.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app import catalog as catalogs
from app import clock, signals
from app.catalog import Catalog
from app.errors import LeaseLost, NotFound, Transient
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger
from app.jobs.worker import JobContext
from app.notify import ChannelSpec, Delivery, Outcome, put_off, resolve, send, take
from app.tokens import letters, messages, store, telling
from app.tokens.core import Step
from app.tokens.rows import Held
from app.tokens.telling import RESTORED, Contact

TRIES = 12
"""Tries of one message: with the ledger's pauses two and a half hours."""

BEHIND_SECONDS = 2.0
"""How long a message waits for an earlier one that is on its way to the same address."""

REST_SECONDS = 5.0
"""How long an address is left alone that did not answer."""

LINE_SECONDS = 300.0
"""How long a message waits at most that stands in line for its address, before it looks again."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """A try that is committed and about to be made."""

    row: Row[Any]
    held: Held
    spec: ChannelSpec
    delivery: Delivery
    attempt: int
    is_last: bool
    now: datetime


def deliver(ctx: JobContext, message_id: UUID, *, now: datetime | None = None) -> None:
    """One attempt of the job that delivers a message. Raises Transient when another try may help."""
    begun = _begin(ctx, message_id, now or clock.now())
    if begun is not None:
        _record(ctx, begun, send(begun.spec, begun.delivery))


def reason_to_drop(row: Row[Any], held: Held) -> str | None:
    """Why a message is true no more, by the state of its account now; None for one that is."""
    status = held.status
    if held.account.disabled_at is not None:
        return "disabled"
    if status.climb != row.climb:
        return "another_climb"
    if row.step == RESTORED:
        return "in_trouble_again" if status.told is not Step.NONE else None
    if status.told is Step.NONE:
        return "connected"
    return "higher_step" if status.told.height > Step(row.step).height else None


def _begin(ctx: JobContext, message_id: UUID, now: datetime) -> Begun | None:
    """The try to make; None when there is none, and the job is completed by then."""
    row, held = _loaded(message_id)
    if row is None or held is None or row.state not in ("waiting", "sending"):
        _done(ctx)
        return None
    contact, catalog = Contact(row.channel, row.recipient), catalogs.current()
    reason = reason_to_drop(row, held) or ("never_told" if row.step == RESTORED and not row.told else None)
    if row.in_flight:  # whoever began it may have lost the job, and still be sending
        _put_off(ctx, row, messages.IN_FLIGHT_SECONDS)
    elif reason is not None:
        _drop(ctx, row, reason)
    elif row.behind:
        _put_off(ctx, row, BEHIND_SECONDS)
    elif problem := telling.problem_of(contact, catalog):
        _give_up(ctx, row, problem, catalog, now=now)
    elif row.tries >= TRIES:
        _give_up(ctx, row, row.error or "every try was cut off", catalog, now=now)
    else:
        spec = resolve(catalog.telling.channels[contact.channel])
        wait = take(spec.destination(contact.to or None), spec.rate.per_second, spec.rate.burst)
        if wait <= 0:
            return _started(ctx, row, held, spec, now)
        _put_off(ctx, row, _in_line(row, wait, spec.rate.per_second))
    return None


def _loaded(message_id: UUID) -> tuple[Row[Any] | None, Held | None]:
    with read_only() as session:
        row = messages.load(session, message_id)
        try:
            return row, None if row is None else store.load_id(session, row.account_id)
        except NotFound:
            return row, None


def _started(ctx: JobContext, row: Row[Any], held: Held, spec: ChannelSpec, now: datetime) -> Begun | None:
    """Commit that a try begins now. The link in it is made for this try, and stored nowhere."""
    message = letters.message_of(row.id, held, climb=row.climb, step=row.step, now=now)
    with ctx.unit_of_work() as uow:
        attempt = messages.begin(uow, row)
    if attempt is None:  # somebody else tries it: their outcome counts
        _done(ctx)
        return None
    delivery = Delivery(message, row.recipient or None, reply_to=row.reply_to, may_be_repeat=row.in_doubt)
    is_last = attempt >= TRIES or ctx.attempt >= ctx.claim.max_attempts
    return Begun(row, held, spec, delivery, attempt, is_last, now)


def _record(ctx: JobContext, begun: Begun, outcome: Outcome) -> None:
    row = begun.row
    if outcome.delivered:
        _delivered(ctx, begun, outcome)
    elif outcome.permanent or begun.is_last:
        error = outcome.error or "not delivered"
        with ctx.complete({"state": "failed", "error": error}) as uow:
            held = store.lock(uow, row.account_id)
            if held is not None and messages.close(uow, row, begun.attempt, outcome, "failed"):
                _failed(uow, row, held, error, catalogs.current(), now=begun.now)
    else:
        _try_again(ctx, begun, outcome)


def _delivered(ctx: JobContext, begun: Begun, outcome: Outcome) -> None:
    """Keep that it arrived, even when the job was taken back meanwhile: whoever has it now need not send it again."""
    try:
        with ctx.complete({"state": "sent"}) as uow:
            _keep_sent(uow, begun, outcome)
    except LeaseLost:
        with unit_of_work() as uow:
            _keep_sent(uow, begun, outcome)
        raise


def _keep_sent(uow: UnitOfWork, begun: Begun, outcome: Outcome) -> None:
    row = begun.row
    held = store.lock(uow, row.account_id)
    if held is None or not messages.close(uow, row, begun.attempt, outcome, "sent"):
        return
    if messages.has_failed_there(uow, row):
        facts = {"step": row.step, "channel": row.channel}
        signals.record(uow, telling.TOLD, held.account.subject, labels=held.account.labels, facts=facts)


def _try_again(ctx: JobContext, begun: Begun, outcome: Outcome) -> None:
    row, error = begun.row, outcome.error or "not delivered"
    with ctx.unit_of_work() as uow:
        messages.wait_again(uow, row, begun.attempt, outcome, error)
    if outcome.http_status is None:  # no answer at all: others for the same address need not find that out one by one
        put_off(begun.spec.destination(row.recipient or None), REST_SECONDS)
    raise Transient(f"{row.channel}: {error}", retry_after=outcome.retry_after)


def _give_up(ctx: JobContext, row: Row[Any], error: str, catalog: Catalog, *, now: datetime) -> None:
    """It cannot be tried any more, or its last try was cut off, and nobody knows more."""
    with ctx.complete({"state": "failed", "error": error}) as uow:
        held = store.lock(uow, row.account_id)
        if held is not None and messages.end(uow, row, "failed", error):
            _failed(uow, row, held, error, catalog, now=now)


def _failed(uow: UnitOfWork, row: Row[Any], held: Held, error: str, catalog: Catalog, *, now: datetime) -> None:
    """What follows when a message is given up: the same address through another channel, else the staff is told.

    The token's row is locked: nothing is told to the staff after the end of the trouble, which would end it never.
    """
    account, instead = held.account, _instead(uow, row, catalog, now=now)
    store.record(
        uow, account, "told", by="delivery", now=now, generation=held.status.generation, reason="failed",
        step=row.step, channel=row.channel, error=error, instead=instead,
    )  # fmt: skip
    if instead is not None or row.step == RESTORED or reason_to_drop(row, held) is not None:
        return
    others = messages.others(uow, row)
    severity = "warning" if others else "error"
    facts = {"step": row.step, "channel": row.channel, "error": error, "others": others, "severity": severity}
    signals.record(uow, telling.FAILED, account.subject, labels=account.labels, facts=facts)


def _instead(uow: UnitOfWork, row: Row[Any], catalog: Catalog, *, now: datetime) -> str | None:
    """The first fallback of its channel that takes the same address and was not given this message yet."""
    channel = catalog.telling.channels.get(row.channel)
    for name in channel.fallback if channel is not None and row.recipient else ():
        contact = Contact(name, row.recipient)
        if not telling.problem_of(contact, catalog) and telling.write(
            uow, row.account_id, [contact], climb=row.climb, step=row.step, now=now
        ):
            return name
    return None


def _drop(ctx: JobContext, row: Row[Any], reason: str) -> None:
    with ctx.complete({"state": "dropped", "reason": reason}) as uow:
        messages.end(uow, row, "dropped", reason)


def _put_off(ctx: JobContext, row: Row[Any], seconds: float) -> None:
    """Leave it to a later job: waiting for the address is no failed try."""
    with ctx.complete({"state": "waiting", "seconds": round(seconds, 3)}) as uow:
        telling.submit(uow, [row.id], after_seconds=seconds)


def _in_line(row: Row[Any], wait: float, per_second: float) -> float:
    """Seconds until its turn among all that wait for the same address: a tenant may have many accounts."""
    with read_only() as session:
        before = messages.ahead(session, row, most=LINE_SECONDS * per_second)
    return max(wait, min(wait + before / per_second, LINE_SECONDS))


def _done(ctx: JobContext) -> None:
    with ctx.complete():
        pass


def pick_up(uow: UnitOfWork) -> int:
    """Give open messages whose job has died another one; how many there were."""
    found = messages.without_job(uow)
    if found:
        telling.submit(uow, found)
        log.warning("messages to owners had lost their jobs", messages=len(found))
    return len(found)
