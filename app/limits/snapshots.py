"""Snapshots: what changed in Redis since the last one is written down, for the rebuild, for pages and for closing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from app import catalog, clock
from app.catalog import RateLimit
from app.config import settings
from app.errors import Invalid
from app.infra import redis
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.logging import get_logger
from app.infra.text import storable
from app.limits import keys, states, store
from app.limits.core import moment
from app.limits.states import State, Window
from app.limits.store import StateRow, WindowRow

BATCH = 1000
SECONDS = 20.0
"""How long one snapshot may take; what is left then is written by the next one."""

_TURN = "snapshots"

log = get_logger(__name__)


def take(*, wait: bool = False) -> bool:
    """Write down what has changed. True when that was all; False where another process is at it, or time is up.

    Nothing is lost on the way: the set of what changed is put aside first, so what changes meanwhile is in a new one,
    and a subject leaves the one put aside after its state is committed. `wait`: wait for the other process. Raises
    Transient.
    """
    ends = clock.monotonic() + SECONDS
    began, client = server_time(), redis.client()
    with redis.transient_errors():
        if not client.exists(keys.TAKING, keys.CHANGED):
            client.set(keys.SNAPSHOT_AT, round(began.timestamp() * 1000))
            return True
    with store.turn(_TURN, wait=wait) as is_ours, redis.transient_errors():
        if not is_ours:
            return False
        began = server_time()
        if client.exists(keys.TAKING) and not _write_down(ends):
            return False
        if client.exists(keys.CHANGED):
            client.rename(keys.CHANGED, keys.TAKING)
            if not _write_down(ends):
                return False
        client.set(keys.SNAPSHOT_AT, round(began.timestamp() * 1000))
        return True


def take_of(subjects: Sequence[str]) -> None:
    """Write these down at once: what must not be lost, such as a block that a platform ordered. Raises Transient."""
    with redis.transient_errors():
        _write([subject.encode("utf-8", "surrogatepass") for subject in subjects])


def server_time() -> datetime:
    """The time of the server whose clock counts for windows, to the millisecond. Raises Transient."""
    with redis.transient_errors():
        return _moment(redis.client().time())


def limits_now() -> Mapping[str, RateLimit]:
    """The limits of the present catalogue; none while there is no good one."""
    try:
        return catalog.current().limiting.limits
    except Invalid:
        return {}


def _moment(told: tuple[int, int]) -> datetime:
    seconds, micros = told
    return moment(seconds * 1000 + micros // 1000)


def _write_down(ends: float) -> bool:
    client, cursor = redis.client(), 0
    while True:
        # Bytes as they are: one name that is no text must not keep the others from being written.
        cursor, names = client.execute_command("SSCAN", keys.TAKING, cursor, "COUNT", BATCH, NEVER_DECODE=True)
        if names:
            _write(list(names))
            client.srem(keys.TAKING, *names)
        if cursor == 0:
            return True
        if clock.monotonic() >= ends:
            return False


def _write(names: Sequence[bytes]) -> None:
    pipe = redis.client().pipeline(transaction=False)
    pipe.time()
    pipe.execute_command("MGET", *(keys.STATE.encode() + name for name in names), NEVER_DECODE=True)
    told, found = pipe.execute()
    at, limits = _moment(told), limits_now()
    kept: list[StateRow] = []
    windows: list[WindowRow] = []
    for name, raw in zip(names, found, strict=True):
        if raw is None:
            continue
        try:
            subject, state = _text(name), states.parse(raw)
            rows = list(_rows(subject, state, at, limits))
            kept.append(StateRow(subject, raw.decode(), int(state["v"]), at, states.expires_at(state, at)))
            windows += rows
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
            log.warning("counters that cannot be read are not kept", subject=repr(name[:100]), error=str(error))
    if kept:
        with unit_of_work() as uow:
            store.write_states(uow, kept)
            store.write_windows(uow, _not_closed(uow, windows, at))


def _text(name: bytes) -> str:
    """The subject. Raises ValueError where Postgres cannot keep it."""
    subject = name.decode()
    if subject != storable(subject):
        raise ValueError("its name is no text")
    return subject


def _rows(subject: str, state: State, at: datetime, limits: Mapping[str, RateLimit]) -> Iterator[WindowRow]:
    oldest = at - timedelta(days=settings().limit_log_days)
    for window in states.windows(state, at):
        limit = limits.get(window.limit)
        if limit is not None and (window.end is None or window.end > oldest):
            yield _row(subject, window, limit, int(state["v"]), at)


def _row(subject: str, window: Window, limit: RateLimit, version: int, at: datetime) -> WindowRow:
    return WindowRow(
        subject=subject,
        limit_name=window.limit,
        start_at=window.start,
        end_at=window.end,
        capacity=window.capacity(limit),
        used=window.used,
        peak=window.peak,
        refused=window.refused,
        deferred=window.deferred,
        version=version,
        taken_at=at,
    )


def _not_closed(uow: UnitOfWork, rows: Sequence[WindowRow], at: datetime) -> list[WindowRow]:
    """Without windows that were closed before: a state tells of its last ones until the limit is used again."""
    over = {store.log_id(*row.key): row.key for row in rows if row.end_at is not None and row.end_at <= at}
    gone = {over[found] for found in store.closed(uow, list(over))}
    return list({row.key: row for row in rows if row.key not in gone}.values())
