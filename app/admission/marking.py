"""What the limiter is told of queues: for what each one waits, and which ids do. Always while the queue is held.

Postgres is what counts. Where Redis is away nothing is told, and the next look at the queue tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app import clock
from app.admission import operations
from app.config import settings
from app.errors import Transient
from app.infra.logging import get_logger
from app.limits import lanes

AT_ONCE = 500
"""Queues, or ids, that are told in one round trip."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """An id of an account (`PLATFORM/NAME`) under which an operation waits, until `expires_at` at the latest."""

    account: str
    request_id: str
    operation: str
    expires_at: datetime


def join(marks: Mapping[str, Mapping[str, int]], notes: Sequence[Note]) -> None:
    """Operations have joined queues: newcomers wait behind them, and their ids are known. Never raises Transient."""
    now = clock.now()
    try:
        mark(marks, whole=False)
        for start in range(0, len(notes), AT_ONCE):
            lanes.note_many([(_key(one), one.operation, _ms(one, now)) for one in notes[start : start + AT_ONCE]])
    except Transient as error:
        log.warning("newcomers do not know of those who wait until the next look at the queues", error=str(error))


def tell(marks: Mapping[str, Mapping[str, int]], *, whole: bool) -> bool:
    """`mark`; False where Redis is away."""
    try:
        mark(marks, whole=whole)
    except Transient as error:
        log.warning("newcomers are not told for what others wait until the next look", error=str(error))
        return False
    return True


def mark(marks: Mapping[str, Mapping[str, int]], *, whole: bool) -> None:
    """For what queues wait; `whole`: for nothing else. Raises Transient."""
    told = list(marks.items())
    for start in range(0, len(told), AT_ONCE):
        lanes.mark_many({f"account:{account}": one for account, one in told[start : start + AT_ONCE]}, whole=whole)


def _key(one: Note) -> str:
    return operations.key_of(one.account, one.request_id)


def _ms(one: Note, now: datetime) -> int:
    """As long as it may wait, and then for retries: its row says what became of it."""
    waits = max(0.0, (one.expires_at - now).total_seconds())
    return round((waits + settings().limits_remember_seconds) * 1000)
