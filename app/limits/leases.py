"""Reservations that nobody settled: when their lease is over, the money is given back."""

from __future__ import annotations

from app import clock
from app.infra import redis
from app.infra.logging import get_logger
from app.limits import keys, settling
from app.limits.asking import read
from app.limits.snapshots import server_time

BATCH = 500
SECONDS = 2.0
"""How long one pass may take; what is left then is given back by the next one."""

log = get_logger(__name__)


def sweep() -> int:
    """Give back what is due; how many reservations that were. Raises Transient.

    The calls of such a reservation stay consumed: nobody said that they were not made. A lease is forgotten after its
    money was given back, which can be done twice without harm.
    """
    ends, now = clock.monotonic() + SECONDS, round(server_time().timestamp() * 1000)
    given, found = 0, BATCH
    with redis.transient_errors():
        while found == BATCH and clock.monotonic() < ends:
            part, found = _sweep(now)
            given += part
    return given


def _sweep(now: int) -> tuple[int, int]:
    """How many were given back, and how many were due."""
    client = redis.client()
    due = client.execute_command("ZRANGEBYSCORE", keys.LEASES, "-inf", now, "LIMIT", 0, BATCH, NEVER_DECODE=True)
    records = client.execute_command("MGET", *due, NEVER_DECODE=True) if due else ()
    given = 0
    for name, record in zip(due, records, strict=True):
        given += _lapse(name, record)
        client.zrem(keys.LEASES, name)
    return given, len(due)


def _lapse(name: bytes, record: bytes | None) -> bool:
    """False where nothing is left to give back: it was settled, or is forgotten."""
    try:
        key = name.decode("utf-8", "surrogatepass").removeprefix(keys.RECORD)
        told = {} if record is None else read(record)
        subjects = [str(subject) for subject in told.get("s") or ()]
    except (ValueError, AttributeError, TypeError) as error:
        log.warning("a reservation that cannot be read is forgotten", error=str(error))
        return False
    return bool(subjects) and settling.lapse(key, subjects)
