"""After a loss of Redis: a new epoch, and counters as the last snapshot has them, first those that are asked for.

What can be lost is what an account consumed after its last snapshot, five seconds and the time of writing it at most,
less the margin that is added (`states.margin`). What a platform ordered is written down at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Row

from app import clock, signals
from app.errors import Transient
from app.infra import redis
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.ids import uuid7
from app.infra.logging import get_logger
from app.limits import budgets, keys, states, store
from app.limits.core import moment
from app.limits.snapshots import limits_now, server_time
from app.limits.wire import Script

BATCH = 5000
"""Rows read at once in the background."""

AT_ONCE = 200
"""Subjects that one call of the script brings back: Redis does nothing else meanwhile."""

SECONDS = 3.0
"""How long the background part works in one pass."""

BEGINNING_SECONDS = 5.0
"""After that somebody else begins, where whoever began has died. Both may: each part of it can be done twice."""

WAIT_SECONDS = 2.0
"""How long others wait for the new epoch."""

_FILLING, _WHOLE_ALREADY = "filling:", "whole:"
_TURN = "filling"
_BEFORE = ""
"""The epoch before one has begun."""

_RESTORE = Script("restore")
_WHOLE = Script("whole")

_callbacks: list[Callable[[], None]] = []

Committed = Mapping[str, Mapping[str, tuple[datetime, int]]]
"""By subject and counter: the start of its window, and what is written down, in millionths of a dollar."""

_committed: Callable[[Sequence[str]], Committed] | None = None

log = get_logger(__name__)

Item = TypeVar("Item")


def on_loss(callback: Callable[[], None]) -> None:
    """Have this called after each loss, before anything is decided again: it writes holds and lanes into Redis."""
    if callback not in _callbacks:
        _callbacks.append(callback)


def money_from(committed: Callable[[Sequence[str]], Committed]) -> None:
    """Say who knows what was spent of budgets: their counters come back as that, not as the last snapshot has them."""
    global _committed
    _committed = committed


def begin() -> None:
    """Redis has lost its memory: begin a new epoch (once, whoever notices first), in which counters come back.

    No epoch begins before what holds is in Redis again. Raises Transient; then nothing is decided yet.
    """
    with _beginning() as is_ours:
        if is_ours:
            if _epoch() is None:
                _begin()
        elif not _begins():
            raise Transient("Redis has lost the counters, and they are not being brought back yet")


def restore(subjects: Sequence[str]) -> None:
    """Bring the counters of these subjects back, also before the new epoch has begun: lanes need them there.

    Raises Transient while Postgres is away.
    """
    epoch, now = _epoch() or _BEFORE, server_time()
    if epoch.startswith(_WHOLE_ALREADY):
        return
    wanted = list(dict.fromkeys(subjects))
    with unit_of_work() as uow:
        rows = {row.subject: row for row in store.states(uow, wanted, now)}
    unknown = [_Unknown(subject, json.dumps(states.nothing(now)), now, now + states.KEPT) for subject in wanted]
    _write(epoch, _returning([rows.get(one.subject, one) for one in unknown], now))


def fill() -> bool:
    """Bring back what was not asked for yet, for a few seconds; True once all counters are whole.

    Begins an epoch where there is none, so that a loss is made good also while nobody asks. Raises Transient.
    """
    if _epoch() is None:
        begin()
    epoch = _epoch()
    if epoch is None or not epoch.startswith(_FILLING):
        return epoch is not None
    with store.turn(_TURN) as is_ours:
        return is_ours and _fill(epoch)


def _begin() -> None:
    epoch = f"{_FILLING}{uuid7()}"
    log.warning("Redis has no counters: they are brought back from the last snapshot", epoch=epoch)
    for callback in _callbacks:
        try:
            callback()
        except Exception as error:
            log.exception("what holds could not be written: nothing is decided until it is")
            raise Transient("what holds operations cannot be written after a loss of Redis") from error
    with redis.transient_errors():
        redis.client().set(keys.EPOCH, epoch, nx=True)


@contextmanager
def _beginning() -> Iterator[bool]:
    client, ours = redis.client(), str(uuid7())
    with redis.transient_errors():
        is_ours = bool(client.set(keys.BEGINNING, ours, nx=True, px=round(BEGINNING_SECONDS * 1000)))
    try:
        yield is_ours
    finally:
        if is_ours:
            with redis.transient_errors():
                if client.get(keys.BEGINNING) == ours:
                    client.delete(keys.BEGINNING)


def _begins() -> bool:
    ends = clock.monotonic() + WAIT_SECONDS
    while clock.monotonic() < ends:
        if _epoch() is not None:
            return True
        time.sleep(0.02)
    return False


def _epoch() -> str | None:
    with redis.transient_errors():
        found: str | None = redis.client().get(keys.EPOCH)
    return found


def _fill(epoch: str) -> bool:
    ends, now = clock.monotonic() + SECONDS, server_time()
    after = _filled(epoch)
    while clock.monotonic() < ends:
        with unit_of_work() as uow:
            rows = store.states_after(uow, after, now, BATCH)
        if not _write(epoch, _returning(rows, now)):
            return False
        if len(rows) < BATCH:
            return _end(epoch)
        after = rows[-1].subject
        with redis.transient_errors():
            redis.client().set(keys.FILLED, f"{epoch} {after}", ex=86_400)
    return False


def _filled(epoch: str) -> str:
    with redis.transient_errors():
        of, _, subject = (redis.client().get(keys.FILLED) or "").partition(" ")
    return subject if of == epoch else ""


def _end(epoch: str) -> bool:
    """Told before it is so: whoever dies in between leaves it to the next pass, which sees that it was told."""
    with unit_of_work() as uow:
        if store.any_state(uow) and not _was_told(uow, epoch):
            signals.record(uow, "limits.rebuilt", keys.EVERYBODY, facts={"epoch": epoch.removeprefix(_FILLING)})
    log.info("all counters are back", epoch=epoch)
    return bool(_WHOLE.call([], [epoch]))


def _was_told(uow: UnitOfWork, epoch: str) -> bool:
    query = (
        "SELECT EXISTS (SELECT 1 FROM signals WHERE kind = 'limits.rebuilt' AND subject = :subject"
        " AND facts->>'epoch' = :epoch)"
    )
    return bool(uow.execute(query, subject=keys.EVERYBODY, epoch=epoch.removeprefix(_FILLING)).scalar())


class _Unknown(NamedTuple):
    """A subject that no snapshot has, as a row that would have it."""

    subject: str
    state: str
    taken_at: datetime
    expires_at: datetime


def _returning(rows: Sequence[Row[Any] | _Unknown], now: datetime) -> Iterator[tuple[str, str, timedelta]]:
    """Subject, state as it returns, and how long it lives."""
    money = {name for name, limit in limits_now().items() if limit.currency == "usd"}
    spent = {} if _committed is None else _committed([row.subject for row in rows])
    for row in rows:
        state = states.brought_back(states.parse(row.state), taken_at=row.taken_at, now=now, money=money)
        ends_at = row.expires_at
        if counters := budgets.brought_back(row.subject, spent.get(row.subject, {}), now):
            state["l"] |= counters
            ends_at = max(ends_at, *(moment(counter["e"]) + states.KEPT for counter in counters.values()))
            state["t"] = max(state["t"], *(counter["e"] for counter in counters.values()))
        yield row.subject, json.dumps(state, separators=(",", ":")), ends_at - now


def _write(epoch: str, returning: Iterable[tuple[str, str, timedelta]]) -> bool:
    """False when it is another epoch by now: Redis was lost once more."""
    calls = []
    for part in _parts(returning):
        arguments: list[str | bytes | int] = [epoch]
        for _, state, lives in part:
            arguments += [state, max(1, lives // timedelta(milliseconds=1))]
        calls.append(([keys.STATE + subject for subject, _, _ in part], arguments))
    return all(answer >= 0 for answer in _RESTORE.call_many(calls)) if calls else True


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while part := list(islice(rest, AT_ONCE)):
        yield part
